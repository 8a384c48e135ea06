"""Counts per class: support, predictions and true positives."""

from typing import NamedTuple

import torch
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
    where it was not requested: counting it costs another pass over the logits."""
    true_positives: Tensor
    """Valid samples that are both, TP_c."""


class ClassSums(NamedTuple):
    """Counts per class, and the cross entropy summed over the samples of every class; (C,) each."""

    loss_sum: Tensor
    """Differentiable; float64 if the logits are, else float32."""
    support: Tensor
    true_positives: Tensor
    predicted: Tensor | None
    """None where it was not requested."""


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
    return unchecked_class_statistics(logits, target, ignore_index)


@torch.no_grad()
def unchecked_class_statistics(
    logits: Tensor, target: Tensor, ignore_index: int, predictions: bool = True
) -> ClassStatistics:
    """`class_statistics` without its checks: a label outside [0, C) is left out, no value is read by the host."""
    num_classes = logits.shape[1]
    # the first index on ties, like argmax, and several times faster on a CPU
    prediction = logits.max(dim=1).indices
    if is_soft(target):
        mass = soft_targets(target).double()
        hit = mass.gather(1, prediction.unsqueeze(1)).squeeze(1)
        return ClassStatistics(
            support=sum_over_samples(mass),
            predicted=sum_by_class(prediction, mass.sum(dim=1), num_classes) if predictions else None,
            true_positives=sum_by_class(prediction, hit, num_classes),
        )
    bins = labels_with_ignore_bin(target, num_classes, ignore_index)
    return ClassStatistics(
        support=_count(bins, num_classes),
        predicted=_count(prediction.masked_fill(bins == num_classes, num_classes), num_classes)
        if predictions
        else None,
        true_positives=_count(bins.masked_fill(bins != prediction, num_classes), num_classes),
    )


@torch.no_grad()
def count_largest_mass(target: Tensor, num_classes: int) -> Tensor:
    """Count, for every class, the samples with label mass whose largest mass is that of the class."""
    label = target.argmax(dim=1).masked_fill(~(target.sum(dim=1) > 0), num_classes)
    return _count(label, num_classes)


def full_precision(logits: Tensor) -> Tensor:
    """Return float16 and bfloat16 as float32, float32 and float64 as they are."""
    return logits.to(full_precision_of(logits.dtype))


def full_precision_of(dtype: torch.dtype) -> torch.dtype:
    """Return float64 for float64, else float32."""
    return torch.float64 if dtype == torch.float64 else torch.float32


def soft_targets(target: Tensor) -> Tensor:
    """Return soft labels with everything that is left out (negative, NaN, infinite) at 0."""
    return torch.where((target >= 0) & (target < float('inf')), target, 0)


def labels_with_ignore_bin(target: Tensor, num_classes: int, ignore_index: int) -> Tensor:
    """Return the labels, with ``num_classes`` in the place of everything that is left out."""
    return target.long().masked_fill(~valid_labels(target, num_classes, ignore_index), num_classes)


def _count(bins: Tensor, num_classes: int) -> Tensor:
    # scatter_add, because bincount waits for a GPU; int64, because float32 counts stop at 2**24
    return _scatter_sum(bins, torch.ones_like(bins), num_classes)


def sum_by_class(bins: Tensor, values: Tensor, num_classes: int) -> Tensor:
    """Return the (C,) float64 sums of the values by label, with labels of `labels_with_ignore_bin`."""
    return _scatter_sum(bins, values.double(), num_classes)


def _scatter_sum(bins: Tensor, values: Tensor, num_classes: int) -> Tensor:
    total = torch.zeros(num_classes + 1, dtype=values.dtype, device=values.device)
    return total.scatter_add(0, bins.flatten(), values.flatten())[:num_classes]


def sum_over_samples(tensor: Tensor) -> Tensor:
    """Return the (C,) float64 sums of a tensor (N, C, ...)."""
    return tensor.sum(dim=[dim for dim in range(tensor.ndim) if dim != 1], dtype=torch.float64)
