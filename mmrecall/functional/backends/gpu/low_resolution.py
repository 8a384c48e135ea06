"""Class sums of low-resolution logits by Triton kernels: the operators and their gradient."""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from ...batch import Batch, interpolated
from ...logit_adjustment import LogitAdjustment
from ...statistics import ClassSums
from .. import reference
from ..differentiation import is_plain_backward
from . import low_resolution_kernels, parts
from .launch import ADD_UP_BLOCK, INTERPRETED, as_table, as_weights, on_device_of

# Rows and columns of positions that a program of `fold_corners` adds up.
_FOLD_ROWS, _FOLD_COLUMNS = 4, 128


class LowResolutionTiles(NamedTuple):
    """Sizes of the kernels' blocks."""

    block: int
    """Output pixels of a program in the forward pass, at most 32767."""
    warps: int
    classes: int
    """Classes of a program in the backward pass."""
    quads: int
    """Neighbouring quads of a program in the backward pass."""
    backward_warps: int


# The first whose number of classes is not exceeded is taken. Of many classes the sums of a block take much memory.
TILES = [
    (512, LowResolutionTiles(block=512, warps=4, classes=4, quads=32, backward_warps=1)),
    (2**31, LowResolutionTiles(block=1024, warps=8, classes=4, quads=32, backward_warps=1)),
]


def tiles_of(num_classes: int) -> LowResolutionTiles:
    """Return the blocks for a number of classes."""
    return next(tiles for most, tiles in TILES if num_classes <= most)


def axis(low: int, full: int, align_corners: bool) -> tuple[int, int, int]:
    """Return A, B and D, with which output pixel o lies at position (o A + B) / D, of one axis."""
    if not align_corners:
        return 2 * low, low - full, 2 * full
    # a single output pixel is that at position 0
    return (low - 1, 0, full - 1) if full > 1 else (1, 0, 1)


def class_sums(
    batch: Batch, adjustment: LogitAdjustment | None = None, *, hits: bool = False, predictions: bool = False
) -> ClassSums:
    """Count every class and sum its cross entropy, like `reference.class_sums` of `interpolated`; without checks."""
    logits, target, ignore_index, sample_weight, reduction = batch[:5]
    scale, offsets, margins = adjustment or LogitAdjustment()
    losses, counts = _LowResolutionClassSums.apply(  # type: ignore[no-untyped-call]
        logits, target, sample_weight, offsets, margins, ignore_index, float(scale), batch.align_corners,
        reduction == 'none', hits, predictions,
    )  # fmt: skip
    support, true_positives, predicted, invalid_labels = counts.split([logits.shape[1]] * 3 + [1])
    return ClassSums(
        losses,
        support,
        true_positives if hits else None,
        predicted if predictions else None,
        invalid_labels.squeeze(0),
    )


class _LowResolutionClassSums(torch.autograd.Function):
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
        loss_sums, counts, losses, lse = torch.ops.mmrecall.low_resolution_forward.default(
            logits, target, sample_weight, offsets, margins, *options
        )
        ctx.save_for_backward(logits, target, sample_weight, offsets, margins, lse)
        ctx.options = options[:4]
        ctx.mark_non_differentiable(counts)
        ctx.set_materialize_grads(False)
        each = options[3]
        return losses if each else loss_sums, counts

    @staticmethod
    def backward(ctx: Any, incoming: Tensor | None, _: Any) -> tuple[Tensor | None, ...]:
        logits, target, sample_weight, offsets, margins, lse = ctx.saved_tensors
        ignore_index, scale, align_corners, each = ctx.options
        if incoming is None:
            return (None,) * 11
        # a compiled graph holds neither of the two
        if not torch.compiler.is_compiling() and not is_plain_backward(incoming):
            # a gradient that can be differentiated, and one for several vectors at once, are left to the reference
            create_graph = torch.is_grad_enabled()
            reduction = 'none' if each else 'sum'
            batch = Batch(logits, target, ignore_index, sample_weight, reduction, None, 'bilinear', align_corners)
            with torch.enable_grad():
                losses = reference.class_sums(interpolated(batch), LogitAdjustment(scale, offsets, margins)).losses
            return torch.autograd.grad(losses, logits, incoming, create_graph=create_graph)[0], *[None] * 10
        gradient = torch.ops.mmrecall.low_resolution_backward.default(
            logits, target, sample_weight, offsets, margins, lse, incoming, *ctx.options
        )
        return gradient, *[None] * 10


def _forward(
    logits: Tensor,
    target: Tensor,
    sample_weight: Tensor | None,
    offsets: Tensor | None,
    margins: Tensor | None,
    ignore_index: int,
    scale: float,
    align_corners: bool,
    each: bool,
    hits: bool,
    predictions: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return (C,) summed losses, counts (3 C + 1,), the losses of the samples if ``each``, and log-sum-exp."""
    if not target.numel():
        return _empty_results(logits, target, each, torch.zeros)
    results = loss_sums, counts, losses, lse = _empty_results(logits, target, each, torch.empty)
    num_classes, num_pixels = logits.shape[1], target.shape[1] * target.shape[2]
    tiles = tiles_of(num_classes)
    blocks_per_image = -(-num_pixels // tiles.block)
    num_blocks = blocks_per_image * len(target)
    partial = _empty_block_sums(logits, num_blocks, predictions)
    with on_device_of(logits):
        low_resolution_kernels.low_resolution_forward[(num_blocks,)](
            *_inputs(logits, target, sample_weight, offsets, margins), lse, losses if each else None, *partial,
            *_geometry(logits, target, align_corners), blocks_per_image, ignore_index, scale, num_blocks,
            C=num_classes, BLOCK=tiles.block, ADJUSTED=_is_adjusted(scale, offsets, margins),
            HITS=hits or predictions, PREDICTIONS=predictions, num_warps=tiles.warps,
        )  # fmt: skip
        parts.add_up_blocks[(num_classes + 1,)](
            *partial, loss_sums, counts, num_blocks, C=num_classes, BLOCK=ADD_UP_BLOCK, PREDICTIONS=predictions
        )
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
    align_corners: bool,
    each: bool,
) -> Tensor:
    """Return the gradient for an incoming one of (C,) sums, or if ``each`` of (N, H, W) losses."""
    gradient = _empty_gradient(logits)
    if not target.numel():
        return gradient.zero_()
    num_images, num_classes, h, w = logits.shape
    tiles = tiles_of(num_classes)
    chunks, quad_tiles = -(-num_classes // tiles.classes), -(-w // tiles.quads)
    total = logits.numel()
    corners = torch.empty((4, *logits.shape), dtype=torch.float32, device=logits.device)
    with on_device_of(logits):
        low_resolution_kernels.low_resolution_backward[(num_images * h * quad_tiles * chunks,)](
            *_inputs(logits, target, sample_weight, offsets, margins), lse,
            incoming.to(torch.float32).contiguous(), corners, *_geometry(logits, target, align_corners), quad_tiles,
            chunks, ignore_index, scale, total, C=num_classes, CLASSES=tiles.classes, QUADS=tiles.quads,
            ADJUSTED=_is_adjusted(scale, offsets, margins), EACH=each, num_warps=tiles.backward_warps,
        )  # fmt: skip
        num_rows = num_images * num_classes * h
        low_resolution_kernels.fold_corners[(-(-num_rows // _FOLD_ROWS) * -(-w // _FOLD_COLUMNS),)](
            corners, gradient, h, w, num_rows, total, ROWS=_FOLD_ROWS, COLUMNS=_FOLD_COLUMNS
        )
    return gradient


def _inputs(
    logits: Tensor, target: Tensor, sample_weight: Tensor | None, offsets: Tensor | None, margins: Tensor | None
) -> tuple[Tensor | None, ...]:
    """Return the tensors that both kernels read, without gaps."""
    tables = as_table(offsets, logits), as_table(margins, logits)
    # a copy of low-resolution logits is small
    return logits.contiguous(), target.contiguous(), as_weights(sample_weight), *tables


def _geometry(logits: Tensor, target: Tensor, align_corners: bool) -> tuple[int, ...]:
    """Return the sizes of the logits and labels, and the coordinates of both axes."""
    (h, w), (height, width) = logits.shape[2:], target.shape[1:]
    return h, w, height, width, *axis(h, height, align_corners), *axis(w, width, align_corners)


def _is_adjusted(scale: float, offsets: Tensor | None, margins: Tensor | None) -> bool:
    return offsets is not None or margins is not None or scale != 1


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


def _empty_gradient(logits: Tensor) -> Tensor:
    return torch.empty_like(logits, memory_format=torch.contiguous_format)


_TENSORS = 'Tensor logits, Tensor target, Tensor? sample_weight, Tensor? offsets, Tensor? margins'
_OPTIONS = 'int ignore_index, float scale, bool align_corners, bool each'
# torch.library.custom_op costs the host twice as much, triton_op fails in the interpreter
_library: Any = torch.library.Library('mmrecall', 'FRAGMENT')  # type: ignore[no-untyped-call]
_library.define(
    f'low_resolution_forward({_TENSORS}, {_OPTIONS}, bool hits, bool predictions) -> (Tensor, Tensor, Tensor, Tensor)'
)
_library.define(f'low_resolution_backward({_TENSORS}, Tensor lse, Tensor incoming, {_OPTIONS}) -> Tensor')
for _key in ('CUDA', 'CPU') if INTERPRETED else ('CUDA',):
    _library.impl('low_resolution_forward', _forward, _key)
    _library.impl('low_resolution_backward', _backward, _key)


def _fake_forward(logits: Tensor, target: Tensor, *inputs: Any) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    return _empty_results(logits, target, inputs[6], torch.empty)


def _fake_backward(logits: Tensor, *_: Any) -> Tensor:
    return _empty_gradient(logits)


torch.library.register_fake('mmrecall::low_resolution_forward', _fake_forward, lib=_library)
torch.library.register_fake('mmrecall::low_resolution_backward', _fake_backward, lib=_library)
