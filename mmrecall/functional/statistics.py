"""Counts and summed cross entropies per class, step by step: what every class-weighted loss is made of."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from .validation import check_labels, check_shapes, is_soft, valid_labels


class ClassStatistics(NamedTuple):
    """Counts per class of one batch (int64), or label masses (float64) if the labels are soft.

    Each is a (C,) tensor. False negatives are ``support - true_positives``, false positives
    ``predicted - true_positives``.
    """

    support: Tensor
    """Valid samples labelled with the class, N_c = TP_c + FN_c."""
    predicted: Tensor | None
    """Valid samples predicted as the class, TP_c + FP_c; the prediction is the argmax, the lowest index on ties. None
    where nobody asked: it costs a pass over the logits more."""
    true_positives: Tensor
    """Valid samples that are both, TP_c."""


def class_statistics(logits: Tensor, target: Tensor, ignore_index: int = -100) -> ClassStatistics:
    """Count support, predictions and true positives of every class.

    Soft labels are counted by their mass: N_c is the mass of class c, TP_c its mass in the samples that are
    predicted as c. A sample without mass is ignored.

    Args:
        logits: (N, C, ...) scores before the softmax, any floating-point type.
        target: (N, ...) class indices in [0, C), or (N, C, ...) soft labels, finite and at least 0.
        ignore_index: class index that is left out.

    Returns:
        (C,) tensors, int64 for class indices, float64 for soft labels; they carry no gradient.

    Raises:
        TypeError: logits that are not floating point, labels that are neither integers nor floating point.
        ValueError: shapes that do not belong together, a single channel, labels outside [0, C).

    Example:
        >>> import torch
        >>> logits = torch.tensor([[2.0, 0.0], [3.0, 1.0], [0.0, 1.0], [0.0, 5.0]])
        >>> class_statistics(logits, torch.tensor([0, 1, 1, 255]), ignore_index=255)._asdict()
        {'support': tensor([1, 2]), 'predicted': tensor([2, 1]), 'true_positives': tensor([1, 1])}
    """
    check_shapes(logits, target)
    check_labels(target, logits.shape[1], ignore_index)
    return count_classes(logits, target, ignore_index)


def plain_class_losses(
    logits: Tensor, target: Tensor, ignore_index: int, sample_weight: Tensor | None = None
) -> tuple[ClassStatistics, Tensor]:
    """`class_losses` without its checks, step by step: what other ways are compared with.

    A label outside [0, C) is left out, and no value is read by the host.
    """
    statistics = count_classes(logits, target, ignore_index)
    logits = full_precision(logits)
    if is_soft(target):
        log_probability = F.log_softmax(logits, dim=1)
        mass = masses(target).to(logits.dtype)
        if sample_weight is not None:
            mass = mass * sample_weight.unsqueeze(1)
        # not a plain product: a class without mass may have probability 0, and 0 * inf is NaN
        losses = torch.where(masses(target) > 0, -mass * log_probability, 0)
        return statistics, losses.sum(dim=_all_but_class(losses), dtype=torch.float64).to(logits.dtype)
    num_classes = logits.shape[1]
    bins = class_bins(target, num_classes, ignore_index)
    losses = F.cross_entropy(logits, bins, ignore_index=num_classes, reduction='none')
    if sample_weight is not None:
        losses = torch.where(bins < num_classes, losses * sample_weight, 0)
    return statistics, sum_by_class(bins, losses, num_classes).to(logits.dtype)


def sample_losses(
    logits: Tensor, target: Tensor, weights: Tensor, ignore_index: int, sample_weight: Tensor | None = None
) -> Tensor:
    """Class-weighted cross entropy of each sample, (N, ...), 0 where it is ignored."""
    logits = full_precision(logits)
    if is_soft(target):
        shape = (-1,) + (1,) * (logits.ndim - 2)
        mass = masses(target).to(logits.dtype) * weights.to(logits.dtype).reshape(shape)
        losses = torch.where(mass > 0, -mass * F.log_softmax(logits, dim=1), 0).sum(dim=1)
    else:
        bins = class_bins(target, logits.shape[1], ignore_index)
        losses = F.cross_entropy(
            logits, bins, weight=weights.to(logits.dtype), ignore_index=logits.shape[1], reduction='none'
        )
    if sample_weight is None:
        return losses
    return torch.where(valid_labels(target, logits.shape[1], ignore_index), losses * sample_weight, 0)


@torch.no_grad()
def count_classes(logits: Tensor, target: Tensor, ignore_index: int) -> ClassStatistics:
    """`class_statistics` without its checks: a label outside [0, C) is left out, no value is read by the host."""
    num_classes = logits.shape[1]
    # the first index on ties, like argmax, and several times faster on a CPU
    prediction = logits.max(dim=1).indices
    if is_soft(target):
        mass = masses(target).double()
        hit = mass.gather(1, prediction.unsqueeze(1)).squeeze(1)
        return ClassStatistics(
            support=mass.sum(dim=_all_but_class(mass)),
            predicted=sum_by_class(prediction, mass.sum(dim=1), num_classes),
            true_positives=sum_by_class(prediction, hit, num_classes),
        )
    bins = class_bins(target, num_classes, ignore_index)
    return ClassStatistics(
        support=_count(bins, num_classes),
        predicted=_count_valid(prediction, bins, num_classes),
        true_positives=_count(bins.masked_fill(bins != prediction, num_classes), num_classes),
    )


@torch.no_grad()
def count_predicted(logits: Tensor, target: Tensor, ignore_index: int) -> Tensor:
    """(C,) samples predicted as each class, of those with a class index that is not left out."""
    num_classes = logits.shape[1]
    return _count_valid(logits.max(dim=1).indices, class_bins(target, num_classes, ignore_index), num_classes)


@torch.no_grad()
def count_largest_mass(target: Tensor, num_classes: int) -> Tensor:
    """(C,) number of samples whose largest label mass is the class, of those with any mass."""
    label = target.argmax(dim=1).masked_fill(~(target.sum(dim=1) > 0), num_classes)
    return _count(label, num_classes)


def full_precision(logits: Tensor) -> Tensor:
    """float16 and bfloat16 as float32; float32 and float64 as they are."""
    return logits.to(full_precision_of(logits.dtype))


def full_precision_of(dtype: torch.dtype) -> torch.dtype:
    """float64 of float64, else float32."""
    return torch.float64 if dtype == torch.float64 else torch.float32


def masses(target: Tensor) -> Tensor:
    """Soft labels with everything that is left out (negative, NaN, infinite) at 0."""
    return torch.where((target >= 0) & (target < float('inf')), target, 0)


def class_bins(target: Tensor, num_classes: int, ignore_index: int) -> Tensor:
    """The labels with everything that is left out in one bin more, ``num_classes``."""
    return target.long().masked_fill(~valid_labels(target, num_classes, ignore_index), num_classes)


def _count_valid(prediction: Tensor, bins: Tensor, num_classes: int) -> Tensor:
    return _count(prediction.masked_fill(bins == num_classes, num_classes), num_classes)


def _count(bins: Tensor, num_classes: int) -> Tensor:
    # scatter_add, because bincount waits for a GPU; int64, because float32 counts stop at 2**24
    return _scatter_sum(bins, torch.ones_like(bins), num_classes)


def sum_by_class(bins: Tensor, values: Tensor, num_classes: int) -> Tensor:
    """(C,) float64 sums of the values in each of the bins that `class_bins` gives."""
    return _scatter_sum(bins, values.double(), num_classes)


def _scatter_sum(bins: Tensor, values: Tensor, num_classes: int) -> Tensor:
    total = torch.zeros(num_classes + 1, dtype=values.dtype, device=values.device)
    return total.scatter_add(0, bins.flatten(), values.flatten())[:num_classes]


def _all_but_class(tensor: Tensor) -> list[int]:
    return [dim for dim in range(tensor.ndim) if dim != 1]
