"""A soak test, on demand: 20,000 iterations on two ranks with kills are those without, in memory that stays level.

.venv/onedl/bin/python -m pytest -m soak -s tests/engine/hooks/test_soak.py
"""

import math
import os
import random
import signal
import statistics
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

pytest.importorskip('mmpretrain')
pytest.importorskip('sklearn')

import numpy as np
import torch
from commands import free_port
from resumable_run import iteration, logged, names

from mmrecall.datasets.digits import write_digits
from mmrecall.engine.folder_lock import LOCK
from mmrecall.io import PARTIAL

pytestmark = [
    pytest.mark.soak,
    pytest.mark.skipif(not sys.platform.startswith('linux'), reason='reads the memory of processes in /proc'),
]

ROOT = Path(__file__).parents[3]
ITERATIONS = 20_000
# the mean of the times from a start to the kill, which are drawn: some kills come while the ranks start
SECONDS_TO_A_KILL = 45
SECONDS_TO_A_SAMPLE = 2
# in which there must be a new checkpoint, or the end of killed ranks
PATIENCE = 300
# A rank may grow by these from the second fifth of a training to the last. mmengine keeps every value of every scalar
# it logs, 16 bytes each, and copies them for a checkpoint: 12,000 iterations of ten scalars are 2 MiB. A leak of
# 2 KiB an iteration, a sixth of a batch, would be 23 MiB.
GROWTH, GROWTH_MIB = 0.02, 8

CONFIG = """
_base_ = {base!r}
data_root = {data!r}
model = dict(
    backbone=dict(num_stages=1, base_channels=8, stem_channels=8, strides=(2,), dilations=(1,), out_indices=(0,)),
    head=dict(in_channels=8, loss=dict(_delete_=True, type='mmrecall.RecallLoss', alpha=0.1, num_classes=10)),
    train_cfg=dict(augments=dict(type='Mixup', alpha=0.2)),
)
train_dataloader = dict(
    batch_size=4,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(_delete_=True, type='InfiniteSampler'),
    dataset=dict(data_root=data_root),
)
val_dataloader = dict(dataset=dict(data_root=data_root))
val_evaluator = dict(class_counts=data_root + 'train.txt')
test_dataloader = val_dataloader
test_evaluator = val_evaluator
optim_wrapper = dict(_delete_=True, accumulative_counts=4, optimizer=dict(type='AdamW', lr=1e-3))
param_scheduler = dict(_delete_=True, type='CosineAnnealingLR', T_max={iterations}, by_epoch=False)
train_cfg = dict(_delete_=True, type='IterBasedTrainLoop', max_iters={iterations}, val_interval=500)
default_hooks = dict(checkpoint=dict(by_epoch=False, interval=100, max_keep_ckpts=2, save_best='auto'))
custom_hooks = [dict(type='EMAHook')]
log_processor = dict(by_epoch=False)
"""


@dataclass
class Training:
    """A training that may be killed and started again."""

    config: Path
    work: Path
    kills: Counter = field(default_factory=Counter)
    seconds: float = 0
    # of every process that was a rank: its resident memory in MiB and the number of its open files, again and again
    samples: dict = field(default_factory=dict)

    def run(self, seconds_to_a_kill=None):
        """Train to the end, with kills of all processes or of one rank at times and of a rank that are drawn."""
        drawn, begin = random.Random(0), time.monotonic()
        try:
            while not self._attempt(drawn, seconds_to_a_kill):
                pass
        finally:
            # of a test that fails
            kill(processes(self.work))
        self.seconds = time.monotonic() - begin
        return self

    def _attempt(self, drawn, seconds_to_a_kill):
        """Start or resume it once; return whether it came to its end."""
        launcher = self._start()
        self._watch(launcher, drawn.expovariate(1 / seconds_to_a_kill) if seconds_to_a_kill else math.inf)
        if launcher.poll() is None:
            which, number = drawn.choice(('all processes', 'one rank')), drawn.randrange(2)
            ranks = sorted(self._ranks(launcher))
            if which == 'one rank' and len(ranks) == 2:
                kill([ranks[number]])
            else:
                which = 'all processes'
                kill(processes(self.work))
            # of one rank: the launcher ends the other
            self._wait_for_the_end(launcher)
            if launcher.returncode:
                self.kills[which] += 1
                return False
        assert launcher.returncode == 0, self._last_lines()
        return True

    def _start(self):
        """As a user does, on CPUs."""
        with self.work.with_suffix('.out').open('a') as output:
            return subprocess.Popen(
                ['bash', ROOT / 'tools' / 'dist_train.sh', self.config, '2', '--work-dir', self.work, '--resume'],
                env={
                    **os.environ,
                    'PYTHON': sys.executable,
                    'PORT': free_port(),
                    'CUDA_VISIBLE_DEVICES': '',
                    'OMP_NUM_THREADS': '1',
                },
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def _ranks(self, launcher):
        return [pid for pid, parent in processes(self.work).items() if parent == launcher.pid]

    def _watch(self, launcher, seconds):
        """Sample the ranks for so long, or to their end."""
        begin, reached, since = time.monotonic(), -1, time.monotonic()
        while launcher.poll() is None and time.monotonic() < begin + seconds:
            time.sleep(min(SECONDS_TO_A_SAMPLE, max(0, begin + seconds - time.monotonic())))
            for pid in self._ranks(launcher):
                with suppress(OSError, IndexError):
                    self.samples.setdefault(pid, []).append((resident(pid), len(os.listdir(f'/proc/{pid}/fd'))))
            if iteration(self.work) != reached:
                reached, since = iteration(self.work), time.monotonic()
            assert time.monotonic() < since + PATIENCE, f'still at iteration {reached}\n{self._last_lines()}'

    def _wait_for_the_end(self, launcher):
        end = time.monotonic() + PATIENCE
        while launcher.poll() is None or processes(self.work):
            assert time.monotonic() < end, f'{processes(self.work)} are still there\n{self._last_lines()}'
            time.sleep(0.1)

    def _last_lines(self):
        return self.work.with_suffix('.out').read_text()[-3000:]

    def __str__(self):
        kills = ', '.join(f'{number} of {which}' for which, number in self.kills.items())
        lines = [f'{self.work.name}: {iteration(self.work):,} iterations in {self.seconds:.0f} s, kills: {kills or 0}']
        for pid, samples in self.samples.items():
            (memory, files), (memory_at_last, files_at_last) = at_first(samples), at_last(samples)
            lines.append(
                f'    process {pid}, {len(samples)} samples: {memory:.1f} MiB, at last {memory_at_last:.1f}, at most '
                f'{peak(samples):.1f}; {files:g} open files, at last {files_at_last:g}'
            )
        return '\n'.join(lines)


def processes(work):
    """Return the number of every process whose command line names the work directory, workers too, and its parent's."""
    found = {}
    for folder in Path('/proc').glob('[0-9]*'):
        with suppress(OSError):
            if os.fsencode(work) in (folder / 'cmdline').read_bytes().split(b'\0'):
                # the name of the program, in parentheses, may hold anything
                found[int(folder.name)] = int((folder / 'stat').read_text().rpartition(')')[2].split()[1])
    return found


def kill(victims):
    for pid in victims:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def resident(pid):
    """Return the resident memory of a process in MiB."""
    return int(Path(f'/proc/{pid}/statm').read_text().split()[1]) * os.sysconf('SC_PAGE_SIZE') / 2**20


def peak(samples):
    return max(memory for memory, _ in samples)


def at_first(samples):
    """Return the medians of the second fifth; the first one is that of the start."""
    return _medians(samples[len(samples) // 5 : 2 * len(samples) // 5] or samples)


def at_last(samples):
    """Return the medians of the last fifth."""
    return _medians(samples[4 * len(samples) // 5 :])


def _medians(samples):
    return [statistics.median(values) for values in zip(*samples, strict=True)]


@pytest.fixture(scope='module')
def trainings(tmp_path_factory):
    """One that is never killed, and one that is."""
    folder = tmp_path_factory.mktemp('soak')
    write_digits(folder / 'digits')
    base = ROOT / 'configs' / 'resnet' / 'resnet18w16_1xb32-ce-30e_digits-lt.py'
    config = folder / 'soak.py'
    config.write_text(CONFIG.format(base=str(base), data=f'{folder}/digits/', iterations=ITERATIONS))
    whole = Training(config, folder / 'whole').run()
    print(f'\n{whole}', flush=True)
    killed = Training(config, folder / 'killed').run(SECONDS_TO_A_KILL)
    print(killed, flush=True)
    return whole, killed


def test_both_kinds_of_kills_came(trainings):
    assert set(trainings[1].kills) == {'all processes', 'one rank'}


# weights, averaged or not, and the running recall
EVERYWHERE = {
    '/state_dict/head.fc.weight',
    '/state_dict/head.loss_module.recall',
    '/ema_state_dict/module.head.fc.weight',
    '/ema_state_dict/module.head.loss_module.recall',
    '/scores/best_score',
    '/logged/train/loss/_log_history',
}


def test_the_last_and_the_best_checkpoint_are_those_of_a_training_without_kills(trainings):
    whole, killed = (training.work for training in trainings)
    assert names(killed) == names(whole)
    best = [name for name in names(whole) if name.startswith('best_')]
    assert names(whole) == [*best, f'iter_{ITERATIONS - 100}.pth', f'iter_{ITERATIONS}.pth']
    assert len(best) == 1
    assert 'optimizer' in torch.load(whole / f'iter_{ITERATIONS}.pth', weights_only=False)
    for name in names(whole):
        expected, found = (dict(leaves(contents(work / name))) for work in (whole, killed))
        assert found.keys() == expected.keys()
        assert found.keys() >= EVERYWHERE
        assert [key for key, value in expected.items() if found[key] != value] == [], name


def contents(path):
    """Return all of a checkpoint but times, seconds and folders."""
    checkpoint = torch.load(path, weights_only=False)
    state = {key: value for key, value in checkpoint.items() if key not in ('meta', 'message_hub')}
    hub = checkpoint['message_hub']
    info = hub['runtime_info']
    # of the iterations in the hub, a validation that is done again sees one more
    state['iterations'] = checkpoint['meta']['iter']
    state['scores'] = {key: info[key] for key in ('best_score', 'keep_ckpt_ids')}
    state['paths'] = {key: Path(info[key]).name for key in ('best_ckpt', 'last_ckpt')}
    state['logged'] = {
        key: vars(values) for key, values in hub['log_scalars'].items() if not key.endswith(('/time', '/data_time'))
    }
    return state


def leaves(state, name=''):
    """Yield the name and the value of everything in nested containers, tensors and arrays as bytes."""
    if isinstance(state, dict):
        for key, value in state.items():
            yield from leaves(value, f'{name}/{key}')
    elif isinstance(state, (list, tuple)):
        for number, value in enumerate(state):
            yield from leaves(value, f'{name}/{number}')
    elif isinstance(state, (torch.Tensor, np.ndarray)):
        array = np.asarray(state)
        yield name, (str(array.dtype), array.shape, array.tobytes())
    else:
        yield name, state


def test_no_resume_warns_of_another_training(trainings):
    assert 'not what an uninterrupted one would be' not in logged(trainings[1].work)


def test_memory_and_open_files_are_level(trainings):
    whole, killed = trainings
    assert len(whole.samples) == 2
    for samples in whole.samples.values():
        (memory, files), (memory_at_last, files_at_last) = at_first(samples), at_last(samples)
        assert memory_at_last < memory * (1 + GROWTH) + GROWTH_MIB
        assert files_at_last <= files + 1
    # a rank that has read a checkpoint needs no more than one that goes on
    most = max(map(peak, whole.samples.values()))
    assert max(map(peak, killed.samples.values())) < most * (1 + GROWTH) + GROWTH_MIB


def test_nothing_is_left_behind(trainings):
    for training in trainings:
        assert not processes(training.work)
        assert not [path.name for path in training.work.rglob('*') if path.name.endswith(PARTIAL) or path.name == LOCK]
