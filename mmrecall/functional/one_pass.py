"""`plain_class_losses` with one look at the logits, in blocks that stay in a CPU's cache."""

import math
from collections.abc import Iterator
from itertools import repeat
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .huge_pages import empty_like_in_huge_pages
from .statistics import full_precision, full_precision_of, plain_class_losses
from .validation import is_soft

# PyTorch 2.1 has it elsewhere; its compiler knows either
is_compiling = getattr(torch.compiler, 'is_compiling', None) or torch._utils.is_compiling

# scores in a block: few enough for the cache, enough for the time that it takes to launch a kernel
_BLOCK = 2**20
# scores of an image below which blocks cost more than they save
_SMALL = 2**16
_LOG2_E = 1 / math.log(2)
# of scores within it, times _LOG2_E, neither the exponentials nor their ratios overflow or underflow
_SAFE = {torch.float32: 55.0, torch.float64: 450.0}


class ClassSums(NamedTuple):
    """What a pass over the logits leaves behind, (C,) each."""

    loss_sum: Tensor
    """Differentiable, float64 if the logits are, else float32."""
    support: Tensor
    """int64."""
    true_positives: Tensor
    """int64."""


def covers(logits: Tensor, target: Tensor, sample_weight: Tensor | None) -> bool:
    """Whether `one_pass_class_losses` takes these arguments, and is the faster way."""
    return (
        logits.device.type == 'cpu'
        and logits.numel() > 0
        and (logits.ndim == 2 or logits[0].numel() >= _SMALL)
        and not is_soft(target)
        and not (sample_weight is not None and sample_weight.requires_grad)
        # a compiler fuses the plain form
        and not is_compiling()
        # to be differentiable by torch.func, a function takes twice as long to call
        and not torch._C._are_functorch_transforms_active()
    )


def one_pass_class_losses(
    logits: Tensor, target: Tensor, ignore_index: int, sample_weight: Tensor | None = None
) -> ClassSums:
    """Support, true positives and summed cross entropies of every class, as `plain_class_losses` has them.

    For the backward pass it keeps the exponentials of float32 and float64 logits, which become the gradient in place. A
    second backward pass, and that of float16 and bfloat16, computes them again.
    """
    keep = torch.is_grad_enabled() and logits.requires_grad and logits.dtype in _SAFE
    return ClassSums(*_OnePass.apply(logits, target, sample_weight, ignore_index, keep))  # type: ignore[no-untyped-call]


class _OnePass(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, logits: Tensor, target: Tensor, sample_weight: Tensor | None, ignore_index: int, keep: bool
    ) -> tuple[Tensor, Tensor, Tensor]:
        num_classes = logits.shape[1]
        num_bins = num_classes + 1
        loss_sum = torch.zeros(num_bins, dtype=torch.float64)
        counts: Tensor | None = None
        kept = empty_like_in_huge_pages(logits) if keep else None
        kept_sums = torch.empty_like(target, dtype=logits.dtype) if keep else None
        scratch = _Scratch()
        for scores, labels, factors, out, out_sums in _blocks(logits, target, sample_weight, kept, kept_sums):
            scores, bins = full_precision(scores), _bins(labels, num_classes, ignore_index)
            found = _exponentiate(scores, bins, scratch.like(scores) if out is None else out)
            loss_sum.scatter_add_(0, bins[0], _losses(found, factors)[0].double())
            hits = _hits(scores, bins, found)
            found_counts = torch.bincount(torch.add(bins, hits, alpha=num_bins)[0], minlength=2 * num_bins)
            counts = found_counts if counts is None else counts.add_(found_counts)
            if out is not None:
                _subtract_own(out, found, out_sums)
        # misses, then hits, without the bin of what is left out
        loss_sum, misses, hits = loss_sum[:-1], counts[:num_classes], counts[num_bins:-1]
        support = misses + hits
        ctx.ignore_index, ctx.usable = ignore_index, keep
        ctx.mark_non_differentiable(support, hits)
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(logits, target, sample_weight, kept, kept_sums)
        return loss_sum.to(full_precision_of(logits.dtype)), support, hits

    @staticmethod
    def backward(ctx: Any, incoming: Tensor | None, *_: Any) -> tuple[Tensor | None, ...]:
        logits, target, sample_weight, kept, kept_sums = ctx.saved_tensors
        batch = (target, sample_weight, ctx.ignore_index)
        if incoming is None:
            gradient = None
        elif torch.is_grad_enabled():
            loss_sum = plain_class_losses(logits, target, ctx.ignore_index, sample_weight)[1]
            (gradient,) = torch.autograd.grad(loss_sum, logits, incoming, create_graph=True)
        elif ctx.usable:
            ctx.usable = False
            # data, because a second backward pass unpacks the saved tensor, whose version must not have changed
            gradient = _descend(None, kept.data, kept_sums, incoming, *batch)
        else:
            gradient = _descend(logits, empty_like_in_huge_pages(logits), None, incoming, *batch)
        return gradient, None, None, None, None


def _descend(
    logits: Tensor | None,
    gradient: Tensor,
    sums: Tensor | None,
    incoming: Tensor,
    target: Tensor,
    sample_weight: Tensor | None,
    ignore_index: int,
) -> Tensor:
    """Fill in incoming[y] * (softmax - onehot), from the logits, or from what the forward pass left in ``gradient``."""
    # what is left out has no part in the loss
    by_bin = torch.cat([incoming, incoming.new_zeros(1)])
    scratch = _Scratch()
    for scores, labels, factors, out, out_sums in _blocks(logits, target, sample_weight, gradient, sums):
        bins = _bins(labels, gradient.shape[1], ignore_index)
        # twice as fast as by_bin[bins]
        weights = by_bin.index_select(0, bins[0])
        if factors is not None:
            weights = weights * factors
        values = out
        if scores is not None:
            scores = full_precision(scores)
            values = scratch.like(scores)
            out_sums = torch.empty_like(values[:1])
            _subtract_own(values, _exponentiate(scores, bins, values), out_sums)
        torch.mul(values, weights / out_sums, out=out)
    return gradient


class _Exponentials(NamedTuple):
    """Of a block, those of the own class apart; of the scores, or of how far they are below the largest. (1, B) each."""

    rows: Tensor
    """Index of the own class; any class for what is left out."""
    own: Tensor
    """Of the own class."""
    rest: Tensor
    """Sums of those of the other classes."""
    ahead: Tensor
    """Whether the own class has the largest score, for which ``doubtful`` is false."""
    doubtful: Tensor
    """Whether the exponents do not tell."""
    shortfall: Tensor | None
    """How far the own score is below the largest, if that was subtracted."""


def _exponentiate(scores: Tensor, bins: Tensor, out: Tensor) -> _Exponentials:
    """Leave the exponentials in ``out``, with 0 for the own class."""
    rows = bins.clamp_max(len(scores) - 1)
    # exp2, which takes half the time of exp
    own, rival = _without_own(torch.mul(scores, _LOG2_E, out=out), rows)
    shortfall = None
    if _are_safe(own, rival):
        doubtful = own == rival
    else:
        largest = scores.amax(0)
        shortfall = largest - scores.gather(0, rows)
        own, rival = _without_own(torch.sub(scores, largest, out=out).mul_(_LOG2_E), rows)
        # NaN too
        doubtful = ~((own - rival).abs() > 0)
    ahead = own > rival
    return _Exponentials(rows, own.exp2_(), out.exp2_().sum(0, keepdim=True), ahead, doubtful, shortfall)


def _without_own(exponents: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Exponent of the own class, which is replaced by -infinity, and the largest of the others."""
    own = exponents.gather(0, rows)
    exponents.scatter_(0, rows, torch.full_like(own, -math.inf))
    return own, exponents.amax(0, keepdim=True)


def _are_safe(own: Tensor, rival: Tensor) -> bool:
    """False for NaN too."""
    bound = _SAFE[own.dtype]
    lowest, highest = torch.aminmax(own)
    return float(lowest) >= -bound and float(highest) <= bound and float(rival.max()) <= bound


def _losses(found: _Exponentials, factors: Tensor | None) -> Tensor:
    """(1, B) cross entropies; anything for what is left out."""
    if found.shortfall is None:
        losses = (found.rest / found.own).log1p_()
    else:
        losses = (found.rest + found.own).log_().add_(found.shortfall)
    return losses if factors is None else losses * factors


def _hits(scores: Tensor, bins: Tensor, found: _Exponentials) -> Tensor:
    """(1, B) whether the prediction is right; anything for what is left out."""
    hits = found.ahead
    if found.doubtful.any():
        doubtful = found.doubtful.nonzero()[:, 1]
        hits[:, doubtful] = scores[:, doubtful].max(0).indices == bins[:, doubtful]
    return hits


def _subtract_own(exponentials: Tensor, found: _Exponentials, sums: Tensor) -> None:
    """Turn them into ``sums`` * (softmax - onehot), and fill in these sums."""
    exponentials.scatter_(0, found.rows, found.rest.neg())
    torch.add(found.rest, found.own, out=sums)


class _Scratch:
    """Memory for one block, which the next one uses again."""

    def __init__(self) -> None:
        self._memory: Tensor | None = None

    def like(self, scores: Tensor) -> Tensor:
        if self._memory is None:
            self._memory = torch.empty_like(scores)
        return self._memory[:, : scores.shape[1]]


def _bins(labels: Tensor, num_classes: int, ignore_index: int) -> Tensor:
    """`class_bins` in fewer steps."""
    bins = labels.long()
    lowest, highest = torch.aminmax(bins)
    if int(lowest) < 0:
        bins = bins.masked_fill(bins < 0, num_classes)
    if int(highest) > num_classes:
        bins = bins.clamp_max(num_classes)
    if 0 <= ignore_index < num_classes:
        bins = bins.masked_fill(bins == ignore_index, num_classes)
    return bins


def _blocks(logits: Tensor | None, target: Tensor, *others: Tensor | None) -> Iterator[tuple[Any, ...]]:
    """Parts that belong together, (C, B) of what has classes and (1, B) of what has none."""
    with_classes = (tensor for tensor in (logits, *others) if tensor is not None and tensor.ndim > target.ndim)
    size = max(1, _BLOCK // next(with_classes).shape[1])
    return zip(*(_split(tensor, target.ndim, size) for tensor in (logits, target, *others)), strict=False)


def _split(tensor: Tensor | None, ndim: int, size: int) -> Iterator[Tensor | None]:
    if tensor is None:
        return repeat(None)
    # a sample in every column
    if ndim == 1:
        images = [tensor.t() if tensor.ndim == 2 else tensor.unsqueeze(0)]
    else:
        images = [image.flatten(1) if tensor.ndim > ndim else image.flatten().unsqueeze(0) for image in tensor]
    return (part for image in images for part in (image.split(size, 1) if image.shape[1] > size else (image,)))
