"""Where a loss pushes the logits of every class: up for recall, down for precision."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from mmrecall.functional.statistics import full_precision, labels_with_ignore_bin
from mmrecall.functional.validation import check_class_indices, check_labels, check_shapes


class ClassPushes(NamedTuple):
    """How strongly gradient descent moves the logit of every class; (C,) float64 each."""

    recall: Tensor
    """Up, from the samples labelled with the class."""
    precision: Tensor
    """Down, from the samples of all other classes."""


def gradient_by_class(
    loss: Callable[[Tensor, Tensor], Tensor], logits: Tensor, target: Tensor, ignore_index: int = -100
) -> Tensor:
    """Gradient of a loss with respect to the logits, summed by label and channel.

    G[c, k] = sum over the samples n labelled c of dL/dz_n,k: the terms of which equation 8 of Tian et al., "Striking
    the Right Balance: Recall Loss for Semantic Segmentation", ICRA 2022 (section III-B) adds up two. For the recall
    loss (``reduction='sum'``) and C classes

        G[k, k] = FN_k (P_k^(k) - 1),    G[c, k] = FN_c P_k^(c)

    where P_k^(c) is the mean probability of class k over the samples labelled c; for cross entropy N_c stands in the
    place of FN_c. Of a loss that takes a softmax of the logits, every row sums to 0: what raises one logit lowers
    others.

    Args:
        loss: of logits and target, a scalar; called once.
        logits: (N, C, ...), floating point; they are detached, float16 and bfloat16 are taken as float32.
        target: (N, ...) class indices in [0, C).
        ignore_index: class index that belongs to no row; the loss has to leave it out by itself.

    Returns:
        (C, C) float64; a row of zeros for a class without samples.

    Raises:
        TypeError: soft labels, which belong to no class alone.
        ValueError: shapes that do not belong together, labels outside [0, C), or a loss that is no scalar with a
            gradient.

    Example:
        >>> import torch.nn.functional as F
        >>> logits = torch.tensor([[0.0, 0.0], [0.0, 0.0], [0.0, 0.0]])
        >>> gradient_by_class(lambda x, y: F.cross_entropy(x, y, reduction='sum'), logits, torch.tensor([0, 1, 1]))
        tensor([[-0.5000,  0.5000],
                [ 1.0000, -1.0000]], dtype=torch.float64)
    """
    check_class_indices(target)
    check_shapes(logits, target)
    num_classes = logits.shape[1]
    check_labels(target, num_classes, ignore_index)
    leaf = full_precision(logits.detach()).requires_grad_()
    with torch.enable_grad():
        value = loss(leaf, target)
    if not isinstance(value, Tensor) or value.numel() != 1 or not value.requires_grad:
        found = f'shape {tuple(value.shape)}' if isinstance(value, Tensor) else type(value).__name__
        raise ValueError(f'loss must return one number with a gradient, got {found}; take reduction mean or sum')
    (gradient,) = torch.autograd.grad(value, leaf)
    bins = labels_with_ignore_bin(target, num_classes, ignore_index)
    total = torch.zeros(num_classes + 1, num_classes, dtype=torch.float64, device=gradient.device)
    samples = gradient.movedim(1, -1).reshape(-1, num_classes).double()
    return total.index_add_(0, bins.flatten(), samples)[:num_classes]


def class_pushes(gradient: Tensor) -> ClassPushes:
    """The two terms of equation 8 (section III-B) for every class, as pushes on its logit.

    recall_k = -G[k, k] and precision_k = sum over c != k of G[c, k]; the whole gradient of z_k is precision_k -
    recall_k. Where every row of G sums to 0, all recall pushes together are as strong as all precision pushes. Neither
    is negative for a cross entropy with class weights; a region loss may even raise a class in samples of another.

    Args:
        gradient: (C, C), of `gradient_by_class`.

    Raises:
        ValueError: it is not square.

    Example:
        >>> class_pushes(torch.tensor([[-0.5, 0.5], [1.0, -1.0]]))
        ClassPushes(recall=tensor([0.5000, 1.0000]), precision=tensor([1.0000, 0.5000]))
    """
    if gradient.ndim != 2 or gradient.shape[0] != gradient.shape[1]:
        raise ValueError(f'gradient has shape {tuple(gradient.shape)}; give the (C, C) of gradient_by_class')
    own = gradient.diagonal()
    return ClassPushes(recall=-own, precision=gradient.sum(dim=0) - own)
