"""Class sums of bilinearly interpolated logits, in strips of rows, so that the whole map is never in memory.

A strip is rows @ low @ columns^T: the interpolation weights of its rows, the few rows of the low-resolution logits that
it lies between, and the interpolation weights of all columns. The dense class sums of the strips add up to those of the
map. The backward pass computes every strip again and takes its gradient before the next.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from ..batch import Batch, interpolated
from ..logit_adjustment import LogitAdjustment
from ..statistics import ClassSums, full_precision_of, labels_with_ignore_bin, widest_float
from .differentiation import has_class_indices_and_plain_gradient, is_plain_backward

# Scores in a strip: few enough for the cache, enough to outweigh the launch of a kernel.
_STRIP = 2**20
# Rows of the logits in a strip, where the images suffice to fill it.
_SOURCE_ROWS = 4


def covers(batch: Batch) -> bool:
    """Return whether `class_sums` accepts this batch of low-resolution logits."""
    return batch.logits.numel() > 0 and has_class_indices_and_plain_gradient(batch)


def class_sums(
    batch: Batch,
    adjustment: LogitAdjustment | None = None,
    *,
    hits: bool = False,
    predictions: bool = False,
    dense: Callable[..., ClassSums],
) -> ClassSums:
    """Return ``dense(interpolated(batch), adjustment, ...)`` without the interpolated map; without checks.

    Args:
        batch: a batch of low-resolution logits for which `covers` is true.
        adjustment: of the logits before the cross entropy.
        hits: whether to count true positives.
        predictions: whether to count predicted samples.
        dense: the class sums of logits of the size of the labels.
    """
    logits = batch.logits
    if logits.device.type == 'cpu' and not bool(logits.isfinite().all()):
        # in a product with a matrix, 0 * inf makes NaN of whole rows and columns
        return dense(interpolated(batch), adjustment, hits=hits, predictions=predictions)
    options = dict(adjustment=adjustment, hits=hits, predictions=predictions)
    return ClassSums(*_ClassSumsByStrips.apply(*batch, options, dense))  # type: ignore[no-untyped-call]


class _ClassSumsByStrips(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logits: Tensor, target: Tensor, *arguments: Any) -> tuple[Tensor | None, ...]:
        ignore_index, sample_weight, *others, options, dense = arguments
        batch = Batch(logits, target, ignore_index, sample_weight, *others)
        dtype = full_precision_of(logits.dtype)
        if batch.reduction == 'none':
            losses = torch.empty(target.shape, dtype=dtype, device=logits.device)
        else:
            losses = torch.zeros(logits.shape[1], dtype=widest_float(logits.device), device=logits.device)
        counts: list[Tensor | None] = []
        with _without_autocast(logits.device):
            for strip in _strips(batch):
                of_strip, *more = dense(strip.batch(batch), **options)
                if batch.reduction == 'none':
                    losses[strip.samples] = of_strip
                else:
                    losses += of_strip
                counts = [_add(*pair) for pair in zip(counts, more, strict=True)] if counts else more
        ctx.save_for_backward(logits, target, sample_weight)
        ctx.arguments = ignore_index, others, options['adjustment'], dense
        ctx.set_materialize_grads(False)
        ctx.mark_non_differentiable(*[count for count in counts if count is not None])
        return losses.to(dtype), *counts

    @staticmethod
    def backward(ctx: Any, grad_losses: Tensor | None, *_: Any) -> tuple[Tensor | None, ...]:
        logits, target, sample_weight = ctx.saved_tensors
        ignore_index, others, adjustment, dense = ctx.arguments
        batch = Batch(logits, target, ignore_index, sample_weight, *others)
        constants = [None] * (len(batch) + 1)
        if grad_losses is None:
            return None, *constants
        if not is_plain_backward(grad_losses):
            create_graph = torch.is_grad_enabled()
            # `dense` computes a gradient that can be differentiated, and one for several vectors at once
            with torch.enable_grad():
                losses = dense(interpolated(batch), adjustment).losses
            return torch.autograd.grad(losses, logits, grad_losses, create_graph=create_graph)[0], *constants
        gradient = torch.zeros_like(logits, dtype=full_precision_of(logits.dtype))
        with _without_autocast(logits.device):
            for strip in _strips(batch):
                of_losses = grad_losses if batch.reduction != 'none' else grad_losses[strip.samples]
                of_strip = _gradient(strip.batch(batch), adjustment, of_losses)
                strip.add_gradient(gradient, of_strip)
        return gradient.to(logits.dtype), *constants


def _gradient(batch: Batch, adjustment: LogitAdjustment | None, grad_losses: Tensor) -> Tensor:
    """Return the gradient with respect to dense logits, scale * grad_losses[y] * (softmax - onehot)."""
    logits, target, ignore_index, sample_weight = batch[:4]
    num_classes = logits.shape[1]
    label = labels_with_ignore_bin(target, num_classes, ignore_index)
    is_valid = label < num_classes
    factor = F.pad(grad_losses, (0, 1)).take(label) if batch.reduction != 'none' else grad_losses
    if sample_weight is not None:
        factor = factor * sample_weight
    if adjustment is not None:
        factor = factor * adjustment.scale
        logits = adjustment.apply(logits, target, ignore_index)
    # the weight of an ignored sample may be NaN
    factor = torch.where(is_valid, factor.to(logits.dtype), 0).unsqueeze(1)
    gradient = logits.softmax(dim=1).mul_(factor)
    return gradient.scatter_add_(1, label.clamp_max(num_classes - 1).unsqueeze(1), -factor)


class _Strip(NamedTuple):
    samples: tuple[slice, slice]
    """Images and rows of the map."""
    source: tuple[slice, slice, slice]
    """Images, classes and rows of the low-resolution logits."""
    rows: Tensor
    """Interpolation weights, (rows of the map, rows of the logits)."""
    columns: Tensor
    """Interpolation weights, (w, W)."""

    def batch(self, batch: Batch) -> Batch:
        """Return the arguments of the strip alone, with interpolated logits in at least float32."""
        low = batch.logits[self.source]
        images, classes, height, width = low.shape
        wide = low.to(self.columns.dtype).reshape(-1, width) @ self.columns
        wide = wide.reshape(images * classes, height, -1)
        # not matmul, which may copy to make one product of many
        strip = torch.bmm(self.rows.expand(len(wide), -1, -1), wide)
        strip = strip.reshape(images, classes, *strip.shape[1:]).to(full_precision_of(low.dtype))
        weight = None if batch.sample_weight is None else batch.sample_weight[self.samples]
        return Batch(strip, batch.target[self.samples], batch.ignore_index, weight, batch.reduction)

    def add_gradient(self, gradient: Tensor, of_strip: Tensor) -> None:
        """Add the gradient of a strip, taken back through the interpolation, to ``gradient``, that of the logits."""
        of_strip = of_strip.to(self.columns.dtype).reshape(-1, *of_strip.shape[2:])
        wide = torch.bmm(self.rows.T.expand(len(of_strip), -1, -1), of_strip)
        low = gradient[self.source]
        low += (wide.reshape(-1, wide.shape[2]) @ self.columns.T).reshape(low.shape)


def _strips(batch: Batch) -> Iterator[_Strip]:
    """Yield the strips: some rows of some images each."""
    logits, (num_images, height, width) = batch.logits, batch.target.shape
    dtype = _exact_dtype(logits)
    rows = interpolation_weights(logits.shape[2], height, batch.align_corners)
    columns = interpolation_weights(logits.shape[3], width, batch.align_corners).T.contiguous()
    # safe, because the memory is pageable: non_blocking only saves waiting for the device
    rows_there, columns_there = (weights.to(logits.device, dtype, non_blocking=True) for weights in (rows, columns))
    images, step = _strip_size(num_images, logits.shape[1] * width, logits.shape[2], height)
    for top in range(0, height, step):
        used = rows[top : top + step].any(dim=0).nonzero()
        source = slice(int(used[0]), int(used[-1]) + 1)
        weights = rows_there[top : top + step, source]
        for image in range(0, num_images, images):
            at = slice(image, image + images)
            yield _Strip((at, slice(top, top + step)), (at, slice(None), source), weights, columns_there)


def _strip_size(num_images: int, scores: int, low: int, height: int) -> tuple[int, int]:
    """Return the numbers of images and rows in a strip of a map of ``height`` rows of scores, made of ``low`` rows."""
    # a strip of a smaller map holds more rows of the logits than of the map
    scores = -(-scores * max(low, height) // height)
    # the product of few rows is short, but neighbouring strips compute the row between them twice
    few = -(-_SOURCE_ROWS * height // low)
    images = min(num_images, max(1, _STRIP // (scores * few)))
    images = -(-num_images // -(-num_images // images))
    rows = min(height, max(1, _STRIP // (scores * images)))
    return images, -(-height // -(-height // rows))


def interpolation_weights(low: int, size: int, align_corners: bool) -> Tensor:
    """Return the (size, low) float64 weights with which bilinear interpolation mixes positions along one axis."""
    position = torch.arange(size, dtype=torch.float64)
    if align_corners:
        source = position * ((low - 1) / max(1, size - 1))
    else:
        # pixels are areas: positions before the centre of the first pixel take its value
        source = ((position + 0.5) * (low / size) - 0.5).clamp(min=0)
    first = source.long().clamp(max=low - 1)
    fraction = source - first
    weights = torch.zeros(size, low, dtype=torch.float64)
    weights.scatter_add_(1, first.unsqueeze(1), (1 - fraction).unsqueeze(1))
    return weights.scatter_add_(1, (first + 1).clamp(max=low - 1).unsqueeze(1), fraction.unsqueeze(1))


def _exact_dtype(logits: Tensor) -> torch.dtype:
    """Return the dtype of the products: float64 where float32 may be rounded to TensorFloat32 or bfloat16."""
    try:
        exact = torch.get_float32_matmul_precision() == 'highest'
    except RuntimeError:
        # PyTorch raises where the precision was set for each backend by itself
        exact = False
    return full_precision_of(logits.dtype) if exact else widest_float(logits.device)


def _without_autocast(device: torch.device) -> AbstractContextManager[Any]:
    """Return a context in which matrix products keep their precision."""
    try:
        return torch.autocast(device.type, enabled=False)
    except RuntimeError:
        # a device without autocast
        return nullcontext()


def _add(one: Tensor | None, other: Tensor | None) -> Tensor | None:
    return None if one is None or other is None else one + other
