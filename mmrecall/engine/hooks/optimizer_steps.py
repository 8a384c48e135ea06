"""When the optimizers of a training step."""

from mmengine.optim import OptimWrapper
from mmengine.runner import Runner


def optim_wrappers(runner: Runner) -> list[OptimWrapper]:
    """One, or those of an `OptimWrapperDict`."""
    wrappers = getattr(runner.optim_wrapper, 'optim_wrappers', None)
    return [runner.optim_wrapper] if wrappers is None else list(wrappers.values())


def between_steps(runner: Runner) -> bool:
    """Whether no accumulated gradients wait for a step."""
    return all(wrapper.should_update() for wrapper in optim_wrappers(runner))
