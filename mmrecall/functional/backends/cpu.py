"""Class sums in one pass over the logits, in blocks that stay in the cache of a CPU.

Let z be the adjusted logits of a sample, y its label, and e_c = exp(z_c - r) for a reference score r:

    loss       =  log(e_y + sum_exp_others) + r - z_y       where sum_exp_others is the sum of e_c over c != y
    dloss/dz_c =  e_c / (e_y + sum_exp_others)              for c != y
    dloss/dz_y = -sum_exp_others / (e_y + sum_exp_others)

For r = z_y the loss is log1p(sum_exp_others), which keeps the digits of a small loss however large the logits are, and
the largest z_c - z_y over c != y tells whether the prediction is correct: it is below 0, and 0 on a tie. Only where
these exponentials would overflow, r is the largest score.

The forward pass stores the numerators of the gradient in a map like the logits, which becomes the gradient in place in
the backward pass. For float16 and bfloat16 logits, and in a second backward pass, they are computed again.
"""

import math
from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..batch import Batch
from ..logit_adjustment import LogitAdjustment
from ..statistics import ClassSums, full_precision, full_precision_of, labels_with_ignore_bin, predict
from . import reference
from .differentiation import has_class_indices_and_plain_gradient, is_plain_backward
from .huge_pages import empty_like_in_huge_pages

# Scores in a block: few enough for the cache, enough to outweigh the launch of a kernel.
_BLOCK = 2**20
# Scores in a batch below which launching these kernels costs more than they save.
_SMALL = 2**16
# exp takes up to 40 times as long where it underflows, exp2 the same time for all values.
_LOG2_E = math.log2(math.e)
# 2**24 exponentials of 2 up to this exponent can be added without overflow.
_MAX_EXPONENT = {torch.float32: 64.0, torch.float64: 512.0}


def covers(batch: Batch) -> bool:
    """Return whether `class_sums` accepts this batch and is faster than the reference."""
    return (
        batch.logits.device.type == 'cpu'
        and batch.logits.numel() >= _SMALL
        and batch.reduction != 'none'
        and has_class_indices_and_plain_gradient(batch)
    )


def class_sums(
    batch: Batch, adjustment: LogitAdjustment | None = None, *, hits: bool = False, predictions: bool = False
) -> ClassSums:
    """Count every class and sum its cross entropy, like `reference.class_sums`; without checks."""
    logits, target, ignore_index, sample_weight = batch[:4]
    # (N, C, P) and (N, 1, P), where P is 1 for (N, C) logits
    scores = logits.reshape(*logits.shape[:2], -1)
    labels = target.reshape(len(target), 1, -1)
    sample_weights = None if sample_weight is None else sample_weight.reshape(labels.shape)
    keep = torch.is_grad_enabled() and logits.requires_grad and logits.dtype == full_precision_of(logits.dtype)
    loss_sum, *counts = _FusedClassSums.apply(  # type: ignore[no-untyped-call]
        scores, labels, sample_weights, ignore_index, adjustment or LogitAdjustment(), keep, hits, predictions
    )
    return ClassSums(loss_sum, counts[0], counts[1] if hits else None, counts[2] if predictions else None)


class _FusedClassSums(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, scores: Tensor, labels: Tensor, sample_weights: Tensor | None, *options: Any
    ) -> tuple[Tensor, ...]:
        ignore_index, adjustment, keep, hits, predictions = options
        num_classes, dtype = scores.shape[1], full_precision_of(scores.dtype)
        kept = empty_like_in_huge_pages(scores) if keep else None
        kept_sums = torch.empty_like(labels, dtype=dtype) if keep else None
        # the last bin is that of the ignored samples
        loss_sum = scores.new_zeros(num_classes + 1, dtype=torch.float64)
        support, true_positives, predicted = (loss_sum.long() for _ in range(3))
        is_adjusted_by_class = adjustment.offsets is not None or adjustment.margins is not None
        sum_by_label = partial(torch.bincount, minlength=num_classes + 1)
        for at in _blocks(scores):
            block, label = full_precision(scores[at]), labels_with_ignore_bin(labels[at], num_classes, ignore_index)
            out = torch.empty_like(block) if kept is None else kept[at]
            sum_exp, loss, max_minus_target = _exponentiate(block, label, adjustment, out)
            if kept_sums is not None:
                kept_sums[at] = sum_exp
            if sample_weights is not None:
                loss = loss * sample_weights[at]
            loss_sum += sum_by_label(label.flatten(), loss.flatten().double())
            support += sum_by_label(label.flatten())
            if hits:
                is_correct = _find_correct(block, label, None if is_adjusted_by_class else max_minus_target)
                true_positives += sum_by_label(label.masked_fill(~is_correct, num_classes).flatten())
            if predictions:
                prediction = predict(block).unsqueeze(1)
                predicted += sum_by_label(prediction.masked_fill(label == num_classes, num_classes).flatten())
        ctx.save_for_backward(scores, labels, sample_weights, kept, kept_sums)
        ctx.options, ctx.is_kept = (ignore_index, adjustment), keep
        ctx.set_materialize_grads(False)
        counts = [total[:num_classes].double() for total in (support, true_positives, predicted)]
        ctx.mark_non_differentiable(*counts)
        return loss_sum[:num_classes].to(dtype, copy=True), *counts

    @staticmethod
    def backward(ctx: Any, grad_loss_sum: Tensor | None, *_: Any) -> tuple[Tensor | None, ...]:
        scores, labels, sample_weights, kept, kept_sums = ctx.saved_tensors
        ignore_index, adjustment = ctx.options
        if grad_loss_sum is None:
            return (None,) * 8
        if not is_plain_backward(grad_loss_sum):
            create_graph = torch.is_grad_enabled()
            # the reference computes a gradient that can be differentiated, and one for several vectors at once
            weight = None if sample_weights is None else sample_weights.squeeze(1)
            with torch.enable_grad():
                batch = Batch(scores, labels.squeeze(1), ignore_index, weight)
                loss_sum = reference.class_sums(batch, adjustment).losses
            return torch.autograd.grad(loss_sum, scores, grad_loss_sum, create_graph=create_graph)[0], *[None] * 7
        is_kept, ctx.is_kept = ctx.is_kept, False
        # .data, because a second backward pass unpacks the saved tensor, whose version must not have changed
        gradient = kept.data if is_kept else empty_like_in_huge_pages(scores)
        num_classes = scores.shape[1]
        grad_by_label = F.pad(grad_loss_sum * adjustment.scale, (0, 1))
        for at in _blocks(scores):
            label = labels_with_ignore_bin(labels[at], num_classes, ignore_index)
            factor = grad_by_label.take(label)
            if sample_weights is not None:
                # the weight of an ignored sample may be NaN
                factor = torch.where(label < num_classes, factor * sample_weights[at], 0)
            if is_kept:
                out, sum_exp = gradient[at], kept_sums[at]
            else:
                block = full_precision(scores[at])
                out = torch.empty_like(block)
                sum_exp = _exponentiate(block, label, adjustment, out)[0]
            torch.mul(out, factor / sum_exp, out=gradient[at])
        return gradient, *[None] * 7


def _exponentiate(
    scores: Tensor, label: Tensor, adjustment: LogitAdjustment, out: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Fill ``out`` (N, C, P) with the numerators of the gradient and return their denominators, the losses, and
    log2(e) * max(z_c - z_y) over c != y, (N, 1, P) each. Those of ignored samples are arbitrary.
    """
    # 1. log2(e) * (z_c - z_y) for c != y; the difference comes first, because its sign is exact
    index = label.clamp_max(scores.shape[1] - 1)
    shifted = scores
    if adjustment.offsets is not None:
        shifted = torch.add(scores, adjustment.offsets.to(out).unsqueeze(1), out=out)
    target_score = shifted.gather(1, index)
    if adjustment.margins is not None:
        target_score -= F.pad(adjustment.margins.to(out), (0, 1)).take(label)
    nothing = torch.full_like(target_score, -math.inf)
    torch.sub(shifted, target_score, out=out).mul_(_LOG2_E * adjustment.scale).scatter_(1, index, nothing)
    max_minus_target = out.amax(1, keepdim=True)

    # 2. the largest score as r where the exponentials would overflow, and where there are infinities or NaN
    lowest, highest = torch.aminmax(max_minus_target)
    reference_score = target_score
    if not (float(lowest) > -math.inf and float(highest) <= _MAX_EXPONENT[out.dtype]):
        adjusted = adjustment.apply(scores, label.squeeze(1), scores.shape[1])
        reference_score, target_score = adjusted.amax(1, keepdim=True), adjusted.gather(1, index)
        torch.sub(adjusted, reference_score, out=out).mul_(_LOG2_E).scatter_(1, index, nothing)

    # 3. exponentials and losses
    exp_target = (target_score - reference_score).mul_(_LOG2_E).exp2_()
    sum_exp_others = out.exp2_().sum(1, keepdim=True)
    loss = (sum_exp_others + (exp_target - 1)).log1p_().add_(reference_score - target_score)

    # 4. the numerator of the target class
    out.scatter_(1, index, sum_exp_others.neg())
    return exp_target.add_(sum_exp_others), loss, max_minus_target


def _find_correct(scores: Tensor, label: Tensor, max_minus_target: Tensor | None) -> Tensor:
    """Return whether the prediction is the label, (N, 1, P); the lowest of the classes with the same score wins.

    ``max_minus_target`` saves a pass, if the scores are not adjusted by class.
    """
    if max_minus_target is None:
        return predict(scores).unsqueeze(1) == label
    is_correct = max_minus_target < 0
    # not == 0, because NaN does not tell the prediction either
    is_tied = ~(max_minus_target.abs() > 0)
    if bool(is_tied.any()):
        image, _, place = is_tied.nonzero(as_tuple=True)
        is_correct[image, 0, place] = predict(scores[image, :, place]) == label[image, 0, place]
    return is_correct


def _blocks(scores: Tensor) -> Iterator[tuple[slice, slice, slice]]:
    """Yield the slices of (N, C, P) that hold several images or a part of one."""
    num_images, num_classes, num_samples = scores.shape
    samples = max(1, _BLOCK // num_classes)
    images = max(1, samples // num_samples)
    for image in range(0, num_images, images):
        for sample in range(0, num_samples, samples):
            yield slice(image, image + images), slice(None), slice(sample, sample + samples)
