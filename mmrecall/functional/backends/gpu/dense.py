"""Launches of the kernels of logits of the size of the labels."""

from typing import NamedTuple

import torch
from torch import Tensor

from . import dense_kernels, row_kernels
from .launch import BlockSums, Inputs, Outputs, empty_block_sums


class DenseTiles(NamedTuple):
    """Samples of a program, at most 32767, and its warps, in the kernels with one thread per sample."""

    block: int
    warps: int
    backward_block: int
    backward_warps: int


class RowTiles(NamedTuple):
    """Sizes of the blocks in the kernels with one program per few samples."""

    scores: int = 4096
    """Scores of a program in a step of the forward pass."""
    backward_scores: int = 2048
    """Scores of a program in the backward pass."""
    classes: int = 16
    """Classes of a program that sums the losses of samples."""
    samples: int = 128
    """Samples that such a program reads at once."""
    per_block: int = 4096
    """Samples that such a program reads in all, at most 32767."""
    many: int = 2**14
    """Samples of a batch from which on a program holds several of them, if the number of classes leaves room."""


class Layout(NamedTuple):
    """Strides of images, classes and samples; a sample is a place in the trailing dimensions."""

    image: int
    class_: int
    sample: int


# For up to `_FEW_CLASSES` classes, and for more; the fastest that were measured.
DENSE_TILES = (DenseTiles(512, 4, 512, 4), DenseTiles(128, 1, 256, 2))
ROW_TILES = RowTiles()
# Number of classes from which on logits with contiguous classes use the row kernels.
ROW_CLASSES = 64
_FEW_CLASSES = 64
# Number of scores per thread in a row kernel.
_PER_THREAD = 8
# At most this part of the threads may be without a sample where blocks end with the images.
_MAX_WASTE = 1 / 8


def forward(inputs: Inputs, outputs: Outputs, hits: bool, predictions: bool) -> BlockSums | None:
    """Fill the outputs; if sums of blocks are returned, they are still to be added up, and the outputs hold no sums."""
    logits, layout = _evenly_spaced(inputs.logits)
    by_layout = _forward_by_rows if _is_rows(layout, logits.shape[1]) else _forward_by_samples
    return by_layout(inputs, logits, layout, outputs, hits, predictions)


def _forward_by_samples(
    inputs: Inputs, logits: Tensor, layout: Layout, outputs: Outputs, hits: bool, predictions: bool
) -> BlockSums:
    lse, losses = outputs[:2]
    num_classes, total, num_places = _sizes(inputs)
    tiles = dense_tiles(num_classes)
    num_blocks, within_image = _sample_blocks(total, num_places, tiles.block)
    partial = empty_block_sums(logits, num_blocks, predictions)
    dense_kernels.dense_forward[(num_blocks,)](
        logits, *inputs[1:5], lse, losses, *partial, num_places, total, *layout, inputs.ignore_index, inputs.scale,
        num_blocks, C=num_classes, BLOCK=tiles.block, WITHIN_IMAGE=within_image, ADJUSTED=inputs.is_adjusted,
        HITS=hits, PREDICTIONS=predictions, num_warps=tiles.warps,
    )  # fmt: skip
    return partial


def _forward_by_rows(
    inputs: Inputs, logits: Tensor, layout: Layout, outputs: Outputs, hits: bool, predictions: bool
) -> BlockSums | None:
    lse, losses, loss_sums, counts = outputs
    num_classes, total, num_places = _sizes(inputs)
    tiles = ROW_TILES
    if losses is None:
        losses = torch.empty_like(lse)
    predicted = torch.empty_like(lse, dtype=torch.int16 if num_classes < 2**15 else torch.int32) if hits else None
    rows, columns, warps = row_shape(total, num_classes, tiles.scores)
    row_kernels.row_forward[(-(-total // rows),)](
        logits, *inputs[1:5], lse, losses, predicted, num_places, total, layout.image, layout.sample,
        inputs.ignore_index, inputs.scale, C=num_classes, ROWS=rows, COLUMNS=columns, ADJUSTED=inputs.is_adjusted,
        num_warps=warps,
    )  # fmt: skip
    per_block = min(tiles.per_block, -(-total // tiles.samples) * tiles.samples)
    num_blocks = -(-total // per_block)
    partial = None if num_blocks == 1 else empty_block_sums(logits, num_blocks, predictions)
    row_kernels.sum_rows[(-(-num_classes // tiles.classes), num_blocks)](
        inputs.target, losses, predicted, *(partial or (None,) * 3), loss_sums, counts, total, num_blocks,
        inputs.ignore_index, C=num_classes, CLASSES=tiles.classes, SAMPLES=tiles.samples, PER_BLOCK=per_block,
        FINAL=partial is None, PREDICTIONS=predictions,
    )  # fmt: skip
    return partial


def backward(inputs: Inputs, lse: Tensor, incoming: Tensor, gradient: Tensor, each: bool) -> None:
    """Fill the gradient, whose trailing dimensions are evenly spaced."""
    logits, layout = _evenly_spaced(inputs.logits)
    out = layout if gradient.stride() == logits.stride() else layout_of(gradient)
    assert out is not None
    num_classes, total, num_places = _sizes(inputs)
    tensors = (logits, *inputs[1:5], lse, incoming, gradient)
    if _is_rows(layout, num_classes):
        rows, columns, warps = row_shape(total, num_classes, ROW_TILES.backward_scores)
        row_kernels.row_backward[(-(-total // rows), -(-num_classes // columns))](
            *tensors, num_places, total, layout.image, layout.sample, *out, inputs.ignore_index, inputs.scale,
            C=num_classes, ROWS=rows, COLUMNS=columns, ADJUSTED=inputs.is_adjusted, EACH=each, num_warps=warps,
        )  # fmt: skip
        return
    _, _, block, warps = dense_tiles(num_classes)
    num_blocks, within_image = _sample_blocks(total, num_places, block)
    dense_kernels.dense_backward[(num_blocks,)](
        *tensors, num_places, total, *layout, *out, inputs.ignore_index, inputs.scale, C=num_classes, BLOCK=block,
        WITHIN_IMAGE=within_image, ADJUSTED=inputs.is_adjusted, EACH=each, num_warps=warps,
    )  # fmt: skip


def dense_tiles(num_classes: int) -> DenseTiles:
    """Return the blocks for a number of classes."""
    return DENSE_TILES[num_classes > _FEW_CLASSES]


def row_shape(total: int, num_classes: int, scores: int) -> tuple[int, int, int]:
    """Return the samples and classes of a program, or of a step of it, and its warps."""
    columns = min(1 << (num_classes - 1).bit_length(), scores)
    rows = scores // columns if total >= ROW_TILES.many else 1
    return rows, columns, min(max(rows * columns // (32 * _PER_THREAD), 1), 16)


def layout_of(logits: Tensor) -> Layout | None:
    """Return the strides of logits (N, C, ...), or None if the trailing dimensions are not evenly spaced."""
    strides = logits.stride()
    sample = inner = 0
    for size, stride in zip(reversed(logits.shape[2:]), reversed(strides[2:]), strict=True):
        if size == 1:
            continue
        if sample and stride != inner:
            return None
        sample = sample or stride
        if not stride:
            return None
        inner = size * stride
    return Layout(strides[0], strides[1], sample)


def _evenly_spaced(logits: Tensor) -> tuple[Tensor, Layout]:
    """Return the logits, copied only if their trailing dimensions are not evenly spaced, and their strides."""
    layout = layout_of(logits)
    if layout is None:
        logits = logits.contiguous()
        layout = layout_of(logits)
        assert layout is not None
    return logits, layout


def _sizes(inputs: Inputs) -> tuple[int, int, int]:
    """Return the numbers of classes, of samples, and of samples of an image."""
    target = inputs.target
    total = target.numel()
    return inputs.logits.shape[1], total, total // target.shape[0]


def _is_rows(layout: Layout, num_classes: int) -> bool:
    """Return whether the row kernels compute the class sums."""
    return layout.class_ == 1 and num_classes >= ROW_CLASSES


def _sample_blocks(total: int, num_places: int, block: int) -> tuple[int, bool]:
    """Return the number of blocks of samples, and whether blocks end where images end."""
    per_image = -(-num_places // block)
    # blocks that end with the images leave threads without a sample, but save a division
    if per_image * block - num_places <= _MAX_WASTE * per_image * block:
        return total // num_places * per_image, True
    return -(-total // block), False
