"""Parts of a mmengine Runner: its model, its optimizer steps, the class names of its training set."""

import math
from collections.abc import Sequence

from mmengine.model import is_model_wrapper
from mmengine.optim import OptimWrapper
from mmengine.runner import Runner
from torch import nn


def unwrap_model(runner: Runner) -> nn.Module:
    """Return the model without ``DistributedDataParallel`` or another wrapper around it."""
    return runner.model.module if is_model_wrapper(runner.model) else runner.model


def trained_classes(runner: Runner) -> Sequence[str] | None:
    """Return the class names of the training set in their order, or None if it has no names."""
    return getattr(runner.train_dataloader.dataset, 'metainfo', {}).get('classes')


def optim_wrappers(runner: Runner) -> list[OptimWrapper]:
    """Return the optimizer wrapper in a list, or those of an `OptimWrapperDict`."""
    wrappers = getattr(runner.optim_wrapper, 'optim_wrappers', None)
    return [runner.optim_wrapper] if wrappers is None else list(wrappers.values())


def between_steps(runner: Runner) -> bool:
    """Return whether no accumulated gradients wait for a step."""
    # The wrapper of DeepSpeed, for one, leaves the accumulation to its engine.
    accumulating = [wrapper for wrapper in optim_wrappers(runner) if hasattr(wrapper, 'should_update')]
    return all(wrapper.should_update() for wrapper in accumulating)


def accumulated_steps(runner: Runner) -> int:
    """Return the number of iterations from one moment without accumulated gradients to the next."""
    return math.lcm(*(getattr(wrapper, '_accumulative_counts', 1) for wrapper in optim_wrappers(runner)))
