"""Class sums step by step, for every device and every kind of label; the tests compare the other backends with them."""

import torch
import torch.nn.functional as F
from torch import Tensor

from ..batch import Batch
from ..logit_adjustment import LogitAdjustment
from ..statistics import (
    ClassSums,
    as_counts,
    count_predictions,
    full_precision,
    full_precision_of,
    labels_with_ignore_bin,
    predict,
    soft_targets,
    sum_and_count,
    sum_over_samples,
    unchecked_class_statistics,
)
from ..validation import is_soft


def class_sums(
    batch: Batch, adjustment: LogitAdjustment | None = None, *, hits: bool = False, predictions: bool = False
) -> ClassSums:
    """Count every class and sum its cross entropy; without checks.

    A label outside [0, C) is left out, and the host reads no value.
    """
    logits, target, ignore_index, sample_weight = batch[:4]
    adjusted = logits if adjustment is None else adjustment.apply(logits, target, ignore_index)
    if batch.label_smoothing:
        losses = sample_losses(adjusted, smoothed_labels(batch), ignore_index, sample_weight)
        return _sums_of_terms(batch, losses, hits=hits, predictions=predictions)
    losses = sample_losses(adjusted, target, ignore_index, sample_weight)
    if is_soft(target):
        return _sums_of_terms(batch, losses, hits=hits, predictions=predictions)
    num_classes = logits.shape[1]
    bins = labels_with_ignore_bin(target, num_classes, ignore_index)
    is_hit = predicted = None
    if hits or predictions:
        prediction = predict(logits)
        is_hit = prediction == bins if hits else None
        predicted = count_predictions(prediction, bins, num_classes) if predictions else None
    to_sum = losses if batch.reduction != 'none' else None
    support, true_positives, loss_sum = sum_and_count(bins, to_sum, is_hit, num_classes)
    return ClassSums(
        losses if loss_sum is None else loss_sum,
        as_counts(support),
        None if true_positives is None else as_counts(true_positives),
        None if predicted is None else as_counts(predicted),
    )


def _sums_of_terms(batch: Batch, losses: Tensor, *, hits: bool, predictions: bool) -> ClassSums:
    """Return the sums of terms (N, C, ...), one for every class of a sample, and counts of the unsmoothed labels."""
    if batch.reduction != 'none':
        losses = sum_over_samples(losses).to(losses.dtype)
    if is_soft(batch.target) and not (hits or predictions):
        return ClassSums(losses, sum_over_samples(soft_targets(batch.target)), None, None)
    counts = unchecked_class_statistics(batch.logits, batch.target, batch.ignore_index, predictions)
    predicted = None if counts.predicted is None else as_counts(counts.predicted)
    return ClassSums(losses, as_counts(counts.support), as_counts(counts.true_positives), predicted)


def smoothed_labels(batch: Batch) -> Tensor:
    """Return the shares (N, C, ...) of the classes after smoothing: (1 - s) t + s / C, 0 where a sample is ignored."""
    num_classes, dtype = batch.logits.shape[1], full_precision_of(batch.logits.dtype)
    if is_soft(batch.target):
        mass = soft_targets(batch.target).to(dtype)
    else:
        bins = labels_with_ignore_bin(batch.target, num_classes, batch.ignore_index).unsqueeze(1)
        classes = torch.arange(num_classes, device=bins.device).reshape(-1, *[1] * (bins.ndim - 2))
        mass = (bins == classes).to(dtype)
    share = batch.label_smoothing
    return torch.where(mass.sum(dim=1, keepdim=True) > 0, (1 - share) * mass + share / num_classes, 0)


def sample_losses(logits: Tensor, target: Tensor, ignore_index: int, sample_weight: Tensor | None = None) -> Tensor:
    """Return the cross entropy of every sample, (N, ...), 0 where ignored; for soft labels its terms, (N, C, ...)."""
    logits = full_precision(logits)
    if is_soft(target):
        mass = soft_targets(target)
        factors = mass.to(logits.dtype)
        if sample_weight is not None:
            # the weight of an ignored sample may be NaN, and would make its gradient NaN
            factors = torch.where(mass > 0, factors * sample_weight.unsqueeze(1).to(logits.dtype), 0)
        # not a plain product: a class without mass may have probability 0, and 0 * inf is NaN
        return torch.where(mass > 0, -factors * F.log_softmax(logits, dim=1), 0)
    num_classes = logits.shape[1]
    bins = labels_with_ignore_bin(target, num_classes, ignore_index)
    losses = F.cross_entropy(logits, bins, ignore_index=num_classes, reduction='none')
    if sample_weight is None:
        return losses
    return torch.where(bins < num_classes, losses * sample_weight.to(losses.dtype), 0)
