"""Parts that all launches of the kernels share: inputs, tensors for the sums of the blocks, and the device."""

import os
from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple

import torch
from torch import Tensor

# Triton decides at import whether its kernels run in its interpreter, on CPU tensors.
INTERPRETED = os.environ.get('TRITON_INTERPRET', '').lower() in ('1', 'true', 'yes', 'on', 'y')
_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


class Inputs(NamedTuple):
    """Arguments that every kernel reads; all but the logits are contiguous."""

    logits: Tensor
    target: Tensor
    sample_weight: Tensor | None
    offsets: Tensor | None
    margins: Tensor | None
    ignore_index: int
    scale: float
    is_adjusted: bool

    @staticmethod
    def of(
        logits: Tensor,
        target: Tensor,
        sample_weight: Tensor | None,
        offsets: Tensor | None,
        margins: Tensor | None,
        ignore_index: int,
        scale: float,
    ) -> 'Inputs':
        """Return the arguments of an operator in the form that the kernels read."""
        if sample_weight is not None:
            sample_weight = (sample_weight if sample_weight.dtype in _FLOATS else sample_weight.float()).contiguous()
        is_adjusted = offsets is not None or margins is not None or scale != 1
        offsets, margins = _as_table(offsets, logits), _as_table(margins, logits)
        return Inputs(logits, target.contiguous(), sample_weight, offsets, margins, ignore_index, scale, is_adjusted)


class BlockSums(NamedTuple):
    """Sums of every block of samples, as `store_class_sums` stores them; the blocks are the last dimension."""

    losses: Tensor
    counts: Tensor
    predicted: Tensor | None


# log-sum-exp of the samples, their losses, or None if not needed, (C,) summed losses and (3 C + 1,) counts
Outputs = tuple[Tensor, Tensor | None, Tensor, Tensor]


def empty_block_sums(logits: Tensor, num_blocks: int, predictions: bool) -> BlockSums:
    """Return empty tensors for the sums of the blocks."""
    num_classes, device = logits.shape[1], logits.device
    return BlockSums(
        torch.empty((num_classes, num_blocks), dtype=torch.float32, device=device),
        torch.empty((num_classes + 1, num_blocks), dtype=torch.int32, device=device),
        torch.empty((num_classes, num_blocks), dtype=torch.int32, device=device) if predictions else None,
    )


def on_device_of(tensor: Tensor) -> AbstractContextManager[object]:
    """Return a context in which kernels start on the device of the tensor."""
    if tensor.device.type != 'cuda' or tensor.device.index == torch.cuda.current_device():
        return nullcontext()
    return torch.cuda.device(tensor.device)


def _as_table(by_class: Tensor | None, logits: Tensor) -> Tensor | None:
    return None if by_class is None else by_class.to(logits.device).contiguous()
