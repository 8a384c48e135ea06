"""`plain_class_losses` with one look at the logits, in blocks that stay in a CPU's cache."""

from collections.abc import Iterator
from itertools import repeat
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .statistics import full_precision, plain_class_losses
from .validation import is_soft

# PyTorch 2.1 has it elsewhere; its compiler knows either
is_compiling = getattr(torch.compiler, 'is_compiling', None) or torch._utils.is_compiling

# scores in a block: few enough for the cache, enough for the time that it takes to launch a kernel
_BLOCK = 2**20
# scores of an image below which blocks cost more than they save
_SMALL = 2**16
# the largest score of a sample whose exponential, and whatever counts beside it, neither overflows nor underflows
_SAFE = {torch.float32: 60.0, torch.float64: 600.0}


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
    )


def one_pass_class_losses(
    logits: Tensor, target: Tensor, ignore_index: int, sample_weight: Tensor | None = None
) -> ClassSums:
    """Support, true positives and summed cross entropies of every class, as `plain_class_losses` has them.

    For the backward pass it keeps the exponentials of float32 and float64 logits, which become the gradient in place. A
    second backward pass, and that of float16 and bfloat16, computes them again.
    """
    keep = torch.is_grad_enabled() and logits.requires_grad and logits.dtype in _SAFE
    outputs = _OnePass.apply(logits, target, sample_weight, ignore_index, keep)  # type: ignore[no-untyped-call]
    return ClassSums(*outputs[:3])


class _OnePass(torch.autograd.Function):
    @staticmethod
    def forward(
        logits: Tensor, target: Tensor, sample_weight: Tensor | None, ignore_index: int, keep: bool
    ) -> tuple[Tensor | None, ...]:
        num_bins = logits.shape[1] + 1
        loss_sum = torch.zeros(num_bins, dtype=torch.float64)
        support, true_positives = (torch.zeros(num_bins, dtype=torch.int64) for _ in range(2))
        kept, kept_sums = (torch.empty_like(like, dtype=logits.dtype) if keep else None for like in (logits, target))
        for scores, labels, factors, out, out_sums in _blocks(logits, target, sample_weight, kept, kept_sums):
            scores, bins = full_precision(scores), _bins(labels, num_bins - 1, ignore_index)
            found = _exponentiate(scores, out)
            if out_sums is not None:
                out_sums.copy_(found.sums)
            losses, hits = _measure(scores, bins, found)
            if factors is not None:
                losses = losses * factors
            loss_sum += torch.bincount(bins, losses.double(), num_bins)
            support += torch.bincount(bins, minlength=num_bins)
            true_positives += torch.bincount(bins.masked_fill_(~hits, num_bins - 1), minlength=num_bins)
        # without the bin of what is left out
        loss_sum, support, true_positives = (total[:-1].clone() for total in (loss_sum, support, true_positives))
        return loss_sum.to(full_precision(logits[:0]).dtype), support, true_positives, kept, kept_sums

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Any, ...]) -> None:
        logits, target, sample_weight, ctx.ignore_index, ctx.usable = inputs
        ctx.mark_non_differentiable(*(tensor for tensor in output[1:] if tensor is not None))
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(logits, target, sample_weight, *output[3:])

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
            gradient = _descend(logits, torch.empty_like(logits), None, incoming, *batch)
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
    """Fill in incoming[y] * (softmax - onehot), from the logits, or from their exponentials in ``gradient``."""
    num_classes = gradient.shape[1]
    # what is left out has no part in the loss
    by_bin = torch.cat([incoming, incoming.new_zeros(1)])
    for scores, labels, factors, out, out_sums in _blocks(logits, target, sample_weight, gradient, sums):
        bins = _bins(labels, num_classes, ignore_index)
        weights = by_bin[bins] if factors is None else by_bin[bins] * factors
        values = out
        if scores is not None:
            values, _, out_sums = _exponentiate(full_precision(scores), out if out.dtype in _SAFE else None)
        values *= weights / out_sums
        values.scatter_add_(0, bins.clamp_(max=num_classes - 1)[None], -weights.to(values.dtype)[None])
        if values is not out:
            out.copy_(values)
    return gradient


class _Exponentials(NamedTuple):
    values: Tensor
    """(C, B), those of the scores or, where these are large, of the scores minus ``largest``."""
    largest: Tensor
    """(B,) scores."""
    sums: Tensor
    """(B,) of ``values``."""


def _exponentiate(scores: Tensor, out: Tensor | None) -> _Exponentials:
    largest = scores.amax(0)
    # without the shift it is a pass less
    values = torch.exp(scores, out=out) if _are_safe(largest) else torch.sub(scores, largest, out=out).exp_()
    return _Exponentials(values, largest, values.sum(0))


def _are_safe(largest: Tensor) -> bool:
    """False for NaN too."""
    return bool(largest.abs().amax() <= _SAFE[largest.dtype])


def _measure(scores: Tensor, bins: Tensor, found: _Exponentials) -> tuple[Tensor, Tensor]:
    """(B,) cross entropy of each sample, and whether its prediction is right; anything for what is left out."""
    largest = found.largest
    own = scores.gather(0, bins.clamp(max=len(scores) - 1)[None])[0]
    if not _are_safe(largest):
        return found.sums.log() + (largest - own), scores.max(0).indices == bins
    # at least 1, and at least 2 where several classes have the largest score
    relative = found.sums * torch.exp(-largest)
    hits = own == largest
    doubtful = (hits & (relative > 1.9)).nonzero()[:, 0]
    hits[doubtful] = scores.index_select(1, doubtful).max(0).indices == bins[doubtful]
    return relative.log() + (largest - own), hits


def _bins(labels: Tensor, num_classes: int, ignore_index: int) -> Tensor:
    """`class_bins` in fewer steps."""
    bins = labels.long().clamp(max=num_classes)
    if bins.amin() < 0:
        bins.masked_fill_(bins < 0, num_classes)
    if 0 <= ignore_index < num_classes:
        bins.masked_fill_(bins == ignore_index, num_classes)
    return bins


def _blocks(logits: Tensor | None, target: Tensor, *others: Tensor | None) -> Iterator[tuple[Any, ...]]:
    """Parts that belong together, (C, B) of what has classes and (B,) of what has none."""
    with_classes = (tensor for tensor in (logits, *others) if tensor is not None and tensor.ndim > target.ndim)
    size = max(1, _BLOCK // next(with_classes).shape[1])
    return zip(*(_split(tensor, target.ndim, size) for tensor in (logits, target, *others)), strict=False)


def _split(tensor: Tensor | None, ndim: int, size: int) -> Iterator[Tensor | None]:
    if tensor is None:
        return repeat(None)
    # rows are one image, with a sample in every column
    images = [tensor.t()] if ndim == 1 else [image.flatten(tensor.ndim - ndim) for image in tensor]
    return (part for image in images for part in image.split(size, -1))
