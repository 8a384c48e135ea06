"""Class sums by Triton kernels as operators of PyTorch, and their gradient."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ...batch import Batch, interpolated, is_low_resolution
from ...logit_adjustment import LogitAdjustment
from ...statistics import ClassSums
from .. import reference
from ..differentiation import is_plain_backward
from . import dense, low_resolution
from .launch import INTERPRETED, Inputs, on_device_of
from .parts import add_up_blocks

# Sums of blocks that one step of `add_up_blocks` reads.
_ADD_UP_BLOCK = 1024


def class_sums(
    batch: Batch, adjustment: LogitAdjustment | None = None, *, hits: bool = False, predictions: bool = False
) -> ClassSums:
    """Count every class and sum its cross entropy, like `reference.class_sums` of `interpolated`; without checks."""
    logits, target, ignore_index, sample_weight, reduction = batch[:5]
    scale, offsets, margins = adjustment or LogitAdjustment()
    losses, counts = _ClassSums.apply(  # type: ignore[no-untyped-call]
        logits, target, sample_weight, offsets, margins, ignore_index, float(scale), reduction == 'none',
        batch.align_corners if is_low_resolution(batch) else None, hits, predictions,
    )  # fmt: skip
    num_classes = logits.shape[1]
    # not Tensor.split, which adds a layer of Python
    support, true_positives, predicted, invalid_labels = torch.split_with_sizes(counts, [num_classes] * 3 + [1])
    return ClassSums(
        losses,
        support,
        true_positives if hits else None,
        predicted if predictions else None,
        invalid_labels.squeeze(0),
    )


class _ClassSums(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *arguments: Any) -> tuple[Tensor, Tensor]:
        losses, counts, lse = _forward_operator(*arguments)
        ctx.save_for_backward(*arguments[:5], lse)
        ctx.options = arguments[5:9]
        ctx.mark_non_differentiable(counts)
        ctx.set_materialize_grads(False)
        return losses, counts

    @staticmethod
    def backward(ctx: Any, incoming: Tensor | None, _: Any) -> tuple[Tensor | None, ...]:
        if incoming is None:
            return (None,) * 11
        # a compiled graph holds neither of the gradients that the reference computes
        if torch.compiler.is_compiling() or is_plain_backward(incoming):
            gradient = _backward_operator(*ctx.saved_tensors, incoming, *ctx.options)
        else:
            gradient = _gradient_by_reference(ctx.saved_tensors[:5], incoming, ctx.options)
        return gradient, *[None] * 10


def _gradient_by_reference(tensors: Sequence[Any], incoming: Tensor, options: Sequence[Any]) -> Tensor:
    """Return a gradient that can be differentiated, or one for several vectors at once."""
    logits, target, sample_weight, offsets, margins = tensors
    ignore_index, scale, each, align_corners = options
    create_graph = torch.is_grad_enabled()
    reduction, upsample = 'none' if each else 'sum', None if align_corners is None else 'bilinear'
    batch = Batch(logits, target, ignore_index, sample_weight, reduction, None, upsample, bool(align_corners))
    with torch.enable_grad():
        losses = reference.class_sums(interpolated(batch), LogitAdjustment(scale, offsets, margins)).losses
    return torch.autograd.grad(losses, logits, incoming, create_graph=create_graph)[0]


def _forward(
    logits: Tensor,
    target: Tensor,
    sample_weight: Tensor | None,
    offsets: Tensor | None,
    margins: Tensor | None,
    ignore_index: int,
    scale: float,
    each: bool,
    align_corners: bool | None,
    hits: bool,
    predictions: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return (C,) summed losses, or those of the samples if ``each``, counts (3 C + 1,) and log-sum-exp.

    ``align_corners`` is that of low-resolution logits, None for logits of the size of the labels.
    """
    losses, counts, lse = results = _empty_results(logits, target, each)
    if not target.numel():
        for result in results:
            result.zero_()
        return results
    inputs = Inputs.of(logits, target, sample_weight, offsets, margins, ignore_index, scale)
    num_classes = logits.shape[1]
    loss_sums = losses.new_empty(num_classes) if each else losses
    outputs = lse, losses if each else None, loss_sums, counts
    with on_device_of(logits):
        if align_corners is None:
            partial = dense.forward(inputs, outputs, hits or predictions, predictions)
        else:
            partial = low_resolution.forward(inputs, outputs, align_corners, hits or predictions, predictions)
        if partial is not None:
            add_up_blocks[(num_classes + 1,)](
                *partial, loss_sums, counts, partial[0].shape[1], C=num_classes, BLOCK=_ADD_UP_BLOCK,
                PREDICTIONS=predictions,
            )  # fmt: skip
    return results


def _backward(
    logits: Tensor,
    target: Tensor,
    sample_weight: Tensor | None,
    offsets: Tensor | None,
    margins: Tensor | None,
    lse: Tensor,
    incoming: Tensor,
    ignore_index: int,
    scale: float,
    each: bool,
    align_corners: bool | None,
) -> Tensor:
    """Return the gradient for an incoming one of (C,) sums, or if ``each`` of (N, ...) losses."""
    gradient = _empty_gradient(logits, align_corners)
    if not target.numel():
        return gradient.zero_()
    inputs = Inputs.of(logits, target, sample_weight, offsets, margins, ignore_index, scale)
    incoming = incoming.to(torch.float32).contiguous()
    with on_device_of(logits):
        if align_corners is None:
            dense.backward(inputs, lse, incoming, gradient, each)
        else:
            low_resolution.backward(inputs, lse, incoming, gradient, each, align_corners)
    return gradient


def _empty_results(logits: Tensor, target: Tensor, each: bool) -> tuple[Tensor, Tensor, Tensor]:
    num_classes, device = logits.shape[1], logits.device
    return (
        torch.empty(target.shape if each else num_classes, dtype=torch.float32, device=device),
        torch.empty(3 * num_classes + 1, dtype=torch.float64, device=device),
        torch.empty(target.shape, dtype=torch.float32, device=device),
    )


def _empty_gradient(logits: Tensor, align_corners: bool | None) -> Tensor:
    """Return a tensor for the gradient, laid out like dense logits where the kernels can write so."""
    if align_corners is None:
        gradient = torch.empty_like(logits)
        if dense.layout_of(gradient) is not None:
            return gradient
    return torch.empty_like(logits, memory_format=torch.contiguous_format)


def _fake_forward(logits: Tensor, target: Tensor, *others: Any) -> tuple[Tensor, Tensor, Tensor]:
    return _empty_results(logits, target, others[5])


def _fake_backward(logits: Tensor, *others: Any) -> Tensor:
    return _empty_gradient(logits, others[-1])


_TENSORS = 'Tensor logits, Tensor target, Tensor? sample_weight, Tensor? offsets, Tensor? margins'
_OPTIONS = 'int ignore_index, float scale, bool each, bool? align_corners'
# torch.library.custom_op takes the host twice as long, triton_op fails in the interpreter
_library: Any = torch.library.Library('mmrecall', 'FRAGMENT')  # type: ignore[no-untyped-call]
_library.define(f'class_sums({_TENSORS}, {_OPTIONS}, bool hits, bool predictions) -> (Tensor, Tensor, Tensor)')
_library.define(f'class_sums_backward({_TENSORS}, Tensor lse, Tensor incoming, {_OPTIONS}) -> Tensor')
for _key in ('CUDA', 'CPU') if INTERPRETED else ('CUDA',):
    _library.impl('class_sums', _forward, _key)
    _library.impl('class_sums_backward', _backward, _key)
# PyTorch 2.1 has no such function; `covers` leaves its batches to the reference
if hasattr(torch.library, 'register_fake'):
    torch.library.register_fake('mmrecall::class_sums', _fake_forward, lib=_library)
    torch.library.register_fake('mmrecall::class_sums_backward', _fake_backward, lib=_library)
_forward_operator = torch.ops.mmrecall.class_sums.default
_backward_operator = torch.ops.mmrecall.class_sums_backward.default
