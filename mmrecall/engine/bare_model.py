"""The model of a runner, out of what distributes it."""

from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from torch import nn


def bare_model(runner: Runner) -> nn.Module:
    """The model itself, also where ``DistributedDataParallel`` or the like is around it."""
    return runner.model.module if is_model_wrapper(runner.model) else runner.model
