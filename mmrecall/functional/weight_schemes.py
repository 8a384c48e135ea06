"""Class weights from the number of training samples of every class. All have a sum of C (a mean of one)."""

import torch
from torch import Tensor

from .validation import check_class_counts


def inverse_frequency_weights(counts: Tensor) -> Tensor:
    """Weights proportional to 1 / N_c (equation 2 of the recall-loss paper), with a sum of C.

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
    """Weights median(f) / f_c (Eigen and Fergus, ICCV 2015, section 6.3.2), normalised to a sum of C.

    f_c is the share of class c in the images that contain it: N_c over all labelled pixels of those images. A class
    that is rare, but large where it is, weighs less than by `inverse_frequency_weights`. (Normalised, the median drops
    out: it is a common factor.) Without ``image_totals`` the frequency is taken over all images, as many
    implementations do, and the weights are those of the inverse frequency.

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
            f'image_totals must be one number per class, at least its count: got {totals.tolist()} for '
            f'{counts.tolist()}'
        )
    return inverse_frequency_weights(counts.double() / totals.double().clamp(min=1))


def effective_number_weights(counts: Tensor, beta: float | None = None) -> Tensor:
    """Weights (1 - beta) / (1 - beta^N_c) (Cui et al., CVPR 2019), normalised to a sum of C.

    beta = 0 weighs all classes alike, beta -> 1 by the inverse frequency. 0.9999 is usual for images; counts of pixels
    are so much larger that it then weighs all classes alike.

    Args:
        counts: (C,) samples of every class, at least 0.
        beta: in [0, 1); by default (N - 1) / N with N the sum of the counts, as the recall loss's authors take it.

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
    if beta is not None and not 0 <= beta < 1:
        raise ValueError(f'beta is {beta}; it must be at least 0 and below 1')
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


def _with_mean_one(weights: Tensor) -> Tensor:
    return weights * (len(weights) / weights.sum())
