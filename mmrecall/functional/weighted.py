"""Cross entropy with a weight per class: the pipeline of all class-weighted losses."""

import torch
import torch.nn.functional as F
from torch import Tensor

from .backends import class_sums
from .batch import Batch, Sums, count_samples, num_classes_of, reciprocal, shares_mass
from .binary import num_class_weights, weights_by_label
from .logit_adjustment import LogitAdjustment
from .statistics import ClassStatistics, labels_with_ignore_bin, widest_float
from .validation import NORMALIZERS, check_choice, check_labels, check_per_class, is_soft


def weighted_cross_entropy(
    logits: Tensor,
    target: Tensor,
    class_weight: Tensor | None = None,
    *,
    ignore_index: int = -100,
    sample_weight: Tensor | None = None,
    reduction: str = 'mean',
    normalizer: str | None = None,
    upsample: str | None = None,
    align_corners: bool = False,
    use_sigmoid: bool = False,
    label_smoothing: float = 0.0,
) -> Tensor:
    """Compute the cross entropy with a weight per class, -sum over n of w_y(n) log p_n(y_n).

    With weights of one it is equation 1 of the recall-loss paper (Tian et al., ICRA 2022), with inverse frequencies
    equation 2. The weights by a scheme come from `inverse_frequency_weights`, `median_frequency_weights` and
    `effective_number_weights`.

    With ``use_sigmoid`` every entry z of the logits is a sample of two classes, with the cross entropies log(1 + e^z)
    of label 0 and log(1 + e^-z) of label 1: with the weights (w,) of label 1 it is
    `torch.nn.functional.binary_cross_entropy_with_logits` with ``pos_weight=w``.

    Args:
        logits: (N, C, ...) scores before the softmax. float16 and bfloat16 are computed in float32.
        target: (N, ...) class indices in [0, C), or (N, C, ...) soft labels, finite and at least 0. With
            ``use_sigmoid`` (N, C, ...) labels 0 and 1, integers, booleans, or floats, which may be anything between;
            for one channel also (N, ...).
        class_weight: (C,) weights, at least 0; ones if left out. With ``use_sigmoid``, for one channel the weights (2,)
            of label 0 and label 1, for several channels the weights (C,) of label 1, while label 0 has weight 1.
        ignore_index: class index that is left out; with ``use_sigmoid`` the label of an entry that is left out.
        sample_weight: (N, ...) factors of the loss; they change no divisor.
        reduction: ``'mean'``, ``'sum'`` or ``'none'`` (one value a sample, 0 where ignored).
        normalizer: what ``'mean'`` divides by: ``'weight'``, the sum of the class weights over the valid samples, as
            PyTorch does for class indices, the default with ``class_weight``; ``'valid'`` samples, the default
            without, and with ``use_sigmoid``; ``'all'`` samples, ignored ones too. A divisor of 0 gives the loss 0.
        upsample: ``'bilinear'`` for logits (N, C, h, w) of a lower resolution than the target (N, H, W): the value and
            the gradient are those of logits interpolated by `torch.nn.functional.interpolate` to the size of the
            target, but a map of that size is made only for soft labels, smoothed labels and sigmoids.
        align_corners: of the interpolation.
        use_sigmoid: every channel is a problem of two classes, instead of all channels one of C classes.
        label_smoothing: s in [0, 1]: a label t counts as (1 - s) t + s / C in the loss, each class with its weight, as
            in `torch.nn.functional.cross_entropy`; with ``use_sigmoid`` C is 2. It changes no divisor.

    Returns:
        A scalar, or for ``reduction='none'`` (N, ...), with ``use_sigmoid`` in the shape of the target; float64 if the
        logits are, else float32.

    Raises:
        TypeError: logits that are not floating point, labels that are neither integers nor floating point.
        ValueError: shapes that do not belong together, a single channel without ``use_sigmoid``, labels outside [0, C),
            unknown names, weights below 0.

    Example:
        >>> import torch
        >>> logits = torch.tensor([[2.0, 0.0], [3.0, 1.0], [0.0, 1.0], [0.0, 5.0]])
        >>> target = torch.tensor([0, 1, 1, 255])
        >>> weighted_cross_entropy(logits, target, torch.tensor([0.5, 1.5]), ignore_index=255)
        tensor(1.0639)
        >>> weighted_cross_entropy(logits, target, torch.tensor([0.5, 1.5]), ignore_index=255, normalizer='valid')
        tensor(1.2412)
        >>> labels = torch.tensor([[1, 0], [0, 1], [255, 0], [1, 1]])  # two classes at once, one of them unknown
        >>> weighted_cross_entropy(logits, labels, torch.tensor([2.0, 1.0]), ignore_index=255, use_sigmoid=True)
        tensor(1.0022)
    """
    batch = Batch(
        logits,
        target,
        ignore_index,
        sample_weight,
        reduction,
        upsample=upsample,
        align_corners=align_corners,
        use_sigmoid=use_sigmoid,
        label_smoothing=label_smoothing,
    )
    return fixed_weights_loss(batch, class_weight, normalizer)


def class_losses(
    logits: Tensor,
    target: Tensor,
    *,
    ignore_index: int = -100,
    sample_weight: Tensor | None = None,
    upsample: str | None = None,
    align_corners: bool = False,
) -> tuple[ClassStatistics, Tensor]:
    """Count every class and sum the cross entropy of its samples: L_c = sum of -log p_n(c) over the n labelled c.

    Any class-weighted cross entropy is then ``(weights * loss_sum).sum() / divisor``: equation 1 of the recall-loss
    paper (Tian et al., ICRA 2022) for weights of one, equation 2 for inverse frequencies, equation 5 for 1 - recall.
    The gradient for an incoming (C,) vector g is g[y] * (softmax - onehot).

    Args:
        logits: (N, C, ...) scores before the softmax. float16 and bfloat16 are computed in float32.
        target: (N, ...) class indices in [0, C), or (N, C, ...) soft labels t, finite and at least 0, for which
            L_c is the sum of -t_nc log p_n(c).
        ignore_index: class index that is left out.
        sample_weight: (N, ...) factors of the loss. They never change the counts.
        upsample: see `weighted_cross_entropy`.
        align_corners: see `weighted_cross_entropy`.

    Returns:
        The statistics (see `class_statistics`) and the differentiable (C,) sums, in float64 if the logits are, else
        in float32. They are accumulated in float64.

    Raises:
        TypeError: logits that are not floating point, labels that are neither integers nor floating point.
        ValueError: shapes that do not belong together, a single channel, labels outside [0, C).

    Example:
        >>> import torch
        >>> logits = torch.tensor([[2.0, 0.0], [3.0, 1.0], [0.0, 1.0], [0.0, 5.0]])
        >>> statistics, loss_sum = class_losses(logits, torch.tensor([0, 1, 1, 255]), ignore_index=255)
        >>> statistics.support
        tensor([1, 2])
        >>> loss_sum
        tensor([0.1269, 2.4402])
    """
    batch = Batch(logits, target, ignore_index, sample_weight, upsample=upsample, align_corners=align_corners)
    batch.check()
    check_labels(target, logits.shape[1], ignore_index)
    sums = class_sums(batch, hits=True, predictions=True)
    assert sums.predicted is not None
    assert sums.true_positives is not None
    counts = sums.support, sums.predicted, sums.true_positives
    return ClassStatistics(*(one if is_soft(target) else one.long() for one in counts)), sums.losses


def fixed_weights_loss(
    batch: Batch,
    class_weight: Tensor | None,
    normalizer: str | None,
    adjustment: LogitAdjustment | None = None,
) -> Tensor:
    """Compute the cross entropy of adjusted logits with given class weights; with checks."""
    normalizer = default_normalizer(normalizer, class_weight, batch.use_sigmoid)
    check_call(batch, normalizer)
    weights = given_weights(class_weight, batch)
    return compute(update(batch, normalizer, adjustment), weights, batch, normalizer)


def given_weights(class_weight: Tensor | None, batch: Batch) -> Tensor:
    """Check and return the weights of the classes that are counted, in `widest_float`; ones if left out."""
    dtype, num_channels = widest_float(batch.logits.device), batch.logits.shape[1]
    if class_weight is None:
        return torch.ones(num_classes_of(batch.logits, batch.use_sigmoid), dtype=dtype, device=batch.logits.device)
    check_per_class(
        'class_weight', class_weight, num_class_weights(num_channels) if batch.use_sigmoid else num_channels
    )
    weights = class_weight.detach().to(dtype)
    return weights_by_label(weights, num_channels) if batch.use_sigmoid else weights


def update(
    batch: Batch,
    normalizer: str,
    adjustment: LogitAdjustment | None = None,
    *,
    hits: bool = False,
    predictions: bool = False,
) -> Sums:
    """Count the classes of a batch and sum their cross entropies; without checks.

    Returns:
        The losses are those of `ClassSums`. The counts are support, true positives with ``hits``, and predicted samples
        with ``predictions``, (C,) each.
    """
    # a head that passes low-resolution logits computes its accuracy from the hits
    hits = hits or batch.upsample is not None
    sums = class_sums(batch, adjustment, hits=hits, predictions=predictions)
    counts = tuple(one for one in (sums.support, sums.true_positives, sums.predicted) if one is not None)
    num_valid = None if shares_mass(batch) else sums.support.sum()
    num_samples = count_samples(batch, normalizer, num_valid)
    return Sums(sums.losses, num_samples, counts, num_valid, invalid_labels=sums.invalid_labels)


def compute(sums: Sums, weights: Tensor, batch: Batch, normalizer: str) -> Tensor:
    """Compute the loss: the sum of (C,) weights times summed losses over the divisor, or a loss for every sample."""
    if batch.reduction == 'none':
        return _weigh_samples(sums.losses, weights, batch)
    if batch.reduction == 'mean':
        support = sums.counts[0]
        divisor = (weights.to(sums.num_samples) * support).sum() if normalizer == 'weight' else sums.num_samples
        weights = weights * reciprocal(divisor)
    return torch.dot(weights.to(sums.losses.dtype), sums.losses)


def statistics_of(sums: Sums) -> ClassStatistics:
    """Return the counts of `update` with ``hits`` as statistics."""
    if len(sums.counts) < 2:
        raise ValueError('got sums without true positives; expected those of update(..., hits=True)')
    support, true_positives, *predicted = sums.counts
    if sums.num_ranks > 1:
        # the roundings of two sums of soft labels may differ
        true_positives = true_positives.minimum(support)
    return ClassStatistics(support, predicted[0] if predicted else None, true_positives)


def default_normalizer(normalizer: str | None, class_weight: object, use_sigmoid: bool = False) -> str:
    """Return the normalizer; for None, that of PyTorch's mean with such weights."""
    if normalizer is not None:
        return normalizer
    return 'valid' if class_weight is None or use_sigmoid else 'weight'


def check_call(batch: Batch, normalizer: str) -> None:
    """Raise for arguments that do not belong together and for labels outside the classes; this waits for a GPU."""
    check_choice('normalizer', normalizer, NORMALIZERS)
    batch.check()
    check_labels(batch.target, batch.logits.shape[1], batch.ignore_index, batch.use_sigmoid)


def _weigh_samples(losses: Tensor, weights: Tensor, batch: Batch) -> Tensor:
    """Return the weighted losses of the samples, (N, ...), or with a sigmoid in the shape of the target."""
    weights = weights.to(losses.dtype)
    if batch.use_sigmoid:
        # (C, 2, ...) for losses (N, C, 2, ...)
        weights = weights.reshape(-1, 2, *[1] * (losses.ndim - 3))
        return torch.where(weights > 0, weights * losses, 0).sum(dim=2).reshape(batch.target.shape)
    if is_soft(batch.target) or batch.label_smoothing:
        weights = weights.reshape(-1, *[1] * (losses.ndim - 2))
        # a class of weight 0 may have probability 0, and 0 * inf is NaN
        return torch.where(weights > 0, weights * losses, 0).sum(dim=1)
    labels = labels_with_ignore_bin(batch.target, batch.logits.shape[1], batch.ignore_index)
    # the last weight is that of the ignored samples
    return F.pad(weights, (0, 1))[labels] * losses
