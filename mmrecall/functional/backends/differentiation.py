"""The forms of differentiation that the backends leave to the reference."""

import torch
from torch import Tensor
from torch.autograd import forward_ad

from ..batch import Batch
from ..validation import is_soft

# Marks the vectors of torch.autograd.grad(..., is_grads_batched=True).
_IS_GRADS_BATCHED = torch._C._dispatch_key_parse('Batched')


def has_class_indices_and_plain_gradient(batch: Batch) -> bool:
    """Return whether labels are class indices, and only the gradient of the logits is needed, once."""
    return not is_soft(batch.target) and has_plain_gradient(batch)


def has_plain_gradient(batch: Batch) -> bool:
    """Return whether, apart from the labels, only the gradient of the logits is needed, once."""
    return (
        not (batch.sample_weight is not None and batch.sample_weight.requires_grad)
        # torch.func needs a form of autograd.Function that takes twice as long to call, and forward mode a formula
        and not torch._C._are_functorch_transforms_active()
        and forward_ad._current_level < 0
    )


def is_plain_backward(incoming: Tensor) -> bool:
    """Return whether a gradient is neither to be differentiated itself nor one for several vectors at once."""
    return not (torch.is_grad_enabled() or torch._C._dispatch_keys(incoming).has(_IS_GRADS_BATCHED))
