"""A small real training that can be killed and resumed, in a process of its own."""

import hashlib
import multiprocessing
import os
import random
import re
import signal
import time
from contextlib import suppress
from pathlib import Path

# before a fork, because every runner has a visualizer that imports it
import matplotlib.pyplot  # noqa: F401
import numpy as np
import torch
from mmengine.evaluator import BaseMetric, Evaluator
from mmengine.hooks import EMAHook, Hook
from mmengine.model import BaseModel
from mmengine.runner import Runner
from mmengine.runner import runner as runner_module
from torch import nn
from torch.utils.data import Dataset

from mmrecall.engine import init_cpu_ranks
from mmrecall.losses import RecallLoss

# a fork has PyTorch imported already
FORK = multiprocessing.get_context('fork')
ITEMS, CLASSES = 30, 3


class Noisy(Dataset):
    """Every item is drawn anew, from all three sources of random numbers."""

    metainfo = dict(classes=('a', 'b', 'c'))

    def __len__(self):
        return ITEMS

    def __getitem__(self, index):
        generator = torch.Generator().manual_seed(index)
        fixed = torch.randn(6, generator=generator)
        noise = random.random() + torch.from_numpy(np.random.randn(6)).float() + torch.randn(6)
        return dict(inputs=fixed + 0.5 * noise, label=index % CLASSES)


class Count(BaseMetric):
    """Counts what is validated."""

    def process(self, data_batch, data_samples):
        self.results.append(1)

    def compute_metrics(self, results):
        return dict(validated=len(results))


class Network(BaseModel):
    """With what makes a resume inexact: dropout, batch statistics, a running recall, random numbers in the step."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, CLASSES)
        )
        self.loss_module = RecallLoss(alpha=0.3, num_classes=CLASSES)

    def forward(self, inputs, label, mode='tensor'):
        if mode == 'loss':
            inputs = inputs * (1 + 0.1 * np.random.randn())
        logits = self.layers(inputs)
        return dict(loss=self.loss_module(logits, label)) if mode == 'loss' else [logits]


def build(work, epochs=0, iterations=0, sampler='InfiniteSampler', checkpoint=None, hooks=None, **options):
    """A runner by epochs or by iterations."""
    workers = options.pop('workers', 0)
    if iterations:
        train_cfg = dict(type='IterBasedTrainLoop', max_iters=iterations)
    else:
        train_cfg = dict(by_epoch=True, max_epochs=epochs)
    checkpoint = checkpoint or dict(by_epoch=not iterations, interval=3 if iterations else 1)
    settings = dict(
        model=Network(),
        work_dir=str(work),
        experiment_name=f'{work.parent.name}-{work.name}-{os.getpid()}',
        train_dataloader=dict(
            batch_size=4,
            num_workers=workers,
            persistent_workers=workers > 0,
            dataset=Noisy(),
            collate_fn=dict(type='default_collate'),
            sampler=dict(type=sampler, shuffle=True),
        ),
        train_cfg=train_cfg,
        optim_wrapper=dict(optimizer=dict(type='AdamW', lr=0.01)),
        param_scheduler=dict(type='CosineAnnealingLR', T_max=iterations or epochs, by_epoch=not iterations),
        default_hooks=dict(
            checkpoint=dict(type='mmrecall.AtomicCheckpointHook', max_keep_ckpts=2, **checkpoint),
            logger=dict(type='LoggerHook', interval=1),
        ),
        custom_hooks=[dict(type='mmrecall.ExactResumeHook'), EMAHook()] if hooks is None else hooks,
        randomness=dict(seed=3),
        log_level='WARNING',
    )
    if options.pop('validation', False):
        loader = dict(batch_size=10, dataset=Noisy(), collate_fn=dict(type='default_collate'))
        loader['sampler'] = dict(type='DefaultSampler', shuffle=False)
        settings.update(val_dataloader=loader, val_cfg=dict(), val_evaluator=Evaluator(Count()))
    settings.update(options)
    return Runner(**settings)


def digest(runner):
    """Of all that a training leaves: weights, averages, the running recall, the optimizer's state."""
    total = hashlib.sha256()
    states = [runner.model.state_dict(), runner.optim_wrapper.state_dict()]
    states += [hook.ema_model.state_dict() for hook in runner.hooks if isinstance(hook, EMAHook)]
    for tensor in _tensors(states):
        total.update(tensor.numpy().tobytes())
    return total.hexdigest()


def _tensors(state):
    if isinstance(state, torch.Tensor):
        yield state.detach().contiguous()
    elif isinstance(state, dict):
        for key in sorted(state, key=str):
            yield from _tensors(state[key])
    elif isinstance(state, (list, tuple)):
        for item in state:
            yield from _tensors(item)


class Slow(Hook):
    """Takes its time for a step, and leaves a file for it, so that a signal comes in the middle."""

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        (Path(runner.work_dir) / f'step_{runner.iter + 1}').touch()
        time.sleep(0.03)


def train(work, rank=0, port=None, slow=False, **settings):
    """Train to the end and note the digest; what a process does."""
    # with its workers in a group that can be killed as a whole
    os.setsid()
    # what was written outlives a process that is killed; the disk matters to a machine that is
    os.fsync = lambda descriptor: None
    # a program that every checkpoint starts
    runner_module.get_git_hash = lambda: 'none'
    torch.set_num_threads(1)
    torch.manual_seed(11)
    if port is not None:
        os.environ.update(
            MASTER_ADDR='127.0.0.1', MASTER_PORT=port, RANK=str(rank), WORLD_SIZE='2', LOCAL_RANK=str(rank)
        )
        init_cpu_ranks('pytorch')
        settings.update(
            launcher='pytorch',
            cfg=dict(
                model_wrapper_cfg=dict(type='MMDistributedDataParallel', device_ids=None, broadcast_buffers=False)
            ),
        )
    work.mkdir(exist_ok=True)
    runner = build(work, **settings)
    if slow:
        runner.register_hook(Slow())
    runner.train()
    if rank == 0:
        (work / 'digest').write_text(digest(runner))


def start(work, ports=(None,), **settings):
    """Start the processes of a training, one a rank."""
    processes = [
        FORK.Process(target=train, args=(work,), kwargs=dict(rank=rank, port=port, **settings))
        for rank, port in enumerate(ports)
    ]
    for process in processes:
        process.start()
    return processes


def kill(processes):
    """SIGKILL to all, workers too; whether all were at work."""
    for process in processes:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    return set(finish(processes)) == {-signal.SIGKILL}


def finish(processes, timeout=120):
    """Exit statuses."""
    for process in processes:
        process.join(timeout)
    return [process.exitcode for process in processes]


def wait_for(path, processes):
    """Return when a file is there; fail if all processes end before that."""
    while not path.exists():
        assert any(process.is_alive() for process in processes)
        time.sleep(0.002)


def iteration(work):
    """Of the last checkpoint; 0 without one."""
    note = work / 'last_checkpoint'
    return int(re.search(r'iter_(\d+)\.pth', note.read_text())[1]) if note.exists() else 0


def logged(work):
    """Return the text of all log files."""
    return ''.join(path.read_text() for path in work.rglob('*.log'))


def names(work):
    """Of the checkpoints in a work directory, the partial ones included."""
    return sorted(path.name for path in work.glob('*.pth*'))


class Scores(Hook):
    """Stands for validation: the hook below saves the best by these scores."""

    def __init__(self, scores):
        self.scores = scores

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        if runner.iter in self.scores:
            (checkpoint,) = [hook for hook in runner.hooks if hasattr(hook, 'save_best')]
            checkpoint.after_val_epoch(runner, dict(accuracy=self.scores[runner.iter]))
