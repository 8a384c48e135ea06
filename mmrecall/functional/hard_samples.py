"""Losses that look for hard samples: softmax focal loss and online hard example mining."""

import torch
import torch.nn.functional as F
from torch import Tensor

from .statistics import class_bins, full_precision, full_precision_of, masses, sample_losses, sum_by_class
from .validation import check_choice, check_finite, check_labels, check_number, check_shapes, is_soft, valid_labels
from .weighted import check_reduction, count_samples, divide_loss


def softmax_focal_loss(
    logits: Tensor,
    target: Tensor,
    gamma: float = 2.0,
    *,
    ignore_index: int = -100,
    sample_weight: Tensor | None = None,
    reduction: str = 'mean',
    normalizer: str = 'valid',
) -> Tensor:
    """Focal loss over a softmax: -sum over n of (1 - p_n(y_n))^gamma log p_n(y_n).

    Lin et al., ICCV 2017, in the multi-class form of the recall-loss paper (section IV-D, with gamma = 1). The factor
    is of every sample and carries a gradient. gamma = 0 is cross entropy. For soft labels t it is the sum of
    -t_c (1 - p_c)^gamma log p_c.

    Args:
        logits: (N, C, ...) scores before the softmax. float16 and bfloat16 are computed in float32.
        target: (N, ...) class indices in [0, C), or (N, C, ...) soft labels, finite and at least 0.
        gamma: at least 0; the larger, the less an easy sample counts.
        ignore_index: class index that is left out.
        sample_weight: (N, ...) factors of the loss; they change no divisor.
        reduction: ``'mean'``, ``'sum'`` or ``'none'`` (one value a sample, 0 where ignored).
        normalizer: what ``'mean'`` divides by: ``'valid'`` or ``'all'`` samples. A divisor of 0 gives the loss 0.

    Returns:
        A scalar, or (N, ...) for ``reduction='none'``; float64 if the logits are, else float32.

    Raises:
        TypeError: logits that are not floating point, labels that are neither integers nor floating point.
        ValueError: shapes that do not belong together, a single channel, labels outside [0, C), a negative gamma.

    Example:
        >>> import torch
        >>> logits = torch.tensor([[2.0, 0.0], [3.0, 1.0], [0.0, 1.0], [0.0, 5.0]])
        >>> target = torch.tensor([0, 1, 1, 255])
        >>> softmax_focal_loss(logits, target, ignore_index=255, reduction='none')
        tensor([0.0018, 1.6501, 0.0227, 0.0000])
    """
    check_focal(gamma, normalizer)
    check_reduction(reduction)
    check_shapes(logits, target, sample_weight)
    check_labels(target, logits.shape[1], ignore_index)
    losses = focal_losses(logits, target, gamma, ignore_index, sample_weight)
    if reduction == 'none':
        return losses
    total = sum_losses(losses)
    if reduction == 'sum':
        return total
    return divide_loss(total, count_samples(target, logits.shape[1], ignore_index, normalizer))


def top_k_cross_entropy(
    logits: Tensor,
    target: Tensor,
    keep_ratio: float = 0.7,
    *,
    ignore_index: int = -100,
    sample_weight: Tensor | None = None,
    reduction: str = 'mean',
) -> Tensor:
    """Cross entropy of the hardest samples: the floor(keep_ratio x valid) with the highest cross entropy.

    Online hard example mining (Shrivastava et al., CVPR 2016), with the share of the recall-loss paper (section IV-A:
    "top 70% samples"). Ties are broken arbitrarily; of very few samples none may be kept, and the loss is 0.
    keep_ratio = 1 is cross entropy.

    Args:
        logits: (N, C, ...) scores before the softmax. float16 and bfloat16 are computed in float32.
        target: (N, ...) class indices in [0, C), or (N, C, ...) soft labels, finite and at least 0.
        keep_ratio: above 0 and at most 1.
        ignore_index: class index that is left out.
        sample_weight: (N, ...) factors of the loss; they change neither which samples are kept nor the divisor.
        reduction: ``'mean'`` over the samples that are kept, ``'sum'``, or ``'none'`` (one value a sample, 0 where it
            is not kept).

    Returns:
        A scalar, or (N, ...) for ``reduction='none'``; float64 if the logits are, else float32.

    Raises:
        TypeError: logits that are not floating point, labels that are neither integers nor floating point.
        ValueError: shapes that do not belong together, a single channel, labels outside [0, C), a ratio outside
            (0, 1].

    Example:
        >>> import torch
        >>> logits = torch.tensor([[2.0, 0.0], [3.0, 1.0], [0.0, 1.0], [0.0, 5.0]])
        >>> target = torch.tensor([0, 1, 1, 255])
        >>> top_k_cross_entropy(logits, target, ignore_index=255, reduction='none')  # floor(0.7 x 3) = 2 samples
        tensor([0.0000, 2.1269, 0.3133, 0.0000])
    """
    check_keep_ratio(keep_ratio)
    check_reduction(reduction)
    check_shapes(logits, target, sample_weight)
    check_labels(target, logits.shape[1], ignore_index)
    losses, kept = hardest_losses(logits, target, keep_ratio, ignore_index, sample_weight)
    if reduction == 'none':
        return losses
    total = sum_losses(losses)
    return total if reduction == 'sum' else divide_loss(total, kept)


def focal_losses(
    logits: Tensor, target: Tensor, gamma: float, ignore_index: int, sample_weight: Tensor | None = None
) -> Tensor:
    """(N, ...) focal loss of every sample, 0 where it is ignored; without checks."""
    if not is_soft(target):
        cross_entropy = _cross_entropies(logits, target, ignore_index)
        losses = _focal_weights(cross_entropy, gamma) * cross_entropy
    else:
        mass, cross_entropy = _mass_and_cross_entropies(logits, target)
        losses = (mass * _focal_weights(cross_entropy, gamma) * cross_entropy).sum(dim=1)
    if sample_weight is None:
        return losses
    valid = valid_labels(target, logits.shape[1], ignore_index)
    return torch.where(valid, losses * sample_weight.to(losses.dtype), 0)


@torch.no_grad()
def sum_focal_weights(logits: Tensor, target: Tensor, gamma: float, ignore_index: int) -> Tensor:
    """(C,) float64 sums of (1 - p_n(c))^gamma over the samples labelled c; without checks.

    Divided by the support, it is the mean focal weight of a class (section IV-D of the recall-loss paper). Soft labels
    count by their mass.
    """
    num_classes = logits.shape[1]
    if not is_soft(target):
        weights = _focal_weights(_cross_entropies(logits, target, ignore_index), gamma)
        return sum_by_class(class_bins(target, num_classes, ignore_index), weights, num_classes)
    mass, cross_entropy = _mass_and_cross_entropies(logits, target)
    return (mass * _focal_weights(cross_entropy, gamma)).double().transpose(0, 1).flatten(1).sum(dim=1)


def hardest_losses(
    logits: Tensor, target: Tensor, keep_ratio: float, ignore_index: int, sample_weight: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """(N, ...) cross entropies, 0 where a sample is not kept, and how many are kept (float64); without checks."""
    losses = _cross_entropies(logits, target, ignore_index)
    valid = valid_labels(target, logits.shape[1], ignore_index)
    # the small addend: 0.29 * 100 is 28.999999999999996
    num_kept = (keep_ratio * valid.sum().double() + 1e-6).floor()
    order = losses.detach().masked_fill(~valid, -1).flatten().argsort(descending=True)
    rank = torch.empty_like(order).scatter_(0, order, torch.arange(len(order), device=order.device))
    kept = (rank < num_kept).reshape(losses.shape)
    if sample_weight is not None:
        losses = losses * sample_weight.to(losses.dtype)
    return torch.where(kept, losses, 0), num_kept


def sum_losses(losses: Tensor) -> Tensor:
    """Their sum, accumulated in float64."""
    return losses.sum(dtype=torch.float64).to(losses.dtype)


def check_focal(gamma: float, normalizer: str) -> None:
    """Raise ValueError for a gamma or normaliser that is not one of the focal loss."""
    check_number('gamma', gamma)
    check_choice('normalizer', normalizer, ('valid', 'all'))


def check_keep_ratio(keep_ratio: float) -> None:
    """Raise TypeError unless it is a number, ValueError for a ratio outside (0, 1]."""
    check_finite('keep_ratio', keep_ratio)
    if not 0 < keep_ratio <= 1:
        raise ValueError(f'keep_ratio is {keep_ratio}; it must be above 0 and at most 1')


def _cross_entropies(logits: Tensor, target: Tensor, ignore_index: int) -> Tensor:
    ones = torch.ones(logits.shape[1], device=logits.device)
    return sample_losses(logits, target, ones, ignore_index)


def _mass_and_cross_entropies(logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """(N, C, ...) label masses and -log p, which is 0 where there is no mass."""
    mass = masses(target).to(full_precision_of(logits.dtype))
    # a class without mass may have probability 0, and 0 * inf is NaN
    return mass, torch.where(mass > 0, -F.log_softmax(full_precision(logits), dim=1), 0)


def _focal_weights(cross_entropy: Tensor, gamma: float) -> Tensor:
    # 1 - p by expm1 is exact near p = 1; at p = 1 the power of 0 has no gradient for gamma < 1
    miss: Tensor = (-torch.expm1(-cross_entropy)).clamp(min=torch.finfo(cross_entropy.dtype).tiny)
    return miss**gamma
