"""`plain_class_losses` with one look at the logits, in blocks that stay in a CPU's cache."""

from collections.abc import Iterator
from itertools import repeat
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from .exponentials import Exponents, cross_entropies, exponentiate, find_hits, look_up, subtract_onehot
from .huge_pages import empty_like_in_huge_pages
from .shift import LogitShift
from .statistics import class_bins, full_precision, full_precision_of, plain_class_losses
from .validation import is_soft, valid_labels

# scores in a block: few enough for the cache, enough for the time that it takes to launch a kernel
_BLOCK = 2**20
# scores of a batch below which to launch all these kernels costs more than they save
_SMALL = 2**16
# labels from C to C + this have bins of their own; where one is higher, or negative, all get the same bin first
_HIGHEST_LEFT_OUT = 2**10


class ClassSums(NamedTuple):
    """What a pass over the logits leaves behind, (C,) each."""

    loss_sum: Tensor
    """Differentiable, float64 if the logits are, else float32."""
    support: Tensor
    """int64."""
    true_positives: Tensor
    """int64."""


class _Batch(NamedTuple):
    """What belongs to the scores, (N, 1, P) each."""

    bins: Tensor
    """Classes, or anything in [C, num_bins) or ``ignore_index`` for what is left out."""
    num_bins: int
    sample_weight: Tensor | None
    ignore_index: int
    shift: LogitShift | None


def covers(logits: Tensor, target: Tensor, sample_weight: Tensor | None) -> bool:
    """Whether `one_pass_class_losses` takes these arguments, and is the faster way."""
    return (
        logits.device.type == 'cpu'
        and logits.numel() >= _SMALL
        and not is_soft(target)
        and not (sample_weight is not None and sample_weight.requires_grad)
        # to be differentiable by torch.func, a function takes twice as long to call
        and not torch._C._are_functorch_transforms_active()
    )


def one_pass_class_losses(
    logits: Tensor,
    target: Tensor,
    ignore_index: int,
    sample_weight: Tensor | None = None,
    shift: LogitShift | None = None,
) -> ClassSums:
    """Support, true positives and summed cross entropies of every class, as `plain_class_losses` of shifted logits.

    For the backward pass it keeps the exponentials of float32 and float64 logits, which become the gradient in place. A
    second backward pass, and that of float16 and bfloat16, computes them again.
    """
    keep = torch.is_grad_enabled() and logits.requires_grad and logits.dtype == full_precision_of(logits.dtype)
    batch = (target, sample_weight, ignore_index, shift)
    return ClassSums(*_OnePass.apply(logits, keep, *batch))  # type: ignore[no-untyped-call]


class _OnePass(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logits: Tensor, keep: bool, *batch: Any) -> tuple[Tensor, ...]:
        scores, flat = _flatten(logits), _flatten_batch(logits.shape[1], *batch)
        kept = empty_like_in_huge_pages(scores) if keep else None
        kept_sums = torch.empty_like(flat.bins, dtype=logits.dtype) if keep else None
        outputs = _add_up(scores, flat, kept, kept_sums)
        ctx.options, ctx.usable = batch[2:], keep
        ctx.mark_non_differentiable(*outputs[1:])
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(logits, kept, kept_sums, *batch[:2])
        return tuple(outputs)

    @staticmethod
    def backward(ctx: Any, incoming: Tensor | None, *_: Any) -> tuple[Tensor | None, ...]:
        logits, kept, kept_sums, *inputs = ctx.saved_tensors
        batch = (*inputs, *ctx.options)
        if incoming is None:
            gradient = None
        elif torch.is_grad_enabled():
            gradient = _differentiable_gradient(logits, incoming, *batch)
        elif ctx.usable:
            ctx.usable = False
            # data, because a second backward pass unpacks the saved tensor, whose version must not have changed
            gradient = _descend(None, kept.data, kept_sums, incoming, _flatten_batch(len(incoming), *batch))
        else:
            scores = _flatten(logits)
            gradient = empty_like_in_huge_pages(scores)
            _descend(scores, gradient, None, incoming, _flatten_batch(len(incoming), *batch))
        return gradient if gradient is None else gradient.view_as(logits), *[None] * 5


def _differentiable_gradient(
    logits: Tensor,
    incoming: Tensor,
    target: Tensor,
    sample_weight: Tensor | None,
    ignore_index: int,
    shift: LogitShift | None,
) -> Tensor:
    shifted = logits if shift is None else shift.apply(logits, target, ignore_index)
    loss_sum = plain_class_losses(shifted, target, ignore_index, sample_weight)[1]
    return torch.autograd.grad(loss_sum, logits, incoming, create_graph=True)[0]


def _flatten(logits: Tensor) -> Tensor:
    """(N, C, P); P is 1 for (N, C) logits."""
    return logits.unsqueeze(-1).flatten(2)


def _flatten_labels(target: Tensor) -> Tensor:
    """(N, 1, P)."""
    return target.unsqueeze(-1).flatten(1).unsqueeze(1)


def _flatten_batch(
    num_classes: int, target: Tensor, sample_weight: Tensor | None, ignore_index: int, shift: LogitShift | None
) -> _Batch:
    # 0 times NaN is NaN
    factors = None
    if sample_weight is not None:
        factors = _flatten_labels(sample_weight.where(valid_labels(target, num_classes, ignore_index), 0))
    # long first: not every type of integers can be compared
    lowest, highest = (int(label) for label in torch.aminmax(target.long()))
    if lowest < 0 or highest >= num_classes + _HIGHEST_LEFT_OUT:
        target, highest = class_bins(target, num_classes, ignore_index), num_classes
    return _Batch(_flatten_labels(target), max(highest + 1, num_classes), factors, ignore_index, shift)


def _add_up(all_scores: Tensor, batch: _Batch, kept: Tensor | None, kept_sums: Tensor | None) -> ClassSums:
    """The class sums; ``kept`` becomes ``kept_sums`` * (softmax - onehot)."""
    num_classes, num_bins, dtype = all_scores.shape[1], batch.num_bins, full_precision_of(all_scores.dtype)
    exponents, scratch = Exponents(batch.shift, dtype, num_bins), _Scratch()
    loss_sum = torch.zeros(num_bins, dtype=torch.float64, device=all_scores.device)
    # misses, then hits
    counts = torch.zeros(0)
    for scores, bins, factors, out, out_sums in _blocks(all_scores, batch, kept, kept_sums):
        scores, bins = full_precision(scores), bins.long()
        found = exponentiate(scores, bins, exponents, scratch.like(scores) if out is None else out)
        losses = cross_entropies(found)
        if factors is not None:
            losses = losses * factors
        loss_sum.scatter_add_(0, bins.flatten(), losses.flatten().double())
        hits = find_hits(scores, bins, exponents, found)
        block_counts = torch.bincount(torch.add(bins, hits, alpha=num_bins).flatten(), minlength=2 * num_bins)
        counts = counts.add_(block_counts) if len(counts) else block_counts
        if out is not None:
            subtract_onehot(out, found, out_sums)
    misses, true_positives = counts[:num_classes], counts[num_bins:][:num_classes]
    loss_sum = loss_sum[:num_classes].to(dtype, copy=True)
    if 0 <= batch.ignore_index < num_classes:
        for total in (loss_sum, misses, true_positives):
            total[batch.ignore_index] = 0
    return ClassSums(loss_sum, misses + true_positives, true_positives)


def _descend(
    all_scores: Tensor | None, gradient: Tensor, sums: Tensor | None, incoming: Tensor, batch: _Batch
) -> Tensor:
    """Fill in incoming[y] * (softmax - onehot), from the logits, or from what the forward pass left in ``gradient``."""
    num_classes, ignore_index = len(incoming), batch.ignore_index
    by_bin = incoming
    if batch.shift is not None and batch.shift.scale != 1:
        by_bin = by_bin * batch.shift.scale
    # what is left out has no part in the loss
    if batch.num_bins > num_classes:
        by_bin = F.pad(by_bin, (0, batch.num_bins - num_classes))
    if 0 <= ignore_index < num_classes:
        by_bin = by_bin.index_fill(0, torch.tensor([ignore_index], device=by_bin.device), 0)
    exponents = Exponents(batch.shift, incoming.dtype, batch.num_bins)
    scratch = _Scratch()
    for scores, bins, factors, out, out_sums in _blocks(all_scores, batch, gradient, sums):
        bins = bins.long()
        weights = look_up(by_bin, bins)
        if factors is not None:
            weights = weights * factors
        values = out
        if scores is not None:
            scores = full_precision(scores)
            values = scratch.like(scores)
            out_sums = torch.empty_like(bins, dtype=values.dtype)
            subtract_onehot(values, exponentiate(scores, bins, exponents, values), out_sums)
        torch.mul(values, weights / out_sums, out=out)
    return gradient


class _Scratch:
    """Memory for one block, which the next one uses again."""

    def __init__(self) -> None:
        self._memory: Tensor | None = None

    def like(self, scores: Tensor) -> Tensor:
        if self._memory is None:
            self._memory = torch.empty_like(scores)
        return self._memory[: len(scores), :, : scores.shape[2]]


def _blocks(scores: Tensor | None, batch: _Batch, out: Tensor | None, sums: Tensor | None) -> Iterator[tuple[Any, ...]]:
    """Parts that belong together: several images, or a part of one."""
    given = next(tensor for tensor in (scores, out) if tensor is not None)
    num_images, num_classes, num_samples = given.shape
    size = _BLOCK
    if given.dtype != full_precision_of(given.dtype):
        # blocks of these are copied
        size = min(size, max(_SMALL, given.numel() // 8))
    images = min(max(1, size // (num_classes * num_samples)), num_images)
    samples = min(max(1, size // num_classes), num_samples)
    tensors = (scores, batch.bins, batch.sample_weight, out, sums)
    return zip(*(_split(tensor, images, samples) for tensor in tensors), strict=False)


def _split(tensor: Tensor | None, images: int, samples: int) -> Iterator[Tensor | None]:
    if tensor is None:
        return repeat(None)
    return (part for some in _parts(tensor, images, 0) for part in _parts(some, samples, 2))


def _parts(tensor: Tensor, size: int, dim: int) -> tuple[Tensor, ...]:
    return (tensor,) if tensor.shape[dim] <= size else torch.split(tensor, size, dim)
