"""Class sums step by step: for every device and every kind of label, and what the other backends are compared with."""

import torch
import torch.nn.functional as F
from torch import Tensor

from ..logit_adjustment import LogitAdjustment
from ..statistics import (
    ClassSums,
    full_precision,
    labels_with_ignore_bin,
    soft_targets,
    sum_by_class,
    sum_over_samples,
    unchecked_class_statistics,
)
from ..validation import is_soft


def class_sums(
    logits: Tensor,
    target: Tensor,
    ignore_index: int,
    sample_weight: Tensor | None = None,
    adjustment: LogitAdjustment | None = None,
    predictions: bool = False,
) -> ClassSums:
    """Count every class and sum its cross entropy; without checks.

    A label outside [0, C) is left out, and no value is read by the host.
    """
    if adjustment is not None:
        logits = adjustment.apply(logits, target, ignore_index)
    losses = sample_losses(logits, target, ignore_index, sample_weight)
    if is_soft(target):
        loss_sum = sum_over_samples(losses)
    else:
        bins = labels_with_ignore_bin(target, logits.shape[1], ignore_index)
        loss_sum = sum_by_class(bins, losses, logits.shape[1])
    counts = unchecked_class_statistics(logits, target, ignore_index, predictions)
    return ClassSums(loss_sum.to(losses.dtype), counts.support, counts.true_positives, counts.predicted)


def sample_losses(logits: Tensor, target: Tensor, ignore_index: int, sample_weight: Tensor | None = None) -> Tensor:
    """Cross entropy of every sample, (N, ...), 0 where it is ignored; of soft labels every term of it, (N, C, ...)."""
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
