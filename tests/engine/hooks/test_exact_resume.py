"""A killed and resumed training is the one that was never killed."""

import random
import time

import pytest
from commands import free_port
from resumable_run import finish, kill, start

LOOPS = {
    'by iterations': dict(iterations=30),
    'by iterations, pass after pass': dict(iterations=30, sampler='DefaultSampler'),
    'by epochs': dict(epochs=5, sampler='DefaultSampler'),
    'in the middle of epochs': dict(epochs=5, sampler='DefaultSampler', checkpoint=dict(by_epoch=False, interval=3)),
}


def uninterrupted(work, **settings):
    assert set(finish(start(work, **settings))) == {0}
    return (work / 'digest').read_text()


def resumed(work, **settings):
    return uninterrupted(work, resume=True, **settings)


def wait_for(path, processes):
    while not path.exists():
        assert any(process.is_alive() for process in processes)
        time.sleep(0.002)


@pytest.mark.parametrize('workers', [0, 2])
@pytest.mark.parametrize('loop', LOOPS)
def test_a_resumed_training_equals_an_uninterrupted_one(loop, workers, tmp_path):
    settings = dict(workers=workers, **LOOPS[loop])
    whole = uninterrupted(tmp_path / 'whole', **settings)
    by_epoch = 'epochs' in settings and 'checkpoint' not in settings
    killed = start(tmp_path / 'killed', **settings)
    wait_for(tmp_path / 'killed' / ('epoch_2.pth' if by_epoch else 'iter_9.pth'), killed)
    kill(killed)
    assert resumed(tmp_path / 'killed', **settings) == whole


def test_a_training_does_not_depend_on_the_number_of_workers(tmp_path):
    one, other = (uninterrupted(tmp_path / str(n), workers=n, iterations=12) for n in (0, 2))
    assert one == other


def test_another_seed_is_another_training(tmp_path):
    one, other = (uninterrupted(tmp_path / str(seed), iterations=6, randomness=dict(seed=seed)) for seed in (0, 1))
    assert one != other


def test_without_the_hook_a_resumed_training_is_another(tmp_path):
    settings = dict(iterations=12, hooks=[])
    whole = uninterrupted(tmp_path / 'whole', **settings)
    killed = start(tmp_path / 'killed', **settings)
    wait_for(tmp_path / 'killed' / 'iter_6.pth', killed)
    kill(killed)
    assert resumed(tmp_path / 'killed', **settings) != whole


def seconds(work, **settings):
    began = time.monotonic()
    digest = uninterrupted(work, **settings)
    return time.monotonic() - began, digest


@pytest.mark.parametrize('ranks', [1, 2])
def test_ten_kills_at_random_moments_leave_the_same_weights(ranks, tmp_path):
    def settings(iterations):
        ports = (None,) if ranks == 1 else (free_port(),) * 2
        return dict(iterations=iterations, workers=1, ports=ports, checkpoint=dict(by_epoch=False, interval=1))

    started, _ = seconds(tmp_path / 'short', **settings(1))
    finished, whole = seconds(tmp_path / 'whole', **settings(200))
    moments, kills, longest = random.Random(ranks), 0, started + (finished - started) / 10
    while kills < 10:
        processes = start(tmp_path / 'killed', resume=True, **settings(200))
        time.sleep(moments.uniform(0.1, longest))
        assert kill(processes)
        kills += 1
    assert any((tmp_path / 'killed').glob('iter_*.pth'))
    assert resumed(tmp_path / 'killed', **settings(200)) == whole
