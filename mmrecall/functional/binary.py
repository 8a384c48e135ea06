"""Sigmoids: every entry of the logits is a sample of a problem of two classes, label 0 and label 1.

An entry z is the softmax over the logits [0, z]: its cross entropies are log(1 + e^z) for label 0 and log(1 + e^-z) for
label 1. The classes that are counted are the pairs (channel, label), in the order (0, 0), (0, 1), (1, 0), (1, 1), ...
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from .batch import Batch
from .compiling import is_compiling
from .statistics import ClassStatistics, full_precision, full_precision_of, sum_over_samples
from .validation import is_soft

# above it log(1 + e^z) is z, also in float64
_LINEAR = 40


def shares_of(batch: Batch) -> tuple[Tensor, Tensor]:
    """Return the shares of label 0 and of label 1, (N, C, ...) each, see `label_shares`."""
    target = batch.target.reshape(batch.logits.shape)
    return label_shares(target, batch.ignore_index, full_precision_of(batch.logits.dtype))


def label_shares(target: Tensor, ignore_index: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Return the shares of label 0 and of label 1: 0 or 1, for soft labels a number between.

    Both are 0 where a label is ignored or not between 0 and 1.
    """
    if is_soft(target):
        valid = (target >= 0) & (target <= 1) & (target != ignore_index)
        positive = torch.where(valid, target, 0).to(dtype)
        return _as_float(valid, dtype) - positive, positive
    # a CPU compares floats several times as fast as integers
    labels = target.to(dtype)
    negative, positive = (
        _indicator(torch.eq, labels, label) if label != ignore_index else torch.zeros_like(labels) for label in (0, 1)
    )
    return negative, positive


@torch.no_grad()
def count_entries(batch: Batch, shares: tuple[Tensor, Tensor]) -> ClassStatistics:
    """Count the classes (channel, label), (2C,) each in `widest_float`.

    An entry above 0 is predicted as label 1, others, ties too, as label 0.
    """
    return statistics_of_entries(*(sum_over_samples(one) for one in maps_to_count(batch, shares)))


def maps_to_count(batch: Batch, shares: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the shares of both labels, and those of the entries that are predicted as label 1, (N, C, ...) each.

    Without gradients.
    """
    is_positive = _indicator(torch.gt, full_precision(batch.logits.detach()), 0)
    return *shares, shares[0] * is_positive, shares[1] * is_positive


def statistics_of_entries(negative: Tensor, positive: Tensor, false_positives: Tensor, hits: Tensor) -> ClassStatistics:
    """Return the statistics of the classes (channel, label), (2C,), of the sums of `maps_to_count`, (C,)."""
    predicted = false_positives + hits
    # the roundings of two sums of soft labels may differ
    others = (negative - false_positives).clamp(min=0)
    return ClassStatistics(
        support=by_class(negative, positive),
        predicted=by_class(negative + positive - predicted, predicted),
        true_positives=by_class(others, hits),
    )


@torch.no_grad()
def count_larger_share(batch: Batch) -> Tensor:
    """Count, for every class (channel, label), the entries whose larger share is that of the label, (2C,)."""
    # The logits may have a lower resolution than the labels.
    target = batch.target if batch.target.ndim == batch.logits.ndim else batch.target.unsqueeze(1)
    negative, positive = label_shares(target, batch.ignore_index, full_precision_of(batch.logits.dtype))
    is_positive = positive > negative
    return by_class(sum_over_samples(~is_positive & (negative > 0)), sum_over_samples(is_positive))


def loss_factors(batch: Batch, shares: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """Return the factors of the cross entropies of both labels: smoothed shares times the weight of the sample."""
    negative, positive = shares
    if batch.label_smoothing:
        rest = batch.label_smoothing / 2 * (negative + positive)
        negative, positive = ((1 - batch.label_smoothing) * share + rest for share in shares)
    if batch.sample_weight is None:
        return negative, positive
    weight = batch.sample_weight.unsqueeze(1).to(negative.dtype)
    # the weight of a sample that is left out may be NaN
    return torch.where(negative > 0, negative * weight, 0), torch.where(positive > 0, positive * weight, 0)


def cross_entropies(batch: Batch, shares: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """Return log(1 + e^z) and log(1 + e^-z), the cross entropies of label 0 and label 1 of every entry.

    Those of an entry that is left out are finite.
    """
    scores = _valid_scores(batch, shares)
    return F.softplus(scores, threshold=_LINEAR), F.softplus(-scores, threshold=_LINEAR)


def labelled_cross_entropy(batch: Batch, shares: tuple[Tensor, Tensor]) -> Tensor:
    """Return the cross entropy of the label of every entry, which is 0 or 1; that of one left out is finite."""
    return F.softplus((shares[0] - shares[1]) * _valid_scores(batch, shares), threshold=_LINEAR)


def _valid_scores(batch: Batch, shares: tuple[Tensor, Tensor]) -> Tensor:
    return torch.where(shares[0] + shares[1] > 0, full_precision(batch.logits), 0)


def cross_entropy_terms(batch: Batch, shares: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """Return the terms of both labels in the cross entropy of every entry, (N, C, ...) each."""
    negative, positive = (
        # not a plain product: the cross entropy of the other label may be infinite, and 0 * inf is NaN
        torch.where(factor != 0, factor * loss, 0)
        for factor, loss in zip(loss_factors(batch, shares), cross_entropies(batch, shares), strict=True)
    )
    return negative, positive


def _as_float(mask: Tensor, dtype: torch.dtype) -> Tensor:
    # a CPU converts bytes several times as fast as booleans
    return mask.to(dtype) if _is_traced() else mask.view(torch.uint8).to(dtype)


def _indicator(compare: Callable[..., Tensor], values: Tensor, bound: int) -> Tensor:
    """Return 1 where the comparison holds and 0 elsewhere, in the type of the values."""
    if _is_traced():
        return compare(values, bound).to(values.dtype)
    # a CPU writes floats several times as fast as booleans
    return compare(values, bound, out=torch.empty_like(values))


def _is_traced() -> bool:
    return is_compiling() or torch._C._are_functorch_transforms_active()


def by_class(negative: Tensor, positive: Tensor) -> Tensor:
    """Return numbers of label 0 and of label 1, (C,) each, in the order of the classes, (2C,)."""
    return torch.stack((negative, positive), dim=1).flatten()


def num_class_weights(num_channels: int) -> int:
    """Return the number of weights that `weights_by_label` expects."""
    return max(2, num_channels)


def weights_by_label(weights: Tensor, num_channels: int) -> Tensor:
    """Return the weights of all classes (channel, label), (2C,).

    Args:
        weights: for one channel those of label 0 and label 1, (2,); for several channels those of label 1, (C,), while
            label 0 has weight 1, as with ``pos_weight`` of `torch.nn.functional.binary_cross_entropy_with_logits`.
        num_channels: C, the number of channels.
    """
    return weights if num_channels == 1 else by_class(torch.ones_like(weights), weights)
