"""Open long-tailed recognition (OLTR): features that a memory of class centroids completes, and the memory's loss.

Liu et al., "Large-scale long-tailed recognition in an open world", CVPR 2019; where the paper leaves a number or a form
open, the authors' code.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

# 1 / (distance to the nearest centroid) is cut off here: a feature may be its class's centroid
_NEAREST = 1e-4


def meta_embedding(
    features: Tensor, memory: Tensor, hallucinator_logits: Tensor, selector_logits: Tensor, reach: float = 10.0
) -> Tensor:
    """Return the meta-embedding v = r / min_c ‖f - m_c‖ · (f + tanh(s) ⊙ Σ_c softmax(o)_c m_c) of every image.

    f is the direct feature, m the memory, o the output of the hallucinator for f and s that of the concept selector;
    the factor in front, the reachability, is small for a feature far from all classes. Liu et al., CVPR 2019.
    Distances below 1e-4 count as 1e-4.

    Args:
        features: f, (N, D), floating point.
        memory: m, (C, D), the same dtype.
        hallucinator_logits: o, (N, C).
        selector_logits: s, (N, D).
        reach: r, above 0; 10 in the authors' code.

    Returns:
        (N, D).

    Example:
        >>> features, memory = torch.tensor([[3.0, 0.0]]), torch.tensor([[1.0, 0.0], [0.0, 9.0]])
        >>> meta_embedding(features, memory, torch.tensor([[200.0, 0.0]]), torch.tensor([[50.0, 50.0]]))
        tensor([[20.,  0.]])
    """
    with torch.no_grad():
        # by a matrix product, small distances between long vectors would be lost in rounding
        nearest = torch.cdist(features, memory, compute_mode='donot_use_mm_for_euclid_dist').argmin(1)
    distance: Tensor = torch.linalg.vector_norm(features - memory[nearest], dim=1, keepdim=True)
    reachability = reach / distance.clamp(min=_NEAREST)
    remembered = hallucinator_logits.softmax(1) @ memory
    return reachability * (features + selector_logits.tanh() * remembered)


def squashed_cosine(features: Tensor, weight: Tensor, scale: float = 16.0) -> Tensor:
    """Return cosine logits of squashed features, s · ‖v‖ / (1 + ‖v‖) · cos(v, w_c), which are small for short features.

    Liu et al., CVPR 2019; the scale is that of the authors' code. A feature of zeros has logits of zero.

    Args:
        features: v, (N, D), floating point.
        weight: w, (C, D), the same dtype.
        scale: s, above 0.

    Returns:
        (N, C), between -s and s.

    Example:
        >>> squashed_cosine(torch.tensor([[3.0, 0.0]]), torch.tensor([[2.0, 0.0], [0.0, 2.0]]))
        tensor([[12.,  0.]])
    """
    squashed = features / (1 + torch.linalg.vector_norm(features, dim=1, keepdim=True))
    logits: Tensor = scale * squashed @ F.normalize(weight).T
    return logits


class MemoryBatch(NamedTuple):
    """Sums over a batch that `memory_loss` needs; those of several ranks are added up."""

    class_counts: Tensor
    """(C,), images of every class."""
    distances_to_others: Tensor
    """(C,), the sum of ‖f_i - m_c‖² over the images i of other classes than c."""


def memory_batch(features: Tensor, labels: Tensor, memory: Tensor) -> MemoryBatch:
    """Compute the sums over a batch that `memory_loss` needs, without gradients.

    Example:
        >>> memory_batch(torch.tensor([[3.0]]), torch.tensor([0]), torch.tensor([[1.0], [5.0]]))
        MemoryBatch(class_counts=tensor([1., 0.]), distances_to_others=tensor([0., 4.]))
    """
    with torch.no_grad():
        known, valid = _known(labels, features, len(memory))
        counts = features.new_zeros(len(memory)).scatter_add(0, known, valid)
        return MemoryBatch(counts, _distances_to_others(features, known, valid, memory).sum(0))


def memory_loss(
    features: Tensor,
    labels: Tensor,
    memory: Tensor,
    weight: float = 0.01,
    batch: MemoryBatch | None = None,
    num_ranks: int = 1,
    margin: float = 10.0,
    repel: float = 0.01,
) -> Tensor:
    """Compute the loss that trains the memory: features attract the centroid of their class and repel the others.

    weight · (mean_i ½‖f_i - m_{y_i}‖² + 0.01 · max(0, margin - mean_{i,c} ‖f_i - m_c‖² [c ≠ y_i])), as in the authors'
    code (the paper has one margin over both terms). In that code the pull on a centroid, the first term's gradient for
    m_c, has no such weight and is divided by 1 + the number of images of c, like that of the centre loss (Wen et
    al., ECCV 2016): Σ_{i: y_i = c} (m_c - f_i) / (1 + n_c) / N. So the memory follows features that it hardly moves.

    Args:
        features: f, (N, D), floating point.
        labels: y, (N,) int64; images with labels outside 0 to C - 1 are left out.
        memory: m, (C, D), the same dtype.
        weight: factor of all but the pull, at least 0.
        batch: the sums over all ranks of their `memory_batch`; by default of these images.
        num_ranks: number of these ranks. The mean of their gradients is that of the whole batch.
        margin: at least 0.
        repel: factor of the second term, at least 0.

    Returns:
        A scalar.

    Example:
        >>> memory = torch.tensor([[1.0], [2.0]])
        >>> memory_loss(torch.tensor([[3.0]]), torch.tensor([0]), memory, weight=1.0)
        tensor(2.0950)
    """
    if batch is None:
        batch = memory_batch(features, labels, memory)
    known, valid = _known(labels, features, len(memory))
    images = batch.class_counts.sum().clamp(min=1)
    share = images / num_ranks
    own = memory[known]
    attraction = (valid * (features - own.detach()).square().sum(1)).sum() / (2 * share)
    rate = valid / (1 + batch.class_counts[known])
    pull = (rate * (features.detach() - own).square().sum(1)).sum() / (2 * share)
    mean = _distances_to_others(features, known, valid, memory).sum() / (share * len(memory))
    mean_of_all = batch.distances_to_others.sum() / (images * len(memory))
    # the value is that of all ranks, the gradient that of this one
    mean = mean + (mean_of_all - mean).detach()
    loss = weight * (attraction + repel * (margin - mean).clamp(min=0))
    # the pull adds nothing to the value, only a gradient
    return loss + (pull - pull.detach())


def _known(labels: Tensor, features: Tensor, num_classes: int) -> tuple[Tensor, Tensor]:
    """Return labels clamped to valid indices, and 1 where they were valid, else 0; the host reads no value."""
    valid = (labels >= 0) & (labels < num_classes)
    return labels.clamp(0, num_classes - 1), valid.to(features.dtype)


def _distances_to_others(features: Tensor, known: Tensor, valid: Tensor, memory: Tensor) -> Tensor:
    """Return ‖f_i - m_c‖² of every image and class, (N, C); 0 for an image's own class and for images left out."""
    squares = features.square().sum(1, keepdim=True) + memory.square().sum(1) - 2 * features @ memory.T
    return valid[:, None] * squares.clamp(min=0).scatter(1, known[:, None], 0.0)
