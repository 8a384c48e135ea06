"""Losses that emphasise hard samples: softmax focal loss and online hard example mining."""

import torch
import torch.nn.functional as F
from torch import Tensor

from .backends.reference import sample_losses
from .batch import Batch, Sums, compute_from_samples, count_samples
from .binary import by_class, cross_entropies, labelled_cross_entropy, shares_of
from .statistics import (
    full_precision,
    full_precision_of,
    labels_with_ignore_bin,
    soft_targets,
    sum_by_class,
    sum_over_samples,
    widest_float,
)
from .validation import (
    check_choice,
    check_finite,
    check_labels,
    check_number,
    check_per_class,
    check_per_label,
    is_soft,
    valid_labels,
)


def softmax_focal_loss(
    logits: Tensor,
    target: Tensor,
    gamma: float = 2.0,
    *,
    ignore_index: int = -100,
    sample_weight: Tensor | None = None,
    reduction: str = 'mean',
    normalizer: str = 'valid',
    alpha: Tensor | None = None,
    use_sigmoid: bool = False,
) -> Tensor:
    """Compute the focal loss over a softmax, -sum over n of (1 - p_n(y_n))^gamma log p_n(y_n).

    Lin et al., ICCV 2017, in the multi-class form of the recall-loss paper (section IV-D, with gamma = 1). The factor
    is that of each sample and carries a gradient. gamma = 0 is cross entropy. For soft labels t it is the sum of
    -t_c (1 - p_c)^gamma log p_c. With ``use_sigmoid`` every entry of the logits is a sample of two classes, and the
    loss that of Lin et al., equation 5: -alpha_t (1 - p_t)^gamma log p_t.

    Args:
        logits: (N, C, ...) scores before the softmax. float16 and bfloat16 are computed in float32.
        target: see `weighted_cross_entropy`.
        gamma: at least 0; the larger, the less an easy sample counts.
        ignore_index: see `weighted_cross_entropy`.
        sample_weight: (N, ...) factors of the loss; they change no divisor.
        reduction: ``'mean'``, ``'sum'`` or ``'none'`` (one value a sample, 0 where ignored).
        normalizer: what ``'mean'`` divides by: ``'valid'`` or ``'all'`` samples. A divisor of 0 gives the loss 0.
        alpha: factor of the loss of every class, (C,), at least 0; with ``use_sigmoid`` (C, 2), of label 0 and label 1
            of every channel. It changes no divisor.
        use_sigmoid: every channel is a problem of two classes, instead of all channels one of C classes.

    Returns:
        A scalar, or for ``reduction='none'`` (N, ...), with ``use_sigmoid`` in the shape of the target; float64 if the
        logits are, else float32.

    Raises:
        TypeError: logits that are not floating point, labels that are neither integers nor floating point.
        ValueError: shapes that do not belong together, a single channel without ``use_sigmoid``, labels outside [0, C),
            a negative gamma.

    Example:
        >>> import torch
        >>> logits = torch.tensor([[2.0, 0.0], [3.0, 1.0], [0.0, 1.0], [0.0, 5.0]])
        >>> target = torch.tensor([0, 1, 1, 255])
        >>> softmax_focal_loss(logits, target, ignore_index=255, reduction='none')
        tensor([0.0018, 1.6501, 0.0227, 0.0000])
        >>> labels = torch.tensor([[1, 0], [0, 1], [255, 0], [1, 1]])  # two classes at once, one of them unknown
        >>> alpha = torch.tensor([[0.75, 0.25], [0.75, 0.25]])
        >>> softmax_focal_loss(logits, labels, alpha=alpha, ignore_index=255, use_sigmoid=True)
        tensor(0.3972)
    """
    check_focal(gamma, normalizer)
    batch = Batch(logits, target, ignore_index, sample_weight, reduction, use_sigmoid=use_sigmoid)
    batch.check()
    check_labels(target, batch.logits.shape[1], ignore_index, use_sigmoid)
    if alpha is not None:
        check = check_per_label if use_sigmoid else check_per_class
        check('alpha', alpha, batch.logits.shape[1])
    return compute_from_samples(focal_update(batch, gamma, normalizer, alpha), reduction)


def top_k_cross_entropy(
    logits: Tensor,
    target: Tensor,
    keep_ratio: float = 0.7,
    *,
    ignore_index: int = -100,
    sample_weight: Tensor | None = None,
    reduction: str = 'mean',
) -> Tensor:
    """Compute the cross entropy of the hardest samples: the floor(keep_ratio x valid) with the highest cross entropy.

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
    batch = Batch(logits, target, ignore_index, sample_weight, reduction)
    batch.check()
    check_labels(target, batch.logits.shape[1], ignore_index)
    return compute_from_samples(hardest_update(batch, keep_ratio), reduction)


def focal_update(batch: Batch, gamma: float, normalizer: str, alpha: Tensor | None = None) -> Sums:
    """Compute the focal loss of every sample, (N, ...), 0 where it is ignored; without checks.

    ``alpha`` holds factors of the classes that are counted. With a sigmoid the losses have the shape of the target.
    """
    if batch.use_sigmoid:
        return _binary_focal_update(batch, gamma, normalizer, alpha)
    logits, target, ignore_index, sample_weight, *_ = batch
    if not is_soft(target):
        cross_entropy = sample_losses(logits, target, ignore_index)
        losses = _focal_weights(cross_entropy, gamma) * cross_entropy
        if alpha is not None:
            bins = labels_with_ignore_bin(target, logits.shape[1], ignore_index)
            losses = F.pad(alpha.to(losses), (0, 1))[bins] * losses
    else:
        mass, cross_entropy = _mass_and_cross_entropies(logits, target)
        if alpha is not None:
            mass = alpha.to(mass).reshape(-1, *[1] * (mass.ndim - 2)) * mass
        losses = (mass * _focal_weights(cross_entropy, gamma) * cross_entropy).sum(dim=1)
    if sample_weight is not None:
        valid = valid_labels(target, batch.logits.shape[1], ignore_index)
        losses = torch.where(valid, losses * sample_weight.to(losses.dtype), 0)
    return Sums(losses, count_samples(batch, normalizer))


def _binary_focal_update(batch: Batch, gamma: float, normalizer: str, alpha: Tensor | None) -> Sums:
    shares = shares_of(batch)
    valid = shares[0] + shares[1]
    factors = shares
    if alpha is not None:
        by_label = alpha.to(valid).reshape(-1, 2, *[1] * (valid.ndim - 2)).unbind(1)
        factors = by_label[0] * shares[0], by_label[1] * shares[1]
    losses = _focal_terms(batch, shares, factors, gamma)
    if batch.sample_weight is not None:
        losses = torch.where(valid > 0, losses * batch.sample_weight.unsqueeze(1).to(losses.dtype), 0)
    num_valid = valid.count_nonzero()
    return Sums(losses.reshape(batch.target.shape), count_samples(batch, normalizer, num_valid))


def _focal_terms(batch: Batch, shares: tuple[Tensor, Tensor], factors: tuple[Tensor, Tensor], gamma: float) -> Tensor:
    """Return the sum over both labels of factor x (1 - p)^gamma x cross entropy, (N, C, ...)."""
    if is_soft(batch.target):
        # the cross entropy of a label without a share may be infinite
        entropies = (
            torch.where(factor != 0, loss, 0)
            for factor, loss in zip(factors, cross_entropies(batch, shares), strict=True)
        )
        negative, positive = (
            factor * _focal_weights(loss, gamma) * loss for factor, loss in zip(factors, entropies, strict=True)
        )
        return negative + positive
    cross_entropy = labelled_cross_entropy(batch, shares)
    return (factors[0] + factors[1]) * _focal_weights(cross_entropy, gamma) * cross_entropy


@torch.no_grad()
def sum_focal_weights(
    logits: Tensor, target: Tensor, gamma: float, ignore_index: int, use_sigmoid: bool = False
) -> Tensor:
    """Return the (C,) float64 sums of (1 - p_n(c))^gamma over the samples labelled c; without checks.

    Divided by the support, it is the mean focal weight of a class (section IV-D of the recall-loss paper). Soft labels
    count by their mass. With ``use_sigmoid`` they are (2C,), see `mmrecall.functional.binary`.
    """
    if use_sigmoid:
        batch = Batch(logits, target, ignore_index, use_sigmoid=True)
        shares = shares_of(batch)
        losses = zip(shares, cross_entropies(batch, shares), strict=True)
        return by_class(*(sum_over_samples(share * _focal_weights(loss, gamma)) for share, loss in losses))
    num_classes = logits.shape[1]
    if not is_soft(target):
        weights = _focal_weights(sample_losses(logits, target, ignore_index), gamma)
        return sum_by_class(labels_with_ignore_bin(target, num_classes, ignore_index), weights, num_classes)
    mass, cross_entropy = _mass_and_cross_entropies(logits, target)
    return sum_over_samples(mass * _focal_weights(cross_entropy, gamma))


def hardest_update(batch: Batch, keep_ratio: float) -> Sums:
    """Compute the cross entropies (N, ...), 0 where a sample is not kept, and count those that are; without checks."""
    logits, target, ignore_index, sample_weight, *_ = batch
    losses = sample_losses(logits, target, ignore_index)
    if is_soft(target):
        losses = losses.sum(dim=1)
    valid = valid_labels(target, batch.logits.shape[1], ignore_index)
    # the small addend: 0.29 * 100 is 28.999999999999996
    num_kept = (keep_ratio * valid.sum().to(widest_float(valid.device)) + 1e-6).floor()
    order = losses.detach().masked_fill(~valid, -1).flatten().argsort(descending=True)
    rank = torch.empty_like(order).scatter_(0, order, torch.arange(len(order), device=order.device))
    kept = (rank < num_kept).reshape(losses.shape)
    if sample_weight is not None:
        losses = losses * sample_weight.to(losses.dtype)
    return Sums(torch.where(kept, losses, 0), num_kept)


def check_focal(gamma: float, normalizer: str) -> None:
    """Raise TypeError or ValueError for a gamma or normalizer that the focal loss does not accept."""
    check_number('gamma', gamma)
    check_choice('normalizer', normalizer, ('valid', 'all'))


def check_keep_ratio(keep_ratio: float) -> None:
    """Raise TypeError unless it is a number, ValueError for a ratio outside (0, 1]."""
    check_finite('keep_ratio', keep_ratio)
    if not 0 < keep_ratio <= 1:
        raise ValueError(f'got keep_ratio={keep_ratio}; expected a number above 0 and at most 1')


def _mass_and_cross_entropies(logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Return the (N, C, ...) soft labels and -log p, which is 0 where there is no mass."""
    mass = soft_targets(target).to(full_precision_of(logits.dtype))
    # a class without mass may have probability 0, and 0 * inf is NaN
    return mass, torch.where(mass > 0, -F.log_softmax(full_precision(logits), dim=1), 0)


def _focal_weights(cross_entropy: Tensor, gamma: float) -> Tensor:
    # 1 - p by expm1 is exact near p = 1; at p = 1 the power of 0 has no gradient for gamma < 1
    miss: Tensor = (-torch.expm1(-cross_entropy)).clamp(min=torch.finfo(cross_entropy.dtype).tiny)
    return miss**gamma
