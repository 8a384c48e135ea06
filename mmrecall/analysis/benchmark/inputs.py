"""The logits and labels that losses are measured on."""

import re
from typing import NamedTuple

import torch
from torch import Tensor

# mmseg ignores 255, which is a class of some inputs; PyTorch ignores -100.
_IGNORED, _NEVER_A_CLASS = 255, -100
# Share of the pixels; mmpretrain's losses cannot ignore a label.
_IGNORED_SHARE = 0.1
# Side in pixels of a patch with one label.
_PATCH = 16

SHAPES = {
    'cityscapes': (4, 19, 512, 512),
    'cityscapes-769': (2, 19, 769, 769),
    'ade20k': (2, 150, 512, 512),
    'places-lt': (128, 365),
    'inaturalist': (128, 8142),
}
# By default, these are measured on a GPU alone.
LARGE_SHAPES = {'cityscapes-1024': (4, 19, 1024, 1024)}


class LossInput(NamedTuple):
    """The arguments that a head passes to its loss, with the class counts of the training set."""

    logits: Tensor
    """(N, C) or (N, C, H, W)."""
    target: Tensor
    """(N,) or (N, H, W) int64; a tenth of the pixels is ignored, and no sample of a classifier."""
    counts: list[int]
    """Training samples of every class, for the losses that need them."""

    @property
    def dense(self) -> bool:
        """Whether the samples are pixels."""
        return self.logits.ndim > 2

    @property
    def ignore_index(self) -> int:
        """255 for pixels of at most 255 classes, else -100."""
        return _IGNORED if self.dense and len(self.counts) <= _IGNORED else _NEVER_A_CLASS


def read_shapes(names: list[str] | None, device: str) -> dict[str, tuple[int, ...]]:
    """Return the shapes of names or of sizes such as 4x19x512x512 or 128x365; by default all shapes for the device.

    Raises:
        ValueError: a text that is neither a name nor a shape with at least two classes.

    Example:
        >>> read_shapes(['places-lt', '2x4x16x16'], 'cpu')
        {'places-lt': (128, 365), '2x4x16x16': (2, 4, 16, 16)}
    """
    known = {**SHAPES, **LARGE_SHAPES}
    if names is None:
        return known if device == 'cuda' else dict(SHAPES)
    return {name: known[name] if name in known else _read_sizes(name, known) for name in names}


def _read_sizes(text: str, known: dict[str, tuple[int, ...]]) -> tuple[int, ...]:
    shape = tuple(map(int, text.split('x'))) if re.fullmatch(r'\d+x\d+(x\d+x\d+)?', text) else (0, 0)
    if min(shape) < 1 or shape[1] < 2:
        raise ValueError(
            f'got --shapes {text!r}; expected {", ".join(known)}, or sizes such as 4x19x512x512 or 128x365, all '
            'positive, with at least 2 classes'
        )
    return shape


def make_input(shape: tuple[int, ...], dtype: torch.dtype, device: str) -> LossInput:
    """Return labels with a long tail (100 : 1), in patches if they are pixels, and logits of which most are right."""
    generator = torch.Generator().manual_seed(0)
    num_classes = shape[1]
    counts = [round(10_000 * 100 ** (-number / (num_classes - 1))) for number in range(num_classes)]
    target = _labels(shape, torch.tensor(counts).double(), generator)
    logits = torch.randn(shape, generator=generator)
    # The maximum of random logits grows with their number, so the right logit has to grow as well.
    height = 0.5 + (2 * torch.tensor(float(num_classes)).log()).sqrt()
    logits.scatter_add_(1, target.unsqueeze(1), height.expand(target.unsqueeze(1).shape))
    found = LossInput(logits.to(device, dtype), target.to(device), counts)
    if found.dense:
        ignored = torch.rand(target.shape, generator=generator) < _IGNORED_SHARE
        found.target.masked_fill_(ignored.to(device), found.ignore_index)
    return found


def _labels(shape: tuple[int, ...], shares: Tensor, generator: torch.Generator) -> Tensor:
    if len(shape) == 2:
        return torch.multinomial(shares, shape[0], replacement=True, generator=generator)
    num_images, _, height, width = shape
    rows, columns = -(-height // _PATCH), -(-width // _PATCH)
    labels = torch.multinomial(shares, num_images * rows * columns, replacement=True, generator=generator)
    labels = labels.reshape(num_images, rows, columns)
    labels = labels.repeat_interleave(_PATCH, 1).repeat_interleave(_PATCH, 2)
    return labels[:, :height, :width].contiguous()
