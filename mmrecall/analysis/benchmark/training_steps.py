"""Whole training steps of several configs, in turns: forward, backward and optimizer, on real batches in memory."""

import itertools
import random
from collections.abc import Callable, Hashable, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

from mmengine.config import Config
from mmengine.runner import Runner

from mmrecall.analysis.benchmark.measure import Step, seconds_of
from mmrecall.analysis.benchmark.results import ratios_by_round
from mmrecall.engine.hooks import ClassCountsHook, ClassWeightHook

Name = TypeVar('Name', bound=Hashable)


class StepRow(NamedTuple):
    """What one config took."""

    config: str
    milliseconds: float
    """Of the fastest round."""
    ratio: float
    """Of the fastest rounds, to the first config."""
    round_ratios: tuple[float, float, float]
    """10th, 50th and 90th percentile of the ratios to the first config in the same round."""


def make_step(path: Path, device: str, num_batches: int, seed: int, work_dir: Path, log_classes: bool = False) -> Step:
    """The call that trains a config's model on the next of its first batches, over and over, from random weights.

    What mmengine writes goes to ``work_dir``, which must be there as long as the step is called. No hook is called,
    but with ``log_classes`` `ClassWeightHook`, which logs every step.

    Raises:
        ValueError: a config that trains nothing, or whose data set has fewer batches.
    """
    config = Config.fromfile(path)
    if not config.get('train_dataloader') or not config.get('optim_wrapper'):
        raise ValueError(f'{path} has no train_dataloader or optim_wrapper; give configs that train')
    # the batches are read before anything is timed
    config.train_dataloader.update(num_workers=0, persistent_workers=False)
    config.train_dataloader.pop('prefetch_factor', None)
    config.merge_from_dict(
        dict(
            work_dir=str(work_dir / path.stem),
            experiment_name=f'{path.stem}_steps{"_logged" if log_classes else ""}',
            log_level='ERROR',
            randomness=dict(seed=seed),
        )
    )
    runner = Runner.from_cfg(config)
    runner._train_loop = runner.build_train_loop(runner._train_loop)
    runner.optim_wrapper = runner.build_optim_wrapper(runner.optim_wrapper)
    for hook in runner.hooks:
        if isinstance(hook, ClassCountsHook):
            hook.before_train(runner)
    batches = list(itertools.islice(runner.train_dataloader, num_batches))
    if len(batches) < num_batches:
        raise ValueError(f'{path} has {len(batches)} batches of training data; use --batches {len(batches)}')
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
    steps: dict[Name, Step], rounds: int, device: str, seed: int, on_step: Callable[[], None] = lambda: None
) -> dict[Name, list[float]]:
    """Seconds of every step in every round, in an order that changes; a first round is not counted."""
    order, seconds = random.Random(seed), {name: [] for name in steps}  # type: dict[Name, list[float]]
    for _ in range(rounds + 1):
        for name in order.sample(list(steps), len(steps)):
            seconds[name].append(seconds_of(steps[name], device))
            on_step()
    return {name: found[1:] for name, found in seconds.items()}


def step_rows(seconds: dict[str, list[float]]) -> list[StepRow]:
    """A row for every config.

    Example:
        >>> step_rows({'ce': [0.2, 0.4], 'recall': [0.1, 0.5]})[1][:3]
        ('recall', 100.0, 0.5)
    """
    reference = next(iter(seconds.values()))
    return [
        StepRow(
            name,
            milliseconds=1000 * min(found),
            ratio=min(found) / min(reference),
            round_ratios=ratios_by_round(found, reference),
        )
        for name, found in seconds.items()
    ]


def steps_markdown(rows: Sequence[StepRow]) -> str:
    """A table of the rows."""
    lines = ['| config | ms | x the first | by round, median (10-90 %) |', '|---|--:|--:|--:|']
    for row in rows:
        low, median, high = row.round_ratios
        lines.append(
            f'| {row.config} | {row.milliseconds:.0f} | {row.ratio:.3f} | {median:.3f} ({low:.3f}-{high:.3f}) |'
        )
    return '\n'.join(lines) + '\n'


def logging_shares(seconds: dict[str, list[float]], logged: dict[str, list[float]], interval: int) -> dict[str, float]:
    """What `ClassWeightHook` adds to the time of a config's steps, as a share, if it logs every ``interval``-th.

    The median over the rounds.

    Example:
        >>> logging_shares({'ce': [0.2, 0.4]}, {'ce': [0.22, 0.44]}, interval=50)
        {'ce': 0.002}
    """
    return {name: round((ratios_by_round(logged[name], found)[1] - 1) / interval, 6) for name, found in seconds.items()}
