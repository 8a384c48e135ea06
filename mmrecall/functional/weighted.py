"""Cross entropy with a weight per class, and how every class-weighted loss is reduced."""

from collections.abc import Callable

import torch
from torch import Tensor

from .class_losses import accumulate_classes
from .shift import LogitShift
from .statistics import ClassStatistics, count_classes, sample_losses
from .validation import (
    NORMALIZERS,
    REDUCTIONS,
    check_choice,
    check_labels,
    check_per_class,
    check_shapes,
    is_soft,
    valid_labels,
)


def weighted_cross_entropy(
    logits: Tensor,
    target: Tensor,
    class_weight: Tensor | None = None,
    *,
    ignore_index: int = -100,
    sample_weight: Tensor | None = None,
    reduction: str = 'mean',
    normalizer: str = 'valid',
) -> Tensor:
    """Cross entropy with a weight per class: -sum over n of w_y(n) log p_n(y_n).

    With weights of one it is equation 1 of the recall-loss paper (Tian et al., ICRA 2022), with inverse frequencies
    equation 2. The weights by a scheme come from `inverse_frequency_weights`, `median_frequency_weights` and
    `effective_number_weights`.

    Args:
        logits: (N, C, ...) scores before the softmax. float16 and bfloat16 are computed in float32.
        target: (N, ...) class indices in [0, C), or (N, C, ...) soft labels, finite and at least 0.
        class_weight: (C,) weights, at least 0; ones if left out.
        ignore_index: class index that is left out.
        sample_weight: (N, ...) factors of the loss; they change no divisor.
        reduction: ``'mean'``, ``'sum'`` or ``'none'`` (one value a sample, 0 where ignored).
        normalizer: what ``'mean'`` divides by: ``'valid'`` samples; ``'all'`` samples, ignored ones too;
            ``'weight'``, the sum of the class weights over the valid samples, as PyTorch does for class indices. A
            divisor of 0 gives the loss 0.

    Returns:
        A scalar, or (N, ...) for ``reduction='none'``; float64 if the logits are, else float32.

    Raises:
        TypeError: logits that are not floating point, labels that are neither integers nor floating point.
        ValueError: shapes that do not belong together, a single channel, labels outside [0, C), unknown names,
            weights below 0.

    Example:
        >>> import torch
        >>> logits = torch.tensor([[2.0, 0.0], [3.0, 1.0], [0.0, 1.0], [0.0, 5.0]])
        >>> target = torch.tensor([0, 1, 1, 255])
        >>> weighted_cross_entropy(logits, target, torch.tensor([0.5, 1.5]), ignore_index=255)
        tensor(1.2412)
        >>> weighted_cross_entropy(logits, target, torch.tensor([0.5, 1.5]), ignore_index=255, normalizer='weight')
        tensor(1.0639)
    """
    weigh = fixed_weights(class_weight)
    return reduce_class_losses(logits, target, weigh, ignore_index, sample_weight, reduction, normalizer)


def fixed_weights(class_weight: Tensor | None) -> Callable[[ClassStatistics], Tensor]:
    """What `reduce_class_losses` weighs with: ``class_weight``, checked; ones if left out."""

    def weigh(statistics: ClassStatistics) -> Tensor:
        if class_weight is None:
            return torch.ones_like(statistics.support, dtype=torch.float64)
        check_per_class('class_weight', class_weight, len(statistics.support))
        return class_weight.detach().double()

    return weigh


def reduce_class_losses(
    logits: Tensor,
    target: Tensor,
    weigh: Callable[[ClassStatistics], Tensor],
    ignore_index: int,
    sample_weight: Tensor | None,
    reduction: str,
    normalizer: str,
    predicted: bool = False,
    shift: LogitShift | None = None,
) -> Tensor:
    """Cross entropy of shifted logits with the class weights that ``weigh`` makes of the batch's statistics.

    Checked and reduced. ``predicted`` says whether ``weigh`` looks at the predictions.
    """
    check_reduction(reduction, normalizer)
    check_shapes(logits, target, sample_weight)
    check_labels(target, logits.shape[1], ignore_index)
    if reduction == 'none':
        shifted = logits if shift is None else shift.apply(logits, target, ignore_index)
        weights = weigh(count_classes(shifted, target, ignore_index))
        return sample_losses(shifted, target, weights, ignore_index, sample_weight)
    statistics, loss_sum = accumulate_classes(logits, target, ignore_index, sample_weight, predicted, shift)
    weights = weigh(statistics)
    if reduction == 'mean':
        num_valid = None if is_soft(target) else statistics.support.sum()
        num_samples = count_samples(target, logits.shape[1], ignore_index, normalizer, num_valid)
        weights = weights * reciprocal(mean_divisor(num_samples, statistics.support, weights, normalizer))
    return weigh_class_losses(loss_sum, weights)


def weigh_class_losses(loss_sum: Tensor, weights: Tensor) -> Tensor:
    """The sum over classes of weight times summed loss."""
    return torch.dot(weights.to(loss_sum.dtype), loss_sum)


def count_samples(
    target: Tensor, num_classes: int, ignore_index: int, normalizer: str, num_valid: Tensor | None = None
) -> Tensor:
    """Number of samples that the divisor ``'valid'`` or ``'all'`` counts, a float64 scalar.

    ``num_valid`` saves counting the valid ones again.
    """
    if normalizer == 'all':
        count = target.numel() // target.shape[1] if is_soft(target) and target.shape[1] else target.numel()
        return torch.full((), count, dtype=torch.float64, device=target.device)
    if num_valid is None:
        num_valid = valid_labels(target, num_classes, ignore_index).count_nonzero()
    return num_valid.double()


def mean_divisor(num_samples: Tensor, support: Tensor, weights: Tensor, normalizer: str) -> Tensor:
    """What ``reduction='mean'`` divides by, a float64 scalar."""
    return (weights.double() * support).sum() if normalizer == 'weight' else num_samples


def divide_loss(total: Tensor, divisor: Tensor) -> Tensor:
    """``total / divisor``, and 0 with its graph for a divisor of 0."""
    return total * reciprocal(divisor).to(total.dtype)


def reciprocal(divisor: Tensor) -> Tensor:
    """``1 / divisor``, and 0 for a divisor of 0."""
    # a NaN goes on to the loss, where it is seen
    return torch.where(divisor == 0, 0, divisor.reciprocal())


def check_reduction(reduction: str, normalizer: str = 'valid') -> None:
    """Raise ValueError for a reduction or normaliser that is not one."""
    check_choice('reduction', reduction, REDUCTIONS)
    check_choice('normalizer', normalizer, NORMALIZERS)
