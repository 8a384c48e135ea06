"""Parts of a mmengine Runner: its model, its optimizer steps, the class names of its training set."""

import math
from collections.abc import Sequence

import torch
from mmengine.dist import broadcast_object_list, get_world_size
from mmengine.hooks import EMAHook
from mmengine.model import is_model_wrapper
from mmengine.optim import OptimWrapper
from mmengine.runner import Runner
from torch import nn


def unwrap_model(runner: Runner) -> nn.Module:
    """Return the model without ``DistributedDataParallel`` or another wrapper around it."""
    return runner.model.module if is_model_wrapper(runner.model) else runner.model


def share_buffers(runner: Runner) -> None:
    """Give all ranks the buffers of rank 0, those of averaged models too.

    Without SyncBN the statistics of a batch normalisation differ between ranks, and a checkpoint has those of rank 0.
    """
    if get_world_size() == 1:
        return
    models = [unwrap_model(runner), *(hook.ema_model for hook in runner.hooks if isinstance(hook, EMAHook))]
    own = [_saved_buffers(model) for model in models]
    shared = [[{name: buffer.cpu() for name, buffer in buffers.items()} for buffers in own]]
    broadcast_object_list(shared)
    with torch.no_grad():
        for buffers, of_rank_zero in zip(own, shared[0], strict=True):
            for name, buffer in buffers.items():
                buffer.copy_(of_rank_zero[name])


def _saved_buffers(model: nn.Module) -> dict[str, torch.Tensor]:
    """Return the buffers that are in a checkpoint of the model."""
    saved = model.state_dict()
    return {name: buffer for name, buffer in model.named_buffers() if name in saved}


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
