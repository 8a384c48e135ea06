"""Sizes of the kernels' blocks, and how logits lie in memory."""

import os
from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple

import torch
from torch import Tensor

# Triton decides at import whether its kernels run in its interpreter, on CPU tensors.
INTERPRETED = os.environ.get('TRITON_INTERPRET', '').lower() in ('1', 'true', 'yes', 'on', 'y')
# Classes from which on logits whose classes are neighbours in memory have kernels of their own.
ROW_CLASSES = 64
# Sums of blocks that one step of `add_up_blocks` reads.
ADD_UP_BLOCK = 1024
_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
# At most this part of the threads may be without a sample where blocks end with the images.
_MAX_WASTE = 1 / 8


class DenseTiles(NamedTuple):
    """Blocks of the kernels of a thread per sample; the samples of a block are at most 32767."""

    block: int = 128
    """Samples of a program in the forward pass."""
    warps: int = 1
    ahead: bool = True
    """Whether a class is read while the one before is worked on."""
    backward_block: int = 512
    backward_warps: int = 4


class RowTiles(NamedTuple):
    """Blocks of the kernels of a program per few samples."""

    scores: int = 4096
    """Scores of a program in a step of the forward pass."""
    backward_scores: int = 2048
    """Scores of a program in the backward pass."""
    per_thread: int = 8
    """Scores of a thread among these."""
    many: int = 2**14
    """Samples from which on a program takes several, if their classes leave room."""
    classes: int = 32
    """Classes of a program that sums the losses of samples."""
    samples: int = 128
    """Samples that it reads at once."""
    per_block: int = 4096
    """Samples that it reads in all, at most 32767."""


class Layout(NamedTuple):
    """Strides of images, classes and samples, of which a sample is the place in the trailing dimensions."""

    image: int
    class_: int
    sample: int


# The first whose number of classes is not exceeded is taken.
DENSE_TILES = [
    (64, DenseTiles(block=128, warps=1, ahead=True, backward_block=512, backward_warps=4)),
    (2**31, DenseTiles(block=128, warps=1, ahead=True, backward_block=256, backward_warps=2)),
]
ROW_TILES = [(2**31, RowTiles())]


def dense_tiles(num_classes: int) -> DenseTiles:
    """Return the blocks for a number of classes."""
    return next(tiles for most, tiles in DENSE_TILES if num_classes <= most)


def row_tiles(num_classes: int) -> RowTiles:
    """Return the blocks of the row kernels for a number of classes."""
    return next(tiles for most, tiles in ROW_TILES if num_classes <= most)


def row_shape(total: int, num_classes: int, scores: int, tiles: RowTiles) -> tuple[int, int, int]:
    """Return the samples and classes of a program, or of a step of it, and its warps."""
    columns = min(power_of_two(num_classes), scores)
    rows = scores // columns if total >= tiles.many else 1
    return rows, columns, min(max(rows * columns // (32 * tiles.per_thread), 1), 16)


def layout_of(logits: Tensor) -> Layout | None:
    """Return the strides of logits (N, C, ...), or None if the trailing dimensions are not evenly spaced."""
    sample = inner = 0
    for size, stride in zip(reversed(logits.shape[2:]), reversed(logits.stride()[2:]), strict=True):
        if size == 1:
            continue
        if sample and stride != inner:
            return None
        sample = sample or stride
        if not stride:
            return None
        inner = size * stride
    return Layout(logits.stride(0), logits.stride(1), sample)


def evenly_spaced(logits: Tensor) -> tuple[Tensor, Layout]:
    """Return the logits, copied only if their trailing dimensions are not evenly spaced, and their strides."""
    layout = layout_of(logits)
    if layout is None:
        logits = logits.contiguous()
        layout = layout_of(logits)
        assert layout is not None
    return logits, layout


def as_weights(sample_weight: Tensor | None) -> Tensor | None:
    """Return weights without gaps, of a type that the kernels read."""
    if sample_weight is None:
        return None
    return (sample_weight if sample_weight.dtype in _FLOATS else sample_weight.float()).contiguous()


def as_table(by_class: Tensor | None, logits: Tensor) -> Tensor | None:
    """Return numbers by class without gaps, on the device of the logits."""
    return None if by_class is None else by_class.to(logits.device).contiguous()


def empty_gradient(logits: Tensor) -> Tensor:
    """Return a tensor for the gradient, laid out like the logits if these are evenly spaced and without gaps."""
    gradient = torch.empty_like(logits)
    if layout_of(gradient) is None:
        gradient = torch.empty_like(logits, memory_format=torch.contiguous_format)
    return gradient


def is_rows(layout: Layout, num_classes: int) -> bool:
    """Return whether the row kernels take the logits."""
    return layout.class_ == 1 and num_classes >= ROW_CLASSES


def sample_blocks(total: int, num_places: int, block: int) -> tuple[int, bool]:
    """Return the number of blocks of samples, and whether blocks end where images end."""
    per_image = -(-num_places // block)
    # which leaves threads without a sample, but saves a division
    if per_image * block - num_places <= _MAX_WASTE * per_image * block:
        return total // num_places * per_image, True
    return -(-total // block), False


def on_device_of(tensor: Tensor) -> AbstractContextManager[object]:
    """Return a context in which kernels start on the device of the tensor."""
    if tensor.device.type != 'cuda' or tensor.device.index == torch.cuda.current_device():
        return nullcontext()
    return torch.cuda.device(tensor.device)


def power_of_two(number: int) -> int:
    """Return the smallest power of two that is at least the number."""
    return 1 << max(0, number - 1).bit_length()
