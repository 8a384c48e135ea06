"""When the optimizers of a training step."""

import math

from mmengine.optim import OptimWrapper
from mmengine.runner import Runner


def optim_wrappers(runner: Runner) -> list[OptimWrapper]:
    """One, or those of an `OptimWrapperDict`."""
    wrappers = getattr(runner.optim_wrapper, 'optim_wrappers', None)
    return [runner.optim_wrapper] if wrappers is None else list(wrappers.values())


def between_steps(runner: Runner) -> bool:
    """Whether no accumulated gradients wait for a step."""
    # those of DeepSpeed, for one, do not accumulate by themselves
    accumulating = [wrapper for wrapper in optim_wrappers(runner) if hasattr(wrapper, 'should_update')]
    return all(wrapper.should_update() for wrapper in accumulating)


def accumulated_steps(runner: Runner) -> int:
    """Iterations from one moment without accumulated gradients to the next."""
    return math.lcm(*(getattr(wrapper, '_accumulative_counts', 1) for wrapper in optim_wrappers(runner)))
