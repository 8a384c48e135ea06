"""The runs of a table, and the queue that trains them, with stand-ins for the trainings."""

import json
import os
import signal
import sys
import time

import pytest
import torch
from mmengine.config import Config

from mmrecall.engine.training_table import TableRun, jobs, plan_runs, train_runs, visible_gpus, write_list
from mmrecall.engine.training_table.work_dirs import is_finished

CONFIG = "default_scope = 'mmseg'\nmodel = dict(type='A', loss=dict(alpha=1))\ntrain_cfg = dict(max_iters=4)\n"
# A run writes its environment, and waits until as many have done so as it is to.
RUN = """
import os, pathlib, sys, time
here = pathlib.Path(sys.argv[1])
names = ('CUDA_VISIBLE_DEVICES', 'OMP_NUM_THREADS')
(here / 'environment').write_text(' '.join(os.environ.get(name, '-') for name in names))
while len(list(here.parent.glob('*/environment'))) < int(sys.argv[2]):
    time.sleep(0.02)
"""


def table(root, scripts, *words):
    """Runs of a config whose trainings are these scripts; their work dir comes first in their words."""
    settings = Config(dict(train_cfg=dict(max_iters=4)))
    runs = []
    for seed, script in enumerate(scripts):
        work_dir = root / f'seed_{seed}'
        command = [sys.executable, '-c', script, str(work_dir), *map(str, words)]
        runs.append(TableRun(root / 'a.py', seed, work_dir, settings, command))
    return runs


def environments(root, number):
    return sorted((root / f'seed_{seed}' / 'environment').read_text() for seed in range(number))


def test_jobs_share_the_gpus_evenly(tmp_path, monkeypatch):
    monkeypatch.delenv('OMP_NUM_THREADS', raising=False)
    outcome = train_runs(table(tmp_path, [RUN] * 5, 4), 4, ['3', 'GPU-7'])
    assert outcome == (5, [], None)
    # the fifth takes the place of any of the others
    found = environments(tmp_path, 5)
    assert {found.count('3 -'), found.count('GPU-7 -')} == {2, 3}


@pytest.mark.parametrize(('given', 'threads'), [(None, '2'), ('7', '7')])
def test_jobs_without_a_gpu_share_the_cores(given, threads, tmp_path, monkeypatch):
    monkeypatch.setattr(jobs, '_cores', lambda: 6)
    monkeypatch.delenv('OMP_NUM_THREADS', raising=False)
    if given:
        monkeypatch.setenv('OMP_NUM_THREADS', given)
    monkeypatch.delenv('CUDA_VISIBLE_DEVICES', raising=False)
    # There are no more jobs than runs.
    assert train_runs(table(tmp_path, [RUN] * 3, 3), 8, []).failures == []
    assert environments(tmp_path, 3) == [f'- {threads}'] * 3


@pytest.mark.parametrize(
    ('variable', 'count', 'names'),
    [(None, 2, ['0', '1']), ('3,GPU-7', 2, ['3', 'GPU-7']), ('5,-1,6', 1, ['5']), ('', 0, []), (None, 0, [])],
)
def test_the_gpus_are_those_that_are_visible(variable, count, names, monkeypatch):
    monkeypatch.setattr('torch.cuda.device_count', lambda: count)
    monkeypatch.delenv('CUDA_VISIBLE_DEVICES', raising=False)
    if variable is not None:
        monkeypatch.setenv('CUDA_VISIBLE_DEVICES', variable)
    assert visible_gpus() == names


def test_every_failure_is_listed_and_the_other_runs_are_trained(tmp_path):
    scripts = [
        'print("so far so good"); raise ValueError("it is wrong")',
        'import os; os.kill(os.getpid(), 9)',
        'raise SystemExit(3)',
        RUN,
        RUN,
    ]
    # The folder of this one cannot be made.
    (tmp_path / 'seed_3').touch()
    outcome = train_runs(table(tmp_path, scripts, 1), 1, [])
    reasons = [(run.seed, reason) for run, reason in outcome.failures]
    assert reasons[:3] == [(0, 'ValueError: it is wrong'), (1, 'killed by SIGKILL'), (2, 'ended with status 3')]
    assert reasons[3][0] == 3
    assert str(tmp_path / 'seed_3') in reasons[3][1]
    assert len(reasons) == 4
    assert (tmp_path / 'seed_4' / 'environment').is_file()


def test_the_reason_is_of_the_last_start(tmp_path):
    runs = table(tmp_path, ['raise ValueError("the first time")'])
    train_runs(runs, 1, [])
    again = [runs[0]._replace(command=[sys.executable, '-c', 'raise SystemExit(1)'])]
    assert train_runs(again, 1, []).failures == [(again[0], 'ended with status 1')]
    assert 'the first time' in runs[0].log.read_text()


def test_a_run_without_a_checkpoint_begins_without_resume(tmp_path):
    # because the train tool of mmpretrain forgets load_from when it is to resume
    script = 'import pathlib, sys; (pathlib.Path(sys.argv[1]) / "words").write_text(sys.argv[-1])'
    runs = table(tmp_path, [script] * 2)
    runs[1].work_dir.mkdir()
    (runs[1].work_dir / 'iter_2.pth').touch()
    train_runs(runs, 1, [])
    assert (runs[0].work_dir / 'words').read_text() == str(runs[0].work_dir)
    assert (runs[1].work_dir / 'words').read_text() == '--resume'


@pytest.mark.parametrize(
    ('number', 'times', 'grace'),
    [(signal.SIGINT, 1, 0.3), (signal.SIGTERM, 1, 0.3), (signal.SIGHUP, 1, 0.3), (signal.SIGINT, 2, 600)],
)
def test_a_training_that_does_not_end_is_killed_with_its_workers(number, times, grace, tmp_path, monkeypatch):
    monkeypatch.setattr(jobs, '_GRACE', grace)
    script = f"""
import os, pathlib, signal, sys, time
signal.signal(signal.SIGUSR1, signal.SIG_IGN)
worker = os.fork()
if worker:
    (pathlib.Path(sys.argv[1]) / 'ids').write_text(f'{{os.getpid()}} {{worker}}')
    for _ in range({times}):
        os.kill({os.getpid()}, {int(number)})
        time.sleep(0.3)
time.sleep(600)
"""
    runs = table(tmp_path, [script, RUN], 1)
    # Tests in the background, or under nohup, ignore some of these signals.
    before = signal.signal(number, signal.SIG_DFL)
    try:
        assert train_runs(runs, 1, []) == (2, [], number)
        assert signal.getsignal(number) == signal.SIG_DFL
    finally:
        signal.signal(number, before)
    assert not runs[1].work_dir.exists()
    for process in map(int, (runs[0].work_dir / 'ids').read_text().split()):
        assert has_ended(process)


def has_ended(process):
    """Whether a process that was killed is gone; that of another parent takes a moment."""
    for _ in range(100):
        try:
            with open(f'/proc/{process}/stat') as file:
                if file.read().rpartition(')')[2].split()[0] == 'Z':
                    return True
        except (FileNotFoundError, ProcessLookupError):
            return True
        time.sleep(0.05)
    return False


def trained(work_dir, meta, lines=(), last='iter_4.pth'):
    """Leave what a training leaves."""
    work_dir.mkdir(parents=True)
    torch.save(dict(meta=meta), work_dir / last)
    (work_dir / 'last_checkpoint').write_text(f'/elsewhere/{last}')
    for start, records in enumerate(lines):
        vis_data = work_dir / f'20260101_00000{start}' / 'vis_data'
        vis_data.mkdir(parents=True)
        (vis_data / 'scalars.json').write_text(''.join(json.dumps(record) + '\n' for record in records))


TRAINED, VALIDATED, LATER = dict(loss=1.0, iter=4, step=4), dict(mIoU=1.0, time=1.0, step=4), dict(mIoU=1.0, step=2)


@pytest.mark.parametrize(
    ('schedule', 'meta', 'lines', 'finished'),
    [
        (dict(max_iters=4), dict(epoch=0, iter=4), None, True),
        (dict(max_iters=5), dict(epoch=0, iter=4), None, False),
        (dict(max_epochs=2), dict(epoch=2, iter=60), None, True),
        (dict(max_epochs=3), dict(epoch=2, iter=60), None, False),
        (dict(max_iters=4), dict(epoch=0, iter=4), [[TRAINED, VALIDATED]], True),
        # killed in the last validation; in one that came earlier
        (dict(max_iters=4), dict(epoch=0, iter=4), [[TRAINED]], False),
        (dict(max_iters=4), dict(epoch=0, iter=4), [[TRAINED, LATER]], False),
        # the validation of another training, which this one began anew after
        (dict(max_iters=4), dict(epoch=0, iter=4), [[TRAINED, VALIDATED], [TRAINED]], False),
        (dict(max_iters=4), dict(epoch=0, iter=4), [[TRAINED], [VALIDATED]], True),
        (dict(max_iters=4), dict(epoch=0, iter=4), [], False),
    ],
)
def test_a_training_is_finished_at_the_end_of_its_schedule(schedule, meta, lines, finished, tmp_path):
    trained(tmp_path / 'work', meta, lines or ())
    config = Config(dict(train_cfg=schedule, val_dataloader=None if lines is None else dict(batch_size=1)))
    assert is_finished(tmp_path / 'work', config) == finished


@pytest.mark.parametrize('fault', ['damaged', 'missing', 'earlier'])
def test_without_its_last_checkpoint_a_training_is_not_finished(fault, tmp_path):
    work_dir = tmp_path / 'work'
    trained(work_dir, dict(epoch=0, iter=4))
    config = Config(dict(train_cfg=dict(max_iters=4)))
    assert is_finished(work_dir, config)
    if fault == 'damaged':
        (work_dir / 'iter_4.pth').write_bytes((work_dir / 'iter_4.pth').read_bytes()[:-100])
    elif fault == 'missing':
        # the work dir is a copy, and the original has it
        (work_dir / 'iter_4.pth').rename(tmp_path / 'iter_4.pth')
        (work_dir / 'last_checkpoint').write_text(str(tmp_path / 'iter_4.pth'))
    else:
        (work_dir / 'earlier_checkpoints').write_text('iter_4.pth\n')
    assert not is_finished(work_dir, config)


@pytest.fixture
def configs(tmp_path, monkeypatch):
    """Configs in a folder which is the current one."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'c').mkdir()
    for name in ('a.py', 'b.py', 'c/a.py'):
        (tmp_path / name).write_text(CONFIG)
    (tmp_path / 'no_toolbox.py').write_text('model = dict()\n')
    (tmp_path / 'mistake.py').write_text('model = dict(\n')
    return tmp_path


def plan(folder, names, seeds=(0,), options=(), work='work'):
    return plan_runs([type(folder)(name) for name in names], seeds, folder / work, options, folder / 'train.py')


@pytest.mark.parametrize(
    ('names', 'seeds', 'options', 'message'),
    [
        (['a.py', 'gone.py'], [0], [], 'gone.py'),
        (['a.py', 'mistake.py'], [0], [], 'mistake.py:1: no Python'),
        (['no_toolbox.py'], [0], [], 'default_scope is None'),
        (['a.py', 'b.py', './a.py'], [0], [], 'got the config a.py twice'),
        (['a.py', 'c/a.py'], [0], [], 'got a.py and c/a.py, whose runs would share a folder'),
        (['a.py'], [0, 1, 0], [], 'got --seeds 0 2 times'),
        (['a.py'], [-1], [], 'got --seeds -1; expected numbers from 0'),
        (['a.py'], [0], ['modell.loss.alpha=2'], 'got --cfg-options modell.loss.alpha; .* did you mean model'),
        (['a.py'], [0], ['default_hooks.checkpoint.out_dir=b'], "a.py: got default_hooks.checkpoint.out_dir='b'"),
        (['a.py'], [0], ['model.loss.alpha'], 'got --cfg-options model.loss.alpha; expected KEY=VALUE'),
        (['a.py'], [0], ['model.loss.alpha=[1,(2]'], 'got --cfg-options model.loss.alpha=.*; expected KEY=VALUE'),
    ],
)
def test_mistakes_are_refused_before_anything_is_written(names, seeds, options, message, configs):
    with pytest.raises((FileNotFoundError, ValueError), match=message):
        plan(configs, names, seeds, options)
    assert not (configs / 'work').exists()


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (dict(options=['model.loss.alpha=2']), r'model.loss.alpha was 1, is 2; set another --work-dir'),
        (dict(options=['model.loss.beta=2']), r'model.loss.beta was None, is 2'),
        (dict(options=['train_cfg.max_iters=8']), r'train_cfg.max_iters was 4, is 8'),
    ],
)
def test_checkpoints_of_other_settings_are_refused(change, message, configs):
    saved = configs / 'work' / 'a' / 'seed_1' / 'a.py'
    saved.parent.mkdir(parents=True)
    saved.write_text(CONFIG + 'train_dataloader = dict(num_workers=2, collate_fn=dict(type="default_collate"))\n')
    # Nothing has been trained there yet: the mistake of the first start may be mended.
    assert len(plan(configs, ['a.py'], [0, 1], **change)) == 2
    (saved.parent / 'iter_2.pth').touch()
    with pytest.raises(ValueError, match=f'^{saved.parent} has checkpoints of another training.*: {message}'):
        plan(configs, ['a.py'], [0, 1], **change)
    assert len(plan(configs, ['a.py'], [0, 1], ['train_dataloader.num_workers=0'])) == 2
    saved.rename(saved.with_name('other.py'))
    with pytest.raises(ValueError, match=f'^{saved.parent} has checkpoints, but not of a.py'):
        plan(configs, ['a.py'], [0, 1])


def test_the_list_keeps_the_runs_of_earlier_tables(configs):
    for names, seeds in ((['a.py'], (0, 1)), (['b.py'], (0,)), (['a.py'], (1,))):
        write_list(configs / 'work', plan(configs, names, seeds))
    head, *rows = [line.split('\t') for line in (configs / 'work' / 'runs.tsv').read_text().splitlines()]
    assert head == ['task', 'config', 'seed', 'work_dir', 'command']
    assert [row[3] for row in rows] == [f'{configs}/work/{run}' for run in ('a/seed_1', 'b/seed_0', 'a/seed_0')]
    assert rows[0][4].endswith(f' a.py --work-dir {rows[0][3]} --cfg-options randomness.seed=1')
