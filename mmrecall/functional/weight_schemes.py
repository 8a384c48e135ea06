"""Class weights from the number of training samples of every class. All have a sum of C (a mean of one)."""

import torch
from torch import Tensor

from .validation import check_class_counts, check_finite, check_number

# c of Paszke et al.
_ENET_OFFSET = 1.02


def inverse_frequency_weights(counts: Tensor) -> Tensor:
    """Return weights proportional to 1 / N_c (equation 2 of the recall-loss paper), with a sum of C.

    Args:
        counts: (C,) samples of every class, at least 0, integers or floats.

    Returns:
        (C,) float64; 0 for a class without samples.

    Raises:
        TypeError, ValueError: counts that are no tensor, negative, not finite, or all 0.

    Example:
        >>> import torch
        >>> inverse_frequency_weights(torch.tensor([900, 90, 10]))
        tensor([0.0297, 0.2970, 2.6733], dtype=torch.float64)
    """
    check_class_counts(counts)
    counts = counts.double()
    return _with_mean_one(torch.where(counts > 0, 1 / counts.where(counts > 0, 1), 0))


def median_frequency_weights(counts: Tensor, image_totals: Tensor | None = None) -> Tensor:
    """Return weights median(f) / f_c (Eigen and Fergus, ICCV 2015, section 6.3.2), normalised to a sum of C.

    f_c is the share of class c in the images that contain it: N_c over all labelled pixels of those images. A class
    that is rare, but large where it occurs, has a smaller weight than by `inverse_frequency_weights`. (The
    normalisation cancels the median, a common factor.) Without ``image_totals`` the frequency is that over all images,
    as in many implementations, and the weights are those of the inverse frequency.

    Args:
        counts: (C,) samples of every class, at least 0.
        image_totals: (C,) labelled pixels of all images that contain the class.

    Returns:
        (C,) float64; 0 for a class without samples.

    Raises:
        TypeError, ValueError: counts that are no tensor, negative, not finite, or all 0; totals of another shape, or
            below the counts.

    Example:
        >>> import torch
        >>> median_frequency_weights(torch.tensor([900, 90, 10]), torch.tensor([1000, 1000, 50]))
        tensor([0.1935, 1.9355, 0.8710], dtype=torch.float64)
    """
    check_class_counts(counts)
    totals = counts.sum().expand_as(counts) if image_totals is None else image_totals
    if totals.shape != counts.shape or not bool((totals >= counts).all()):
        raise ValueError(
            f'got image_totals {totals.tolist()} for the counts {counts.tolist()}; expected one number per class, at '
            'least its count'
        )
    return inverse_frequency_weights(counts.double() / totals.double().clamp(min=1))


def effective_number_weights(counts: Tensor, beta: float | None = None) -> Tensor:
    """Return weights (1 - beta) / (1 - beta^N_c) (Cui et al., CVPR 2019), normalised to a sum of C.

    beta = 0 gives all classes the same weight, beta -> 1 the weights of the inverse frequency. 0.9999 is usual for
    images; counts of pixels are so much larger that all classes then have nearly the same weight.

    Args:
        counts: (C,) samples of every class, at least 0.
        beta: in [0, 1); by default (N - 1) / N with N the sum of the counts, as in the code of the recall loss.

    Returns:
        (C,) float64; 0 for a class without samples.

    Raises:
        TypeError, ValueError: counts that are no tensor, negative, not finite, all 0, or (without a beta) below 1 in
            all; beta outside [0, 1).

    Example:
        >>> import torch
        >>> effective_number_weights(torch.tensor([5000, 500, 50]), beta=0.9999)
        tensor([0.0341, 0.2752, 2.6907], dtype=torch.float64)
        >>> effective_number_weights(torch.tensor([5000, 500, 50]))
        tensor([0.0405, 0.2790, 2.6805], dtype=torch.float64)
    """
    check_class_counts(counts)
    if beta is not None:
        check_beta(beta)
    counts = counts.double()
    if beta is None and counts.sum() < 1 + 1e-6 and not torch.equal(counts, counts.round()):
        raise ValueError(
            f'got class counts that add up to {counts.sum():g}, {counts.tolist()}; expected numbers of samples; pass '
            'the counts instead of their shares, or set beta'
        )
    one_minus_beta = 1 / counts.sum() if beta is None else torch.tensor(1 - beta, dtype=torch.float64)
    # 1 - beta^n loses everything to rounding for beta near 1
    denominator = -torch.expm1(counts * torch.log1p(-one_minus_beta))
    present = counts > 0
    return _with_mean_one(torch.where(present, one_minus_beta / denominator.where(present, 1), 0))


def enet_weights(counts: Tensor) -> Tensor:
    """Return weights 1 / ln(1.02 + N_c / N) (Paszke et al., "ENet", arXiv 1606.02147, 2016), normalised to a sum of C.

    N is the sum of the counts. Before the normalisation the weights lie between 1.4, for a class with all samples, and
    50: that of a rare class does not grow without bound, as 1 / N_c does.

    Args:
        counts: (C,) samples of every class, at least 0.

    Returns:
        (C,) float64; 0 for a class without samples, as in the other schemes; the formula alone would give it the
        largest weight.

    Raises:
        TypeError, ValueError: counts that are no tensor, negative, not finite, or all 0.

    Example:
        >>> import torch
        >>> enet_weights(torch.tensor([900, 90, 10]))
        tensor([0.1023, 0.6396, 2.2581], dtype=torch.float64)
    """
    check_class_counts(counts)
    counts = counts.double()
    return _with_mean_one(torch.where(counts > 0, 1 / torch.log(_ENET_OFFSET + counts / counts.sum()), 0))


def tempered_weights(
    weights: Tensor, power: float = 1.0, min_weight: float | None = None, max_weight: float | None = None
) -> Tensor:
    """Return weights of a scheme to a power between 0 and 1, normalised to a sum of C, then clipped to two bounds.

    w_c^power C / sum over k of w_k^power, then min_weight where it is below and max_weight where it is above. Of
    `inverse_frequency_weights` it makes weights proportional to (1 / N_c)^power; 0.5 is the inverse square root of the
    frequency, which Cui et al., CVPR 2019, name as smoothed weights.

    Args:
        weights: (C,) of a scheme, at least 0.
        power: from 0, the same weight for all classes, to 1, the weights as they are. 0 stays 0.
        min_weight: smallest weight of any class, also of one with weight 0.
        max_weight: largest weight. The clipped weights have another sum than C.

    Returns:
        (C,) float64.

    Raises:
        TypeError, ValueError: weights that are no tensor, negative, not finite, or all 0; a power outside [0, 1];
            bounds below 0, or in the wrong order.

    Example:
        >>> import torch
        >>> weights = inverse_frequency_weights(torch.tensor([900, 90, 10]))
        >>> tempered_weights(weights, 0.5)
        tensor([0.2198, 0.6951, 2.0852], dtype=torch.float64)
        >>> tempered_weights(weights, max_weight=2.0)
        tensor([0.0297, 0.2970, 2.0000], dtype=torch.float64)
    """
    if not isinstance(weights, Tensor):
        raise TypeError(f'got weights of type {type(weights).__name__}; expected a tensor')
    if weights.ndim != 1 or not bool(((weights >= 0) & weights.isfinite()).all()) or not bool(weights.any()):
        raise ValueError(
            f'got weights {weights.tolist()}; expected one number per class, finite, at least 0 and not all 0'
        )
    check_tempering(power, min_weight, max_weight)
    weights = weights.double()
    if power != 1:
        weights = _with_mean_one(torch.where(weights > 0, weights**power, 0))
    return weights if min_weight is None and max_weight is None else weights.clamp(min_weight, max_weight)


def check_beta(beta: float) -> None:
    """Raise TypeError or ValueError unless beta is a number of at least 0 and below 1."""
    check_finite('beta', beta)
    if not 0 <= beta < 1:
        raise ValueError(f'got beta={beta}; expected a number of at least 0 and below 1')


def check_tempering(power: float, min_weight: float | None, max_weight: float | None) -> None:
    """Raise TypeError or ValueError for a power or bounds that `tempered_weights` does not accept."""
    check_number('power', power)
    if power > 1:
        raise ValueError(f'got power={power}; expected a number from 0 (ones) to 1 (the weights as they are)')
    if min_weight is not None:
        check_number('min_weight', min_weight)
    if max_weight is not None:
        check_number('max_weight', max_weight, above_zero=True)
    if min_weight is not None and max_weight is not None and min_weight > max_weight:
        raise ValueError(
            f'got min_weight={min_weight} and max_weight={max_weight}; set min_weight to at most max_weight'
        )


def _with_mean_one(weights: Tensor) -> Tensor:
    return weights * (len(weights) / weights.sum())
