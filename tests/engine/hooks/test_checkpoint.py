"""Checkpoints that a kill cannot spoil, and one more when the time is over."""

import errno
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from commands import free_port
from resumable_run import Scores, build, finish, kill, names, start, wait_for

from mmrecall.engine.folder_lock import LOCK, lock_folder, unlock_folder
from mmrecall.engine.preemption import STOPPED, PreemptionSignal
from mmrecall.engine.resume import check_intact


class Full:
    """A disk that is full when the checkpoint of an iteration is written."""

    def __init__(self, monkeypatch, name):
        self.write = Path.write_bytes
        self.name = name
        monkeypatch.setattr(Path, 'write_bytes', lambda path, data: self(path, data))

    def __call__(self, path, data):
        if path.name.startswith(self.name):
            self.write(path, data[:100])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return self.write(path, data)


def test_a_full_disk_is_named_and_leaves_the_checkpoints_before(tmp_path, monkeypatch):
    Full(monkeypatch, 'iter_9.pth')
    with pytest.raises(OSError, match=r'No space left.*make room.*iter_9\.pth'):
        build(tmp_path, iterations=12).train()
    assert names(tmp_path) == ['iter_3.pth', 'iter_6.pth']
    assert (tmp_path / 'last_checkpoint').read_text() == str(tmp_path / 'iter_6.pth')


def test_an_old_checkpoint_is_removed_only_when_the_new_one_is_there(tmp_path, monkeypatch):
    seen = []
    replace = Path.replace

    def watched(path, target):
        seen.append([re.sub(r'\.\w{8}\.partial', '.partial', name) for name in names(tmp_path)])
        return replace(path, target)

    monkeypatch.setattr(Path, 'replace', watched)
    build(tmp_path, iterations=9).train()
    assert ['iter_3.pth', 'iter_6.pth', 'iter_9.pth.partial'] in seen
    assert names(tmp_path) == ['iter_6.pth', 'iter_9.pth']


def best_of(tmp_path, scores):
    settings = dict(by_epoch=False, interval=3, save_best='accuracy', rule='greater')
    build(tmp_path, iterations=9, checkpoint=settings, hooks=[Scores(scores)]).train()
    return [name for name in names(tmp_path) if name.startswith('best')]


def test_of_the_best_checkpoints_the_best_is_kept(tmp_path):
    assert best_of(tmp_path, {3: 0.5, 5: 0.7, 7: 0.6}) == ['best_accuracy_iter_5.pth']


def test_after_a_resume_a_better_checkpoint_replaces_the_best_by_the_first_metric(tmp_path):
    settings = dict(by_epoch=False, interval=3, save_best='auto')
    build(tmp_path, iterations=6, checkpoint=settings, hooks=[Scores({3: 0.5})]).train()
    build(tmp_path, iterations=9, checkpoint=settings, hooks=[Scores({7: 0.7})], resume=True).train()
    assert [name for name in names(tmp_path) if name.startswith('best')] == ['best_accuracy_iter_7.pth']


def test_the_best_checkpoint_stays_until_the_better_one_is_written(tmp_path, monkeypatch):
    Full(monkeypatch, 'best_accuracy_iter_5')
    with pytest.raises(OSError, match='best_accuracy_iter_5'):
        best_of(tmp_path, {3: 0.5, 5: 0.7})
    assert 'best_accuracy_iter_3.pth' in names(tmp_path)


def test_the_rest_of_a_killed_write_is_cleared_away(tmp_path):
    (tmp_path / 'iter_6.pth.0a1b2c3d.partial').write_bytes(b'half')
    (tmp_path / 'last_checkpoint.0a1b2c3d.partial').write_bytes(b'half')
    build(tmp_path, iterations=3).train()
    assert names(tmp_path) == ['iter_3.pth']
    assert not list(tmp_path.glob('*.partial'))


def test_a_second_run_in_a_work_directory_is_refused_and_the_first_goes_on(tmp_path):
    first = start(tmp_path, slow=True, iterations=40)
    wait_for(tmp_path / 'step_4', first)
    with pytest.raises(RuntimeError, match=f'{tmp_path} is in use by another run, process {first[0].pid} on'):
        build(tmp_path, iterations=40).train()
    assert finish(first) == [0]
    assert names(tmp_path) == ['iter_39.pth', 'iter_40.pth']
    assert not (tmp_path / LOCK).exists()


def test_all_ranks_end_if_another_run_has_the_work_directory(tmp_path):
    lock_folder(tmp_path)
    try:
        assert finish(start(tmp_path, ports=(free_port(),) * 2, iterations=6)) == [1, 1]
    finally:
        unlock_folder(tmp_path)
    assert finish(start(tmp_path, ports=(free_port(),) * 2, iterations=6)) == [0, 0]


def test_two_runs_with_one_folder_for_their_checkpoints_are_told_apart(tmp_path):
    lock_folder(tmp_path / 'large' / 'work')
    try:
        settings = dict(by_epoch=False, interval=3, out_dir=str(tmp_path / 'large'))
        assert finish(start(tmp_path / 'work', iterations=6, checkpoint=settings)) == [1]
    finally:
        unlock_folder(tmp_path / 'large' / 'work')


def test_a_work_directory_with_accents_is_trained_in_whatever_the_locale(tmp_path):
    script = 'import sys, pathlib, resumable_run as r; r.build(pathlib.Path(sys.argv[1]), iterations=3).train()'
    ascii_locale = dict(LC_ALL='C', PYTHONUTF8='0', PYTHONCOERCECLOCALE='0', PYTHONPATH=os.pathsep.join(sys.path))
    work = tmp_path / 'é'
    subprocess.run([sys.executable, '-c', script, work], env=os.environ | ascii_locale, check=True)
    assert (work / 'last_checkpoint').read_bytes() == f'{work}/iter_3.pth'.encode()


def test_another_librarys_handler_of_the_signal_is_called_too():
    called = []
    before = signal.signal(signal.SIGUSR1, lambda number, frame: called.append(number))
    try:
        request = PreemptionSignal()
        os.kill(os.getpid(), signal.SIGUSR1)
        assert request.came_to_any_rank()
        assert called == [signal.SIGUSR1]
    finally:
        signal.signal(signal.SIGUSR1, before)


LOOPS = {
    'by iterations': dict(iterations=60, checkpoint=dict(by_epoch=False, interval=50)),
    'by epochs': dict(epochs=9),
}


@pytest.mark.parametrize('workers', [0, 2])
@pytest.mark.parametrize('ranks', [1, 2])
@pytest.mark.parametrize('loop', LOOPS)
def test_on_the_signal_all_ranks_save_and_end_and_the_resumed_training_is_the_same(loop, ranks, workers, tmp_path):
    settings = dict(workers=workers, sampler='DefaultSampler', **LOOPS[loop])

    def started(name, **more):
        return start(tmp_path / name, ports=(None,) if ranks == 1 else (free_port(),) * 2, **settings, **more)

    assert set(finish(started('whole'))) == {0}
    processes = started('stopped', slow=True)
    wait_for(tmp_path / 'stopped' / 'step_12', processes)
    # to one rank alone, and to its workers, as Slurm does
    os.killpg(processes[-1].pid, signal.SIGUSR1)
    assert set(finish(processes)) == {STOPPED}
    last = (tmp_path / 'stopped' / 'last_checkpoint').read_text()
    assert re.search(r'epoch_\d+_iter_\d+\.pth|epoch_3\.pth' if 'epochs' in settings else r'iter_1\d\.pth', last)
    assert set(finish(started('stopped', resume=True))) == {0}
    assert (tmp_path / 'stopped' / 'digest').read_text() == (tmp_path / 'whole' / 'digest').read_text()


def test_the_signal_waits_for_the_step_that_accumulated_gradients_wait_for(tmp_path):
    settings = dict(iterations=40, checkpoint=dict(by_epoch=False, interval=8))
    settings['optim_wrapper'] = dict(optimizer=dict(type='SGD', lr=0.01), accumulative_counts=8)
    processes = start(tmp_path, slow=True, **settings)
    wait_for(tmp_path / 'step_9', processes)
    os.kill(processes[0].pid, signal.SIGUSR1)
    assert finish(processes) == [STOPPED]
    assert (tmp_path / 'last_checkpoint').read_text() == str(tmp_path / 'iter_16.pth')


def test_a_run_killed_while_it_saves_after_the_signal_keeps_the_checkpoint_before(tmp_path):
    processes = start(tmp_path, slow=True, iterations=40)
    wait_for(tmp_path / 'iter_6.pth', processes)
    os.kill(processes[0].pid, signal.SIGUSR1)
    assert kill(processes)
    last = Path((tmp_path / 'last_checkpoint').read_text())
    check_intact(last)
