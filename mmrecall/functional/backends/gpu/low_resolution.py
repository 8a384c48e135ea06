"""Launches of the kernels of low-resolution logits."""

from typing import NamedTuple

import torch
from torch import Tensor

from . import low_resolution_kernels as kernels
from .launch import BlockSums, Inputs, Outputs, empty_block_sums


class LowResolutionTiles(NamedTuple):
    """Sizes of the kernels' blocks; the defaults are the fastest that were measured."""

    block: int = 512
    """Output pixels of a program in the forward pass, at most 32767."""
    warps: int = 4
    classes: int = 4
    """Classes of a program in the backward pass, which has one warp."""
    quads: int = 32
    """Neighbouring quads of a program in the backward pass."""


TILES = LowResolutionTiles()
# Rows and columns of positions that a program of `fold_corners` adds up.
_FOLD_ROWS, _FOLD_COLUMNS = 4, 128


def axis(low: int, full: int, align_corners: bool) -> tuple[int, int, int]:
    """Return A, B and D of one axis, on which output pixel o lies at position (o A + B) / D."""
    if not align_corners:
        return 2 * low, low - full, 2 * full
    # a single output pixel lies at position 0
    return (low - 1, 0, full - 1) if full > 1 else (1, 0, 1)


def forward(inputs: Inputs, outputs: Outputs, align_corners: bool, hits: bool, predictions: bool) -> BlockSums:
    """Fill log-sum-exp and losses of the samples, and return the sums of the blocks, which are still to be added up."""
    logits, target = inputs.logits, inputs.target
    lse, losses = outputs[:2]
    blocks_per_image = -(-target.shape[1] * target.shape[2] // TILES.block)
    num_blocks = blocks_per_image * target.shape[0]
    partial = empty_block_sums(logits, num_blocks, predictions)
    # contiguous, because a copy of low-resolution logits is small
    kernels.low_resolution_forward[(num_blocks,)](
        logits.contiguous(), *inputs[1:5], lse, losses, *partial, *_geometry(logits, target, align_corners),
        blocks_per_image, inputs.ignore_index, inputs.scale, num_blocks, C=logits.shape[1], BLOCK=TILES.block,
        ADJUSTED=inputs.is_adjusted, HITS=hits, PREDICTIONS=predictions, num_warps=TILES.warps,
    )  # fmt: skip
    return partial


def backward(inputs: Inputs, lse: Tensor, incoming: Tensor, gradient: Tensor, each: bool, align_corners: bool) -> None:
    """Fill the gradient, which is contiguous."""
    logits = inputs.logits
    num_images, num_classes, h, w = logits.shape
    chunks, quad_tiles = -(-num_classes // TILES.classes), -(-w // TILES.quads)
    total = logits.numel()
    corners = torch.empty((4, *logits.shape), dtype=torch.float32, device=logits.device)
    kernels.low_resolution_backward[(num_images * h * quad_tiles * chunks,)](
        logits.contiguous(), *inputs[1:5], lse, incoming, corners, *_geometry(logits, inputs.target, align_corners),
        quad_tiles, chunks, inputs.ignore_index, inputs.scale, total, C=num_classes, CLASSES=TILES.classes,
        QUADS=TILES.quads, ADJUSTED=inputs.is_adjusted, EACH=each, num_warps=1,
    )  # fmt: skip
    num_rows = num_images * num_classes * h
    kernels.fold_corners[(-(-num_rows // _FOLD_ROWS) * -(-w // _FOLD_COLUMNS),)](
        corners, gradient, h, w, num_rows, total, ROWS=_FOLD_ROWS, COLUMNS=_FOLD_COLUMNS
    )


def _geometry(logits: Tensor, target: Tensor, align_corners: bool) -> tuple[int, ...]:
    """Return the sizes of the logits and labels, and the coordinates of both axes."""
    (h, w), (height, width) = logits.shape[2:], target.shape[1:]
    return h, w, height, width, *axis(h, height, align_corners), *axis(w, width, align_corners)
