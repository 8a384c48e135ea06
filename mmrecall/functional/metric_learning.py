"""Losses of features, which bring images of one class together and keep those of different classes apart."""

import torch
from torch import Tensor
from torch.nn import functional as F

from .statistics import full_precision, widest_float
from .validation import FLOATING_POINT, check_class_indices, check_integer, check_number

# below it (of squared distances) the harmonic mean is 0 to float64, and its gradient is no number
_NO_RANGE = 1e-100


def range_loss(
    features: Tensor, labels: Tensor, *, k: int = 2, margin: float = 5.0, alpha: float = 1.0, beta: float = 1.0
) -> Tensor:
    """Compute the range loss, of the largest distances within a class and the smallest between two class means.

    Zhang et al., "Range loss for deep face recognition with long-tailed training data", ICCV 2017:
    alpha · L_intra + beta · L_inter, where L_intra is the sum over the classes of the batch of the harmonic mean
    k / Σ_j (1 / D_j) of the k largest squared Euclidean distances D_j between two images of the class, and L_inter is
    max(0, margin - D) with the smallest squared distance D between two class means, taken of the batch. A class with
    fewer than k pairs has the mean over all its pairs, a class with a single image has none, and L_inter is 0 for a
    single class. Ties are broken arbitrarily. The harmonic mean is 0 if one of its distances is, with a gradient of 0.

    Args:
        features: (N, D), not normalised. float16 and bfloat16 are computed in float32.
        labels: (N,) class numbers, any integers.
        k: distances of every class.
        margin: squared distance that two class means should have.
        alpha: factor of L_intra.
        beta: factor of L_inter.

    Returns:
        A scalar, 0 for an empty batch; float64 if the features are, else float32.

    Raises:
        TypeError: features that are not floating point, labels that are not integers, an option of another type.
        ValueError: shapes that do not belong together, k below 1, a negative margin or factor.

    Example:
        >>> features = torch.tensor([[0.0], [1.0], [3.0], [7.0]])
        >>> range_loss(features, torch.tensor([5, 5, 5, 8]), margin=0.0)  # distances 9, 4 and 1: 2 / (1/9 + 1/4)
        tensor(5.5385)
        >>> range_loss(features, torch.tensor([5, 8, 9, 8]), margin=2.0, alpha=0.0)  # class means 0, 4 and 3
        tensor(1.)
    """
    check_range_options(k, margin, alpha, beta)
    check_features(features, labels)
    features = full_precision(features)
    if not len(features):
        return features.sum()
    same_class = labels[:, None] == labels
    # a class is numbered by its first image
    own_class = same_class.to(torch.uint8).argmax(dim=1)
    classes = torch.arange(len(labels), device=labels.device)
    members = own_class == classes[:, None]
    with torch.autocast(features.device.type, enabled=False):
        intra = _harmonic_mean_ranges(features, same_class, members, k)
        inter = _margin_of_means(features, members, margin)
    return alpha * intra + beta * inter


def _harmonic_mean_ranges(features: Tensor, same_class: Tensor, members: Tensor, k: int) -> Tensor:
    """Return L_intra."""
    # pairs that are left out have a negative distance; the largest of a class are among the largest of its images
    distances = _squared_distances(features).masked_fill(~same_class.triu(1), -1)
    distances = distances.topk(min(k, distances.shape[1])).values
    distances = torch.where(members[:, :, None], distances, -1).flatten(1)
    ranges = distances.topk(min(k, distances.shape[1])).values.to(widest_float(distances.device))
    # not "at least 0", so that NaN stays
    taken = ~(ranges < 0)
    apart = ~(ranges < _NO_RANGE)
    has_mean = taken.any(dim=1) & (apart | ~taken).all(dim=1)
    inverses = torch.where(apart, 1 / torch.where(apart, ranges, 1), 0).sum(dim=1)
    means = taken.sum(dim=1) / torch.where(has_mean, inverses, 1)
    return torch.where(has_mean, means, 0).sum().to(features.dtype)


def _margin_of_means(features: Tensor, members: Tensor, margin: float) -> Tensor:
    """Return L_inter."""
    sizes = members.sum(dim=1)
    means = members.to(features.dtype) @ features / sizes.clamp(min=1)[:, None]
    present = sizes > 0
    pairs = (present[:, None] & present).triu(1)
    nearest = _squared_distances(means).masked_fill(~pairs, torch.inf).amin()
    return F.relu(margin - nearest)


def lifted_structure_loss(features: Tensor, labels: Tensor, *, margin: float = 1.0) -> Tensor:
    """Compute the lifted structure loss: every pair of one class against all images of other classes in the batch.

    Oh Song et al., "Deep metric learning via lifted structured feature embedding", CVPR 2016, equation 4:
    ``1 / (2 |P|)`` · Σ over the pairs (i, j) of one class, P, of max(0, J_ij)², with
    J_ij = log(Σ_k exp(margin - D_ik) + Σ_l exp(margin - D_jl)) + D_ij, where k and l are the images of other classes
    than i and j, and D is the Euclidean distance. 0 for a batch without such a pair, and for one of a single class.

    The sum over other classes is computed once for every image, not once for every pair: time grows with N² · D and
    memory with N² (on GPUs with N² · D, because of PyTorch's gradient of distances; not measured). For 128 images of
    CIFAR-10-LT, the implementation of pytorch-metric-learning 2.9, which compares pairs with pairs, took 2.4 s and 1 GB
    on two cores.

    Args:
        features: (N, D), not normalised. float16 and bfloat16 are computed in float32.
        labels: (N,) class numbers, any integers.
        margin: the paper's is 1.

    Returns:
        A scalar, 0 for an empty batch; float64 if the features are, else float32.

    Raises:
        TypeError: features that are not floating point, labels that are not integers, a margin that is no number.
        ValueError: shapes that do not belong together, a margin that is negative or not finite.

    Example:
        >>> features = torch.tensor([[0.0], [1.0], [3.0]])
        >>> lifted_structure_loss(features, torch.tensor([5, 5, 8]))  # (log(exp(1 - 3) + exp(1 - 2)) + 1)² / 2
        tensor(0.0491)
    """
    check_number('margin', margin)
    check_features(features, labels)
    features = full_precision(features)
    if not len(features):
        return features.sum()
    same_class = labels[:, None] == labels
    with torch.autocast(features.device.type, enabled=False):
        structure = _structure(_distances(features), same_class, margin)
    pairs = same_class.triu(1)
    losses = torch.where(pairs, F.relu(structure) ** 2, 0)
    return losses.sum() / (2 * pairs.sum().clamp(min=1))


def _structure(distances: Tensor, same_class: Tensor, margin: float) -> Tensor:
    """Return J_ij of every two images, (N, N)."""
    # the gradient at minus infinity is NaN, which anomaly detection stops at though it is masked
    lowest = torch.finfo(distances.dtype).min / 4
    others = (margin - distances).masked_fill(same_class, lowest).logsumexp(dim=1)
    return torch.logaddexp(others[:, None], others) + distances


def check_features(features: Tensor, labels: Tensor) -> None:
    """Check types, dtypes and shapes, which needs no look at the values.

    Raises:
        TypeError: an argument is not a tensor, the features are not floating point, or the labels are not integers.
        ValueError: shapes that do not belong together, or tensors on two devices.
    """
    for name, value in (('features', features), ('labels', labels)):
        if not isinstance(value, Tensor):
            raise TypeError(f'got {name} of type {type(value).__name__}; expected a tensor')
    if features.dtype not in FLOATING_POINT:
        raise TypeError(f'got features of type {features.dtype}; expected floating point of 16, 32 or 64 bits')
    check_class_indices(labels)
    if labels.dtype == torch.bool or labels.dtype.is_complex:
        raise TypeError(f'got labels of type {labels.dtype}; expected class numbers (integers)')
    if features.ndim != 2 or labels.shape != features.shape[:1]:
        raise ValueError(
            f'got features of shape {tuple(features.shape)} and labels of shape {tuple(labels.shape)}; expected (N, D) '
            'and (N,), one vector and one class number for every image'
        )
    if features.device != labels.device:
        raise ValueError(
            f'got labels on {labels.device} and features on {features.device}; expected one device for both'
        )


def check_range_options(k: int, margin: float, alpha: float, beta: float) -> None:
    """Raise TypeError or ValueError for options that the range loss does not accept."""
    check_integer('k', k)
    if k < 1:
        raise ValueError(f'got k={k}; expected at least 1 distance for the mean')
    for name, value in (('margin', margin), ('alpha', alpha), ('beta', beta)):
        check_number(name, value)


def _distances(vectors: Tensor) -> Tensor:
    """Return the (N, N) Euclidean distances, with a gradient of 0 where they are 0."""
    # a matrix product, which is the default, loses the distance of two vectors that are near each other
    return torch.cdist(vectors, vectors, compute_mode='donot_use_mm_for_euclid_dist')


def _squared_distances(vectors: Tensor) -> Tensor:
    return _distances(vectors).square()
