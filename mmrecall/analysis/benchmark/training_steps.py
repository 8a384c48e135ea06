"""The time of whole training steps of several configs: forward, backward and optimizer, on batches in memory."""

import itertools
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import TypeVar

from mmengine.config import Config
from mmengine.runner import Runner

from mmrecall.analysis.benchmark.measure import Step, seconds_of
from mmrecall.analysis.benchmark.results import Row, markdown_table, time_figures
from mmrecall.analysis.benchmark.timing import in_turn
from mmrecall.config_files import read_config
from mmrecall.engine.hooks import ClassCountsHook, ClassWeightHook, LowResolutionLossHook

Name = TypeVar('Name', bound=Hashable)


def make_step(path: Path, device: str, num_batches: int, work_dir: Path, log_classes: bool = False) -> Step:
    """Return a function that runs one training step of a config's model, which starts from random weights.

    Each call takes the next of the first ``num_batches`` batches, in a cycle. Of the config's hooks, only
    `ClassCountsHook` and `LowResolutionLossHook` are called, because they change what a step computes; with
    ``log_classes`` also `ClassWeightHook`, which then logs every step.

    Args:
        path: path of the config.
        device: ``'cpu'`` or ``'cuda'``.
        num_batches: number of batches.
        work_dir: folder for mmengine's logs, which must exist as long as the step is called.
        log_classes: call `ClassWeightHook`.

    Raises:
        ValueError: a config without training data or optimizer, or with fewer than ``num_batches`` batches.
    """
    return make_config_step(read_config(path), path.stem, device, num_batches, work_dir, log_classes)


def make_config_step(
    config: Config, name: str, device: str, num_batches: int, work_dir: Path, log_classes: bool = False
) -> Step:
    """Return the step of `make_step` for a config that is no file."""
    if not config.get('train_dataloader') or not config.get('optim_wrapper'):
        raise ValueError(f'{name} has no train_dataloader or no optim_wrapper; expected a config that trains')
    # Workers would have no use, because all batches are read before a step is timed.
    config.train_dataloader.update(num_workers=0, persistent_workers=False)
    config.train_dataloader.pop('prefetch_factor', None)
    config.merge_from_dict(
        dict(
            work_dir=str(work_dir / name),
            experiment_name=f'{name}_steps{"_logged" if log_classes else ""}',
            log_level='ERROR',
            randomness=dict(seed=0),
        )
    )
    runner = Runner.from_cfg(config)
    runner._train_loop = runner.build_train_loop(runner._train_loop)
    runner.optim_wrapper = runner.build_optim_wrapper(runner.optim_wrapper)
    for hook in runner.hooks:
        if isinstance(hook, (ClassCountsHook, LowResolutionLossHook)):
            hook.before_train(runner)
    batches = list(itertools.islice(runner.train_dataloader, num_batches))
    if len(batches) < num_batches:
        raise ValueError(
            f'{name} has {len(batches)} batches of training data; expected {num_batches}; set a smaller --batches'
        )
    model = runner.model.to(device).train()
    turn = itertools.cycle(batches)

    def train() -> object:
        return model.train_step(next(turn), runner.optim_wrapper)

    return _logged(train, runner) if log_classes else train


def _logged(train: Step, runner: Runner) -> Step:
    hook = ClassWeightHook(interval=1)
    hook.before_train(runner)

    def train_and_log() -> object:
        hook.before_train_iter(runner, 0)
        outputs = train()
        hook.after_train_iter(runner, 0)
        return outputs

    return train_and_log


def measure_steps(
    steps: dict[Name, Step], rounds: int, device: str, on_step: Callable[[], None] = lambda: None
) -> dict[Name, list[float]]:
    """Return the seconds of every step in every round but a first one, in an order that changes."""
    seconds: dict[Name, list[float]] = {name: [] for name in steps}
    for _, name in in_turn(steps, rounds + 1):
        seconds[name].append(seconds_of(steps[name], device))
        on_step()
    return {name: found[1:] for name, found in seconds.items()}


def step_rows(seconds: dict[str, list[float]], peaks: dict[str, int] | None = None) -> list[Row]:
    """Return a row for every config, with the first as the reference, and the peak bytes of its step if given.

    Example:
        >>> step_rows({'ce': [0.2, 0.4], 'recall': [0.1, 0.5]})[1].ratio
        0.5
    """
    reference = next(iter(seconds.values()))
    peaks = peaks or {}
    return [Row(name, peak_bytes=peaks.get(name), **time_figures(found, reference)) for name, found in seconds.items()]


def steps_markdown(rows: list[Row]) -> str:
    """Return the rows as a table."""
    cells = ([row.name, f'{row.milliseconds:.0f}', *row.times(digits=3), _mebibytes(row)] for row in rows)
    heads = ['config', 'ms', 'x the first', 'by round, median (10-90 %)', 'peak memory, MiB']
    return markdown_table(heads, cells)


def _mebibytes(row: Row) -> str:
    return '' if row.peak_bytes is None else f'{row.peak_bytes / 2**20:,.0f}'


def logging_markdown(seconds: dict[str, list[float]], logged: dict[str, list[float]]) -> str:
    """Return a table of the share that `ClassWeightHook` adds to the time of a step at its default interval.

    The share is taken of the median ratio over the rounds.

    Args:
        seconds: seconds of the steps without the hook, by config.
        logged: seconds of the steps that the hook logs, by config.

    Example:
        >>> print(logging_markdown({'ce': [0.2, 0.4]}, {'ce': [0.22, 0.44]}), end='')
        | ClassWeightHook, every 50 steps | share of the time of a step |
        | --- | --: |
        | ce | 0.200% |
    """
    interval = ClassWeightHook().interval
    ratios = {name: time_figures(logged[name], found)['round_ratios'][1] for name, found in seconds.items()}
    rows = ([name, f'{(ratio - 1) / interval:.3%}'] for name, ratio in ratios.items())
    return markdown_table([f'ClassWeightHook, every {interval} steps', 'share of the time of a step'], rows)
