"""Counts per class: support, predictions and true positives."""

from typing import NamedTuple

import torch
from torch import Tensor

from .validation import check_labels, check_shapes, is_soft, valid_labels

_DEVICES_WITH_FLOAT64 = ('cpu', 'cuda')


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
    """Cross entropies and counts per class, (C,) each: float64, or int64 on devices that may lack it."""

    losses: Tensor
    """Differentiable sums over the samples of every class, (C,); for ``reduction='none'`` those of every sample, 0
    where it is ignored, (N, ...), or for soft labels every term of them, (N, C, ...). float64 if the logits are, else
    float32."""
    support: Tensor
    true_positives: Tensor | None
    """None where it was not requested."""
    predicted: Tensor | None
    """None where it was not requested."""
    invalid_labels: Tensor | None = None
    """Number of labels that are neither a class nor ignored; None where it was not counted."""


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
    """Return `class_statistics` without its checks: a label outside [0, C) is left out; the host reads no value."""
    num_classes, prediction = logits.shape[1], predict(logits)
    if is_soft(target):
        mass = soft_targets(target).to(widest_float(target.device))
        hit = mass.gather(1, prediction.unsqueeze(1)).squeeze(1)
        support = sum_over_samples(mass)
        return ClassStatistics(
            support=support,
            predicted=sum_by_class(prediction, mass.sum(dim=1), num_classes) if predictions else None,
            # the roundings of two sums may differ by 1e-17
            true_positives=sum_by_class(prediction, hit, num_classes).minimum(support),
        )
    bins = labels_with_ignore_bin(target, num_classes, ignore_index)
    support, true_positives, _ = sum_and_count(bins, None, bins == prediction, num_classes)
    assert true_positives is not None
    predicted = count_predictions(prediction, bins, num_classes) if predictions else None
    return ClassStatistics(support, predicted, true_positives)


def predict(logits: Tensor) -> Tensor:
    """Return the class of the largest score, the lowest index on ties."""
    # like argmax, and several times faster on a CPU
    return logits.detach().max(dim=1).indices


def count_predictions(prediction: Tensor, bins: Tensor, num_classes: int) -> Tensor:
    """Count how often every class is predicted for the samples that are not left out."""
    return sum_and_count(prediction.masked_fill(bins == num_classes, num_classes), None, None, num_classes)[0]


@torch.no_grad()
def count_largest_mass(target: Tensor, num_classes: int) -> Tensor:
    """Count, for every class, the samples with label mass whose largest mass is that of the class."""
    label = target.argmax(dim=1).masked_fill(~(target.sum(dim=1) > 0), num_classes)
    return sum_and_count(label, None, None, num_classes)[0]


def full_precision(logits: Tensor) -> Tensor:
    """Return float16 and bfloat16 as float32, float32 and float64 as they are."""
    return logits.to(full_precision_of(logits.dtype))


def full_precision_of(dtype: torch.dtype) -> torch.dtype:
    """Return float64 for float64, else float32."""
    return torch.float64 if dtype == torch.float64 else torch.float32


def soft_targets(target: Tensor) -> Tensor:
    """Return soft labels with invalid entries (negative, NaN, infinite) set to 0."""
    return torch.where((target >= 0) & (target < float('inf')), target, 0)


def labels_with_ignore_bin(target: Tensor, num_classes: int, ignore_index: int) -> Tensor:
    """Return the labels, with ``num_classes`` in the place of everything that is left out."""
    return target.long().masked_fill(~valid_labels(target, num_classes, ignore_index), num_classes)


def widest_float(device: torch.device) -> torch.dtype:
    """Return the dtype of sums: float64, or float32 on devices that may lack it, such as Apple's."""
    return torch.float64 if device.type in _DEVICES_WITH_FLOAT64 else torch.float32


def as_counts(counts: Tensor) -> Tensor:
    """Return int64 counts in float64, or as they are on devices that may lack it: float32 counts only to 2**24."""
    return counts.to(torch.float64) if counts.device.type in _DEVICES_WITH_FLOAT64 else counts


def sum_by_class(bins: Tensor, values: Tensor, num_classes: int) -> Tensor:
    """Return the (C,) sums of the values by label, with labels of `labels_with_ignore_bin`, in `widest_float`."""
    total = torch.zeros(num_classes + 1, dtype=widest_float(values.device), device=values.device)
    return total.scatter_add(0, bins.flatten(), values.to(total).flatten())[:num_classes]


def sum_and_count(
    bins: Tensor, losses: Tensor | None, is_hit: Tensor | None, num_classes: int
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Count the samples of every class, count its hits and sum its losses, in one scatter.

    Args:
        bins: (N, ...) labels of `labels_with_ignore_bin`.
        losses: (N, ...) to sum, or None.
        is_hit: (N, ...) booleans to count, or None.
        num_classes: C, the number of classes.

    Returns:
        (C,) int64 counts of samples and of hits, and (C,) sums in the dtype of the losses; None for what was None.
    """
    rows = num_classes + 1
    at = bins.flatten()
    if is_hit is not None:
        at = at + rows * is_hit.flatten()
        rows *= 2
    num_blocks = _num_blocks(len(at), rows)
    if num_blocks > 1:
        # neighbours, which mostly have the same label, add to different places
        at = at * num_blocks + torch.arange(len(at), device=at.device) % num_blocks
    dtype = torch.float32 if losses is None else losses.dtype
    values = torch.ones(len(at), dtype=dtype, device=at.device)
    if losses is not None:
        at, values = torch.cat((at, at + rows * num_blocks)), torch.cat((values, losses.flatten()))
    # scatter_add, because bincount waits for a GPU; in one dimension, because only there it has a deterministic form
    table = torch.zeros((1 if losses is None else 2) * rows * num_blocks, dtype=dtype, device=at.device)
    table = table.scatter_add(0, at, values).reshape(-1, 1 if is_hit is None else 2, num_classes + 1, num_blocks)
    table = table[:, :, :num_classes]
    counts = table[0].detach().long().sum(dim=-1)
    sums = None if losses is None else table[1].sum(dim=(0, 2), dtype=widest_float(at.device)).to(dtype)
    if is_hit is None:
        return counts[0], None, sums
    return counts.sum(dim=0), counts[1], sums


def _num_blocks(num_samples: int, num_rows: int) -> int:
    """Return the number of partial sums: enough for exact counts and short sums, in a table that is small."""
    exact = -(-num_samples // 2**24)
    short = -(-num_samples // 2**12)
    return max(1, exact, min(short, num_samples // (8 * num_rows)))


def sum_over_samples(tensor: Tensor) -> Tensor:
    """Return the (C,) sums of a tensor (N, C, ...), in `widest_float`."""
    dims = [dim for dim in range(tensor.ndim) if dim != 1]
    return tensor.sum(dim=dims, dtype=widest_float(tensor.device))
