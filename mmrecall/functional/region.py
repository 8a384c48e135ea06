"""Soft region losses: Tversky, and Dice and IoU (Jaccard) as its special cases."""

from typing import NamedTuple

import torch
from torch import Tensor

from .batch import Batch, Sums, mean_over_classes
from .statistics import (
    full_precision,
    full_precision_of,
    labels_with_ignore_bin,
    soft_targets,
    sum_by_class,
    widest_float,
)
from .validation import (
    AVERAGED_CLASSES,
    check_choice,
    check_labels,
    check_number,
    check_tversky_weights,
    is_soft,
    valid_labels,
)
from .weighted import given_weights


class SoftCounts(NamedTuple):
    """Differentiable counts per class, (C,) each: sums of probabilities over the valid samples."""

    support: Tensor
    """Label mass, TP_c + FN_c."""
    predicted: Tensor
    """Sum of p_c, TP_c + FP_c."""
    true_positives: Tensor
    """Sum of p_c over the samples labelled c."""


def tversky_loss(
    logits: Tensor,
    target: Tensor,
    tversky_weights: tuple[float, float] = (0.3, 0.7),
    *,
    ignore_index: int = -100,
    sample_weight: Tensor | None = None,
    classes: str = 'present',
    smooth: float = 0.0,
    class_weight: Tensor | None = None,
    reduction: str = 'mean',
) -> Tensor:
    """Compute the soft Tversky loss: the mean over classes of 1 - TP_c / (TP_c + a FP_c + b FN_c).

    Salehi et al., MLMI 2017; Table I of the recall-loss paper with probabilities for predictions. The counts are of
    the whole batch, sums of softmax probabilities over the samples that are not ignored. With class weights w it is
    the weighted mean, sum of w_c l_c / sum of w_c over the classes that are averaged.

    For soft labels t, TP_c is the sum of p_c t_c, which is smaller than that of t_c where t_c is a share: the loss is
    above 0 even for probabilities that equal the labels (0.5 for soft Dice with two classes of share 0.5).

    Args:
        logits: (N, C, ...) scores before the softmax. float16 and bfloat16 are computed in float32.
        target: (N, ...) class indices in [0, C), or (N, C, ...) soft labels, finite and at least 0.
        tversky_weights: (a, b), the weights of false positives and false negatives; (0.5, 0.5) is soft Dice, (1, 1)
            soft IoU.
        ignore_index: class index that is left out.
        sample_weight: (N, ...) factors of the samples in the sums.
        classes: ``'present'``: the mean over the classes that the batch has labels of; ``'all'``: over all C, where
            an absent class costs 1 for any predicted mass (if a > 0; it has a gradient only with ``smooth``).
        smooth: added to numerator and denominator, in samples.
        class_weight: (C,) weights of the classes, at least 0; ones if left out.
        reduction: ``'mean'`` or ``'sum'`` over classes, or ``'none'``: (C,), 0 for a class that is left out. ``'sum'``
            and ``'none'`` are of w_c l_c, and divide by nothing.

    Returns:
        A scalar, or (C,); float64 if the logits are, else float32. 0 if nothing is labelled, or all that is averaged
        has weight 0.

    Raises:
        TypeError: logits that are not floating point, labels that are neither integers nor floating point.
        ValueError: shapes that do not belong together, a single channel, labels outside [0, C), unknown names,
            negative weights.

    Example:
        >>> import torch
        >>> logits = torch.tensor([[2.0, 0.0], [3.0, 1.0], [0.0, 1.0], [0.0, 5.0]])
        >>> target = torch.tensor([0, 1, 1, 255])
        >>> tversky_loss(logits, target, (1, 1), ignore_index=255, reduction='none')
        tensor([0.5903, 0.5988])
        >>> tversky_loss(logits, target, (1, 1), ignore_index=255, class_weight=torch.tensor([1.0, 3.0]))
        tensor(0.5967)
    """
    check_region(tversky_weights, classes, smooth)
    batch = Batch(logits, target, ignore_index, sample_weight, reduction)
    batch.check()
    check_labels(target, batch.logits.shape[1], ignore_index)
    weights = given_weights(class_weight, batch)
    return compute(update(batch), weights, batch, tversky_weights, classes, smooth)


def soft_dice_loss(logits: Tensor, target: Tensor, **options: object) -> Tensor:
    """Compute the soft Dice loss, 1 - 2 TP_c / (2 TP_c + FP_c + FN_c): `tversky_loss` with weights (0.5, 0.5).

    Milletari et al., 3DV 2016, without squares in the denominator. Keyword options as in `tversky_loss`.

    Example:
        >>> import torch
        >>> logits = torch.tensor([[2.0, 0.0], [3.0, 1.0], [0.0, 1.0]])
        >>> soft_dice_loss(logits, torch.tensor([0, 1, 1]), reduction='none')
        tensor([0.4187, 0.4273])
    """
    return tversky_loss(logits, target, (0.5, 0.5), **options)  # type: ignore[arg-type]


def soft_iou_loss(logits: Tensor, target: Tensor, **options: object) -> Tensor:
    """Compute the soft IoU loss, 1 - TP_c / (TP_c + FP_c + FN_c): `tversky_loss` with weights (1, 1).

    Rahman and Wang, ISVC 2016. Keyword options as in `tversky_loss`.

    Example:
        >>> import torch
        >>> logits = torch.tensor([[2.0, 0.0], [3.0, 1.0], [0.0, 1.0]])
        >>> soft_iou_loss(logits, torch.tensor([0, 1, 1]), reduction='none')
        tensor([0.5903, 0.5988])
    """
    return tversky_loss(logits, target, (1.0, 1.0), **options)  # type: ignore[arg-type]


def update(batch: Batch) -> Sums:
    """Compute the soft counts of a batch in float64, with a graph, and copies to be added up over ranks; no checks."""
    counts = _soft_counts(batch)
    # copies, because PyTorch 2.1 cannot compile what returns a tensor and an alias of it
    detached = SoftCounts(*(count.detach().clone() for count in counts))
    return Sums(losses=counts, num_samples=detached.support.sum(), counts=detached)


def _soft_counts(batch: Batch) -> SoftCounts:
    logits, target, ignore_index, sample_weight, *_ = batch
    valid = valid_labels(target, logits.shape[1], ignore_index)
    share = valid.to(full_precision_of(logits.dtype))
    if sample_weight is not None:
        share = torch.where(valid, sample_weight, 0).to(share.dtype)
    # not a product: an ignored sample may have any score, NaN too
    probability = torch.where(valid.unsqueeze(1), full_precision(logits).softmax(dim=1), 0)
    if sample_weight is not None:
        probability = probability * share.unsqueeze(1)
    if is_soft(target):
        mass = soft_targets(target)
        return SoftCounts(
            _sum_samples(mass * share.unsqueeze(1)), _sum_samples(probability), _sum_samples(probability * mass)
        )
    bins = labels_with_ignore_bin(target, logits.shape[1], ignore_index)
    target_probability = probability.gather(1, bins.clamp(max=logits.shape[1] - 1).unsqueeze(1)).squeeze(1)
    return SoftCounts(
        support=sum_by_class(bins, share, logits.shape[1]),
        predicted=_sum_samples(probability),
        true_positives=sum_by_class(bins, target_probability, logits.shape[1]),
    )


def compute(
    sums: Sums, weights: Tensor, batch: Batch, tversky_weights: tuple[float, float], classes: str, smooth: float
) -> Tensor:
    """Compute the Tversky loss with (C,) class weights.

    With several ranks it is the share of this one, whose gradient is that of its samples.
    """
    # the values are those of all ranks
    counts = SoftCounts(
        *(total + local - local.detach() for total, local in zip(sums.counts, sums.losses, strict=True))
    )
    loss = _tversky_of_counts(counts, weights, tversky_weights, classes, smooth, batch.reduction)
    if batch.reduction != 'none' and sums.num_ranks > 1:
        loss = loss - loss.detach() * (1 - 1 / sums.num_ranks)
    return loss.to(full_precision_of(batch.logits.dtype))


def _tversky_of_counts(
    counts: SoftCounts,
    weights: Tensor,
    tversky_weights: tuple[float, float],
    classes: str,
    smooth: float,
    reduction: str,
) -> Tensor:
    a, b = tversky_weights
    support, predicted, true_positives = counts
    false_positives, false_negatives = predicted - true_positives, support - true_positives
    denominator = true_positives + a * false_positives + b * false_negatives + smooth
    # a NaN goes on to the loss, where it is seen
    defined = denominator != 0
    index = torch.where(defined, (true_positives + smooth) / denominator.where(defined, 1), 1)
    # a batch without labels has no loss, not even for absent classes
    counted = (support > 0) if classes == 'present' else (support.sum() > 0).expand_as(support)
    losses = torch.where(counted, 1 - index, 0)
    if reduction == 'mean':
        return mean_over_classes(losses, weights, counted)
    return weights * losses if reduction == 'none' else (weights * losses).sum()


def check_region(tversky_weights: tuple[float, float], classes: str, smooth: float) -> None:
    """Raise TypeError or ValueError for options that a region loss does not accept."""
    check_tversky_weights(tversky_weights)
    check_choice('classes', classes, AVERAGED_CLASSES)
    check_number('smooth', smooth)


def _sum_samples(tensor: Tensor) -> Tensor:
    # float64 between images; within one, the sum of PyTorch is accurate enough and needs no copy in float64
    return tensor.unsqueeze(-1).flatten(2).sum(dim=2).sum(dim=0, dtype=widest_float(tensor.device))
