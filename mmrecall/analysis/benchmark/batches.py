"""The logits and labels that losses are measured on."""

import re
from typing import NamedTuple

import torch
from torch import Tensor

# what mmseg ignores, and PyTorch, which goes where 255 is a class
_IGNORED, _NEVER_A_CLASS = 255, -100
# of the pixels; no label of a classifier is ignored
_IGNORED_SHARE = 0.1
# pixels along the side of a patch with one label
_PATCH = 16

SHAPES = {
    'cityscapes': (4, 19, 512, 512),
    'cityscapes-769': (2, 19, 769, 769),
    'ade20k': (2, 150, 512, 512),
    'places-lt': (128, 365),
    'inaturalist': (128, 8142),
}
# of a GPU alone
LARGE_SHAPES = {'cityscapes-1024': (4, 19, 1024, 1024)}


class Batch(NamedTuple):
    """What a head hands to its loss."""

    logits: Tensor
    """(N, C) or (N, C, H, W)."""
    target: Tensor
    """(N,) or (N, H, W) int64; some pixels are ignored, no sample of a classifier is."""
    counts: list[int]
    """Training samples of every class, for the losses that want them."""

    @property
    def dense(self) -> bool:
        """Whether the samples are pixels."""
        return self.logits.ndim > 2

    @property
    def ignore_index(self) -> int:
        """255 for pixels of at most 255 classes, else -100."""
        return _IGNORED if self.dense and len(self.counts) <= _IGNORED else _NEVER_A_CLASS


def read_shapes(names: list[str] | None, device: str) -> dict[str, tuple[int, ...]]:
    """Shapes by name or as 4x19x512x512 (or 128x365), by default all that are meant for the device.

    Raises:
        ValueError: neither a name nor such a shape.

    Example:
        >>> read_shapes(['places-lt', '2x4x16x16'], 'cpu')
        {'places-lt': (128, 365), '2x4x16x16': (2, 4, 16, 16)}
    """
    if names is None:
        return {**SHAPES, **LARGE_SHAPES} if device == 'cuda' else dict(SHAPES)
    return {name: _read_shape(name) for name in names}


def _read_shape(name: str) -> tuple[int, ...]:
    known = {**SHAPES, **LARGE_SHAPES}
    if name in known:
        return known[name]
    if not re.fullmatch(r'\d+x\d+(x\d+x\d+)?', name):
        raise ValueError(
            f'--shapes {name!r} is unknown; give {", ".join(known)}, or sizes like 4x19x512x512 or 128x365'
        )
    shape = tuple(map(int, name.split('x')))
    if min(shape) < 1 or shape[1] < 2:
        raise ValueError(f'--shapes {name!r} has nothing to measure; every size must be at least 1, the classes 2')
    return shape


def make_batch(shape: tuple[int, ...], dtype: torch.dtype, device: str, seed: int = 0) -> Batch:
    """Labels with a long tail (100 : 1), in patches if they are pixels, and logits of which most are right."""
    generator = torch.Generator().manual_seed(seed)
    num_classes = shape[1]
    counts = [round(10_000 * 100 ** (-number / (num_classes - 1))) for number in range(num_classes)]
    target = _labels(shape, torch.tensor(counts).double(), generator)
    logits = torch.randn(shape, generator=generator)
    # classes share the luck of a sample, so the more there are, the higher must the right one stand out
    height = 0.5 + (2 * torch.tensor(float(num_classes)).log()).sqrt()
    logits.scatter_add_(1, target.unsqueeze(1), height.expand(target.unsqueeze(1).shape))
    batch = Batch(logits.to(device, dtype), target.to(device), counts)
    if batch.dense:
        ignored = torch.rand(target.shape, generator=generator) < _IGNORED_SHARE
        batch.target.masked_fill_(ignored.to(device), batch.ignore_index)
    return batch


def _labels(shape: tuple[int, ...], shares: Tensor, generator: torch.Generator) -> Tensor:
    if len(shape) == 2:
        return torch.multinomial(shares, shape[0], replacement=True, generator=generator)
    num_images, _, height, width = shape
    rows, columns = -(-height // _PATCH), -(-width // _PATCH)
    labels = torch.multinomial(shares, num_images * rows * columns, replacement=True, generator=generator)
    labels = labels.reshape(num_images, rows, columns)
    labels = labels.repeat_interleave(_PATCH, 1).repeat_interleave(_PATCH, 2)
    return labels[:, :height, :width].contiguous()
