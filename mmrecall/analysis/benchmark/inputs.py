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
LARGE_SHAPES = {'cityscapes-1024': (4, 19, 1024, 1024), 'ade20k-batch8': (8, 150, 512, 512)}
# Measured by default on a GPU. A stride after the slash means logits of a lower resolution than the labels.
GPU_SHAPES = (
    *('cityscapes-1024', 'ade20k', 'places-lt', 'inaturalist'),
    *('cityscapes-1024/4', 'cityscapes-1024/8', 'cityscapes-1024/16', 'ade20k-batch8/4', 'ade20k-batch8/8'),
)


class Shape(NamedTuple):
    """Sizes of an input."""

    sizes: tuple[int, ...]
    """(N, C), or (N, C, H, W) with the height and width of the labels."""
    stride: int = 1
    """Ratio of the sides of the labels to those of the logits."""

    def __str__(self) -> str:
        return 'x'.join(map(str, self.sizes)) + (f'/{self.stride}' if self.stride > 1 else '')


class LossInput(NamedTuple):
    """The arguments that a head passes to its loss, with the class counts of the training set."""

    logits: Tensor
    """(N, C) or (N, C, h, w)."""
    target: Tensor
    """(N,) or (N, H, W) int64. A tenth of the pixels is ignored; image labels (N,) are never ignored. `as_entries`
    gives it the shape of the logits."""
    counts: list[int]
    """Training samples of every class, for the losses that need them."""

    @property
    def dense(self) -> bool:
        """Whether the samples are pixels."""
        return self.logits.ndim > 2

    @property
    def low_resolution(self) -> bool:
        """Whether the logits have to be interpolated to the size of the labels."""
        return self.logits.shape[2:] != self.label_size

    @property
    def label_size(self) -> torch.Size:
        """Height and width of the labels, if they are pixels."""
        return self.target.shape[self.target.ndim - self.logits.ndim + 2 :]

    @property
    def ignore_index(self) -> int:
        """255 for pixels of at most 255 classes, else -100."""
        return _IGNORED if self.dense and len(self.counts) <= _IGNORED else _NEVER_A_CLASS


def read_shapes(names: list[str] | None, device: str) -> dict[str, Shape]:
    """Return the shapes of names or of sizes such as 4x19x512x512 or 128x365; by default those for the device.

    A stride may follow a name or sizes of pixels, as in cityscapes/8.

    Raises:
        ValueError: a text that is neither a name nor a shape with at least two classes.

    Example:
        >>> read_shapes(['places-lt', '2x4x16x16/8'], 'cpu')
        {'places-lt': Shape(sizes=(128, 365), stride=1), '2x4x16x16/8': Shape(sizes=(2, 4, 16, 16), stride=8)}
    """
    if names is None:
        names = list(GPU_SHAPES if device == 'cuda' else SHAPES)
    return {name: _read_shape(name) for name in names}


def _read_shape(text: str) -> Shape:
    known = {**SHAPES, **LARGE_SHAPES}
    name, slash, stride = text.partition('/')
    sizes = known.get(name) or (tuple(map(int, name.split('x'))) if re.fullmatch(r'\d+x\d+(x\d+x\d+)?', name) else ())
    is_stride = re.fullmatch('[1-9][0-9]*', stride) and len(sizes) == 4 if slash else True
    if not sizes or min(sizes) < 1 or sizes[1] < 2 or not is_stride:
        raise ValueError(
            f'got --shapes {text!r}; expected {", ".join(known)}, or sizes such as 4x19x512x512 or 128x365, all '
            'positive, with at least 2 classes; of pixels also with a stride, such as 4x19x512x512/8'
        )
    return Shape(sizes, int(stride) if slash else 1)


def make_input(shape: tuple[int, ...], dtype: torch.dtype, device: str, stride: int = 1) -> LossInput:
    """Return labels with a long tail (100 : 1), in patches if they are pixels, and logits of which most are right.

    With a stride, the logits (N, C, h, w) belong to every so many rows and columns of the labels.
    """
    generator = torch.Generator().manual_seed(0)
    num_classes = shape[1]
    counts = [round(10_000 * 100 ** (-number / (num_classes - 1))) for number in range(num_classes)]
    target = make_labels(shape, torch.tensor(counts).double(), generator)
    right = (target[:, ::stride, ::stride] if len(shape) > 2 else target).unsqueeze(1)
    logits = torch.randn((shape[0], num_classes, *right.shape[2:]), generator=generator)
    # The maximum of random logits grows with their number, so the right logit has to grow as well.
    height = 0.5 + (2 * torch.tensor(float(num_classes)).log()).sqrt()
    logits.scatter_add_(1, right, height.expand(right.shape))
    found = LossInput(logits.to(device, dtype), target.to(device), counts)
    if found.dense:
        ignored = torch.rand(target.shape, generator=generator) < _IGNORED_SHARE
        found.target.masked_fill_(ignored.to(device), found.ignore_index)
    return found


def as_entries(given: LossInput, num_channels: int | None = None) -> LossInput:
    """Return the input of a sigmoid: labels 0 and 1 of every channel, or of the first ``num_channels`` alone.

    What is ignored is ignored in all channels.
    """
    logits = given.logits[:, :num_channels].contiguous()
    target = given.target.unsqueeze(1)
    classes = torch.arange(logits.shape[1], device=target.device).reshape(-1, *[1] * (target.ndim - 2))
    labels = torch.where(target == given.ignore_index, given.ignore_index, (target == classes).long())
    return given._replace(logits=logits, target=labels, counts=given.counts[:num_channels])


def make_labels(shape: tuple[int, ...], shares: Tensor, generator: torch.Generator) -> Tensor:
    """Return labels of an input of a shape, drawn with these shares of the classes, in patches if they are pixels."""
    if len(shape) == 2:
        return torch.multinomial(shares, shape[0], replacement=True, generator=generator)
    num_images, _, height, width = shape
    rows, columns = -(-height // _PATCH), -(-width // _PATCH)
    labels = torch.multinomial(shares, num_images * rows * columns, replacement=True, generator=generator)
    labels = labels.reshape(num_images, rows, columns)
    labels = labels.repeat_interleave(_PATCH, 1).repeat_interleave(_PATCH, 2)
    return labels[:, :height, :width].contiguous()
