"""Class sums of logits of the size of the labels, by Triton kernels: the operators and their gradient."""

from typing import Any

import torch
from torch import Tensor

from ...batch import Batch
from ...logit_adjustment import LogitAdjustment
from ...statistics import ClassSums
from .. import reference
from ..differentiation import is_plain_backward
from . import dense_kernels, parts, row_kernels
from .launch import (
    ADD_UP_BLOCK,
    INTERPRETED,
    Layout,
    as_table,
    as_weights,
    dense_tiles,
    empty_gradient,
    evenly_spaced,
    is_rows,
    layout_of,
    on_device_of,
    row_shape,
    row_tiles,
    sample_blocks,
)


def class_sums(
    batch: Batch, adjustment: LogitAdjustment | None = None, *, hits: bool = False, predictions: bool = False
) -> ClassSums:
    """Count every class and sum its cross entropy, like `reference.class_sums`; without checks."""
    logits, target, ignore_index, sample_weight, reduction = batch[:5]
    scale, offsets, margins = adjustment or LogitAdjustment()
    losses, counts = _DenseClassSums.apply(  # type: ignore[no-untyped-call]
        logits, target, sample_weight, offsets, margins, ignore_index, float(scale), reduction == 'none', hits,
        predictions,
    )  # fmt: skip
    support, true_positives, predicted, invalid_labels = counts.split([logits.shape[1]] * 3 + [1])
    return ClassSums(
        losses,
        support,
        true_positives if hits else None,
        predicted if predictions else None,
        invalid_labels.squeeze(0),
    )


class _DenseClassSums(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        logits: Tensor,
        target: Tensor,
        sample_weight: Tensor | None,
        offsets: Tensor | None,
        margins: Tensor | None,
        *options: Any,
    ) -> tuple[Tensor, Tensor]:
        loss_sums, counts, losses, lse = torch.ops.mmrecall.dense_forward.default(
            logits, target, sample_weight, offsets, margins, *options
        )
        ignore_index, scale, each = options[:3]
        ctx.save_for_backward(logits, target, sample_weight, offsets, margins, lse)
        ctx.options = (ignore_index, scale, each)
        ctx.mark_non_differentiable(counts)
        ctx.set_materialize_grads(False)
        return losses if each else loss_sums, counts

    @staticmethod
    def backward(ctx: Any, incoming: Tensor | None, _: Any) -> tuple[Tensor | None, ...]:
        logits, target, sample_weight, offsets, margins, lse = ctx.saved_tensors
        ignore_index, scale, each = ctx.options
        if incoming is None:
            return (None,) * 10
        # a compiled graph holds neither of the two
        if not torch.compiler.is_compiling() and not is_plain_backward(incoming):
            # a gradient that can be differentiated, and one for several vectors at once, are left to the reference
            create_graph = torch.is_grad_enabled()
            batch = Batch(logits, target, ignore_index, sample_weight, 'none' if each else 'sum')
            with torch.enable_grad():
                losses = reference.class_sums(batch, LogitAdjustment(scale, offsets, margins)).losses
            return torch.autograd.grad(losses, logits, incoming, create_graph=create_graph)[0], *[None] * 9
        gradient = torch.ops.mmrecall.dense_backward.default(
            logits, target, sample_weight, offsets, margins, lse, incoming, ignore_index, scale, each
        )
        return gradient, *[None] * 9


def _forward(
    logits: Tensor,
    target: Tensor,
    sample_weight: Tensor | None,
    offsets: Tensor | None,
    margins: Tensor | None,
    ignore_index: int,
    scale: float,
    each: bool,
    hits: bool,
    predictions: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return (C,) summed losses, counts (3 C + 1,), the losses of the samples if ``each``, and log-sum-exp."""
    if not target.numel():
        return _empty_results(logits, target, each, torch.zeros)
    results = _empty_results(logits, target, each, torch.empty)
    logits, layout = evenly_spaced(logits)
    forward = _forward_by_rows if is_rows(layout, logits.shape[1]) else _forward_by_samples
    inputs = (
        logits,
        target.contiguous(),
        as_weights(sample_weight),
        as_table(offsets, logits),
        as_table(margins, logits),
    )
    is_adjusted = offsets is not None or margins is not None or scale != 1
    with on_device_of(logits):
        forward(inputs, layout, results, ignore_index, scale, is_adjusted, hits or predictions, predictions)
    return results


def _forward_by_samples(
    inputs: tuple[Tensor | None, ...],
    layout: Layout,
    results: tuple[Tensor, ...],
    ignore_index: int,
    scale: float,
    is_adjusted: bool,
    hits: bool,
    predictions: bool,
) -> None:
    """Fill the results by the kernels of a thread per sample."""
    logits, target = inputs[:2]
    assert logits is not None
    assert target is not None
    loss_sums, counts, losses, lse = results
    num_classes, total, num_places = logits.shape[1], target.numel(), target.numel() // len(target)
    tiles = dense_tiles(num_classes)
    num_blocks, within_image = sample_blocks(total, num_places, tiles.block)
    partial = _empty_block_sums(logits, num_blocks, predictions)
    dense_kernels.dense_forward[(num_blocks,)](
        *inputs, lse, losses if losses.numel() else None, *partial, num_places, total, *layout, ignore_index, scale,
        num_blocks, C=num_classes, BLOCK=tiles.block, AHEAD=tiles.ahead, WITHIN_IMAGE=within_image,
        ADJUSTED=is_adjusted, HITS=hits, PREDICTIONS=predictions, num_warps=tiles.warps,
    )  # fmt: skip
    _add_up(partial, loss_sums, counts, num_blocks, num_classes, predictions)


def _forward_by_rows(
    inputs: tuple[Tensor | None, ...],
    layout: Layout,
    results: tuple[Tensor, ...],
    ignore_index: int,
    scale: float,
    is_adjusted: bool,
    hits: bool,
    predictions: bool,
) -> None:
    """Fill the results by the kernels of a program per few samples."""
    logits, target = inputs[:2]
    assert logits is not None
    assert target is not None
    loss_sums, counts, losses, lse = results
    num_classes, total, num_places = logits.shape[1], target.numel(), target.numel() // len(target)
    tiles = row_tiles(num_classes)
    if not losses.numel():
        losses = torch.empty_like(lse)
    predicted = torch.empty_like(lse, dtype=torch.int16 if num_classes < 2**15 else torch.int32) if hits else None
    rows, columns, warps = row_shape(total, num_classes, tiles.scores, tiles)
    row_kernels.row_forward[(-(-total // rows),)](
        *inputs, lse, losses, predicted, num_places, total, layout.image, layout.sample, ignore_index, scale,
        C=num_classes, ROWS=rows, COLUMNS=columns, ADJUSTED=is_adjusted, num_warps=warps,
    )  # fmt: skip
    per_block = min(tiles.per_block, -(-total // tiles.samples) * tiles.samples)
    num_blocks = -(-total // per_block)
    is_final = num_blocks == 1
    partial = (None,) * 3 if is_final else _empty_block_sums(logits, num_blocks, predictions)
    row_kernels.sum_rows[(-(-num_classes // tiles.classes), num_blocks)](
        target, losses, predicted, *partial, loss_sums, counts, total, num_blocks, ignore_index, C=num_classes,
        CLASSES=tiles.classes, SAMPLES=tiles.samples, PER_BLOCK=per_block, FINAL=is_final, PREDICTIONS=predictions,
    )  # fmt: skip
    if not is_final:
        _add_up(partial, loss_sums, counts, num_blocks, num_classes, predictions)


def _add_up(
    partial: tuple[Tensor | None, ...],
    loss_sums: Tensor,
    counts: Tensor,
    num_blocks: int,
    num_classes: int,
    predictions: bool,
) -> None:
    parts.add_up_blocks[(num_classes + 1,)](
        *partial, loss_sums, counts, num_blocks, C=num_classes, BLOCK=ADD_UP_BLOCK, PREDICTIONS=predictions
    )


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
) -> Tensor:
    """Return the gradient for an incoming one of (C,) sums, or if ``each`` of (N, ...) losses."""
    gradient = empty_gradient(logits)
    total, num_classes = target.numel(), logits.shape[1]
    if not total:
        return gradient
    logits, layout = evenly_spaced(logits)
    out = layout_of(gradient)
    assert out is not None
    num_places = total // len(target)
    inputs = (
        logits,
        target.contiguous(),
        as_weights(sample_weight),
        as_table(offsets, logits),
        as_table(margins, logits),
        lse,
    )
    incoming = incoming.to(torch.float32).contiguous()
    is_adjusted = offsets is not None or margins is not None or scale != 1
    flags = dict(ADJUSTED=is_adjusted, EACH=each)
    with on_device_of(logits):
        if is_rows(layout, num_classes):
            tiles = row_tiles(num_classes)
            rows, columns, warps = row_shape(total, num_classes, tiles.backward_scores, tiles)
            row_kernels.row_backward[(-(-total // rows), -(-num_classes // columns))](
                *inputs, incoming, gradient, num_places, total, layout.image, layout.sample, *out, ignore_index, scale,
                C=num_classes, ROWS=rows, COLUMNS=columns, **flags, num_warps=warps,
            )  # fmt: skip
        else:
            block, warps = dense_tiles(num_classes)[-2:]
            num_blocks, within_image = sample_blocks(total, num_places, block)
            dense_kernels.dense_backward[(num_blocks,)](
                *inputs, incoming, gradient, num_places, total, *layout, *out, ignore_index, scale,
                C=num_classes, BLOCK=block, WITHIN_IMAGE=within_image, **flags, num_warps=warps,
            )  # fmt: skip
    return gradient


def _empty_results(logits: Tensor, target: Tensor, each: bool, make: Any) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    num_classes, device = logits.shape[1], logits.device
    return (
        make(num_classes, dtype=torch.float32, device=device),
        make(3 * num_classes + 1, dtype=torch.float64, device=device),
        make(target.shape if each else (0,), dtype=torch.float32, device=device),
        make(target.shape, dtype=torch.float32, device=device),
    )


def _empty_block_sums(logits: Tensor, num_blocks: int, predictions: bool) -> tuple[Tensor | None, ...]:
    num_classes, device = logits.shape[1], logits.device
    return (
        torch.empty((num_classes, num_blocks), dtype=torch.float32, device=device),
        torch.empty((num_classes + 1, num_blocks), dtype=torch.int32, device=device),
        torch.empty((num_classes, num_blocks), dtype=torch.int32, device=device) if predictions else None,
    )


_TENSORS = 'Tensor logits, Tensor target, Tensor? sample_weight, Tensor? offsets, Tensor? margins'
# torch.library.custom_op costs the host twice as much, triton_op fails in the interpreter
_library: Any = torch.library.Library('mmrecall', 'FRAGMENT')  # type: ignore[no-untyped-call]
_library.define(
    f'dense_forward({_TENSORS}, int ignore_index, float scale, bool each, bool hits, bool predictions) '
    '-> (Tensor, Tensor, Tensor, Tensor)'
)
_library.define(
    f'dense_backward({_TENSORS}, Tensor lse, Tensor incoming, int ignore_index, float scale, bool each) -> Tensor'
)
for _key in ('CUDA', 'CPU') if INTERPRETED else ('CUDA',):
    _library.impl('dense_forward', _forward, _key)
    _library.impl('dense_backward', _backward, _key)


def _fake_forward(logits: Tensor, target: Tensor, *inputs: Any) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    return _empty_results(logits, target, inputs[5], torch.empty)


def _fake_backward(logits: Tensor, *_: Any) -> Tensor:
    return empty_gradient(logits)


torch.library.register_fake('mmrecall::dense_forward', _fake_forward, lib=_library)
torch.library.register_fake('mmrecall::dense_backward', _fake_backward, lib=_library)
