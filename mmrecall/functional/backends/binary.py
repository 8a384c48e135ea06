"""Class sums of sigmoids, see `mmrecall.functional.binary`: plain steps, and one pass in blocks for a CPU.

The steps are elementwise, and a compiler makes one kernel of them, so that no device needs a kernel of its own. Without
a compiler each step writes a map of the size of the logits, and a CPU spends most of its time on newly allocated
memory. There the pass goes through blocks that stay in the cache. With sigma the sigmoid of an entry z, m_0 and
m_1 the factors of its two cross entropies, and g_0 and g_1 the incoming gradients of their sums:

    losses     =  m_0 (max(z, 0) + a)  and  m_1 (max(-z, 0) + a)      where a = log(1 + e^-|z|)
    gradient   =  g_0 m_0 sigma(z) - g_1 m_1 sigma(-z)  =  (g_0 m_0 + g_1 m_1) sigma(z) - g_1 m_1
"""

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..batch import Batch
from ..binary import (
    by_class,
    count_entries,
    cross_entropy_terms,
    loss_factors,
    maps_to_count,
    shares_of,
    statistics_of_entries,
)
from ..compiling import is_compiling
from ..statistics import ClassSums, full_precision, full_precision_of, sum_over_samples
from .differentiation import has_plain_gradient, is_plain_backward
from .huge_pages import empty_like_in_huge_pages

# Number of entries in a block.
_BLOCK = 2**17


def class_sums(batch: Batch) -> ClassSums:
    """Count every class (channel, label) and sum its cross entropy; without checks.

    The logits have the size of the labels. A compiled model uses the steps, not the pass in blocks.
    """
    if not is_compiling() and _in_blocks(batch):
        sums = _sums_of_blocks(batch)
        # an ignored entry that is infinite or NaN spoils the sums of a block, but not those of the steps
        if sums.losses.isfinite().all():
            return sums
    shares = shares_of(batch)
    terms = cross_entropy_terms(batch, shares)
    losses = torch.stack(terms, dim=2) if batch.reduction == 'none' else _sum(terms).to(terms[0].dtype)
    counts = count_entries(batch, shares)
    return ClassSums(losses, counts.support, counts.true_positives, counts.predicted)


def _in_blocks(batch: Batch) -> bool:
    return (
        batch.logits.device.type == 'cpu'
        and batch.logits.numel() > _BLOCK
        and batch.reduction != 'none'
        and not batch.target.requires_grad
        and has_plain_gradient(batch)
    )


def _sum(terms: tuple[Tensor, Tensor]) -> Tensor:
    """Return the sums of the terms of both labels, (2C,)."""
    return by_class(*(sum_over_samples(term) for term in terms))


def _sums_of_blocks(batch: Batch) -> ClassSums:
    logits, target, ignore_index, weight = batch[:4]
    # (N, C, P), where P is 1 for (N, C) logits
    shape = (*logits.shape[:2], -1)
    weight = None if weight is None else weight.reshape(len(weight), -1)
    options = ignore_index, batch.label_smoothing
    losses, support, predicted, true_positives = _BlockSums.apply(  # type: ignore[no-untyped-call]
        logits.reshape(shape), target.reshape(shape), weight, *options
    )
    return ClassSums(losses, support, true_positives, predicted)


class _BlockSums(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logits: Tensor, target: Tensor, weight: Tensor | None, *options: Any) -> tuple[Tensor, ...]:
        totals = logits.new_zeros(6, logits.shape[1], dtype=torch.float64)
        for _, block in _blocks(logits, target, weight, *options):
            shares = shares_of(block)
            scores = full_precision(block.logits)
            either = F.softplus(scores.abs().neg_())
            negative, positive = loss_factors(block, shares)
            terms = negative * scores.clamp(min=0).add_(either), positive * scores.neg().clamp_(min=0).add_(either)
            # float32 counts a block exactly, because it is short
            totals += torch.stack([one.sum(dim=(0, 2)) for one in (*maps_to_count(block, shares), *terms)])
        counts = statistics_of_entries(*totals[:4])
        losses = by_class(*totals[4:]).to(full_precision_of(logits.dtype))
        ctx.save_for_backward(logits, target, weight)
        ctx.options = options
        ctx.set_materialize_grads(False)
        assert counts.predicted is not None
        assert counts.true_positives is not None
        ctx.mark_non_differentiable(counts.support, counts.predicted, counts.true_positives)
        return losses, counts.support, counts.predicted, counts.true_positives

    @staticmethod
    def backward(ctx: Any, incoming: Tensor | None, *_: Any) -> tuple[Tensor | None, ...]:
        logits, target, weight = ctx.saved_tensors
        if incoming is None:
            return (None,) * 5
        if not is_plain_backward(incoming):
            create_graph = torch.is_grad_enabled()
            # the steps compute a gradient that can be differentiated, and one for several vectors at once
            with torch.enable_grad():
                batch = _batch(logits, target, weight, *ctx.options)
                sums = _sum(cross_entropy_terms(batch, shares_of(batch))).to(incoming.dtype)
            return torch.autograd.grad(sums, logits, incoming, create_graph=create_graph)[0], *[None] * 4
        gradient = empty_like_in_huge_pages(logits)
        by_label = incoming.reshape(-1, 2, 1).unbind(1)
        for at, block in _blocks(logits, target, weight, *ctx.options):
            negative, positive = loss_factors(block, shares_of(block))
            positive = positive * by_label[1]
            both = torch.addcmul(positive, negative, by_label[0])
            gradient[at] = both.mul_(torch.sigmoid(full_precision(block.logits))).sub_(positive)
        return gradient, *[None] * 4


def _batch(logits: Tensor, target: Tensor, weight: Tensor | None, ignore_index: int, smoothing: float) -> Batch:
    return Batch(logits, target, ignore_index, weight, use_sigmoid=True, label_smoothing=smoothing)


def _blocks(
    logits: Tensor, target: Tensor, weight: Tensor | None, *options: Any
) -> Iterator[tuple[tuple[slice, ...], Batch]]:
    """Yield the slices of (N, C, P) that hold several images or a part of one, and their batches."""
    num_images, num_channels, num_samples = logits.shape
    samples = max(1, _BLOCK // num_channels)
    images = max(1, samples // num_samples)
    for image in range(0, num_images, images):
        for sample in range(0, num_samples, samples):
            at = slice(image, image + images), slice(None), slice(sample, sample + samples)
            yield at, _batch(logits[at], target[at], None if weight is None else weight[at[::2]], *options)
