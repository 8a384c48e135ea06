"""The gradient of a loss with respect to the logits, by class."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from mmrecall.functional.statistics import full_precision, labels_with_ignore_bin
from mmrecall.functional.validation import check_class_indices, check_labels, check_shapes


class ClassGradients(NamedTuple):
    """Positive and negative gradient of every class, (C,) float64 each."""

    positive: Tensor
    """From the samples labelled with the class; gradient descent raises its logit by it."""
    negative: Tensor
    """From the samples of all other classes; gradient descent lowers the logit of the class by it."""


def gradient_by_class(
    loss: Callable[[Tensor, Tensor], Tensor], logits: Tensor, target: Tensor, ignore_index: int = -100
) -> Tensor:
    """Compute the gradient of a loss with respect to the logits, summed by label and channel.

    G[c, k] is the sum of dL/dz_n,k over the samples n labelled c. For the recall loss (``reduction='sum'``) and C
    classes, these are the terms of equation 8 of Tian et al., "Striking the Right Balance: Recall Loss for Semantic
    Segmentation", ICRA 2022 (section III-B):

        G[k, k] = FN_k (P_k^(k) - 1),    G[c, k] = FN_c P_k^(c)

    where P_k^(c) is the mean probability of class k over the samples labelled c. For cross entropy, N_c takes the place
    of FN_c. For a loss that takes a softmax of the logits, every row sums to 0.

    Args:
        loss: function of logits and target that returns a scalar; it is called once.
        logits: (N, C, ...), floating point; they are detached, and float16 and bfloat16 are converted to float32.
        target: (N, ...) class indices in [0, C).
        ignore_index: class index that belongs to no row; the loss has to ignore it too.

    Returns:
        (C, C) float64; a row of zeros for a class without samples.

    Raises:
        TypeError: soft labels, which belong to several classes.
        ValueError: shapes that do not match, labels outside [0, C), or a loss that is no scalar with a gradient.

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
        raise ValueError(
            f"got {found} from the loss; expected one number with a gradient; set reduction='mean' or 'sum'"
        )
    (gradient,) = torch.autograd.grad(value, leaf)
    bins = labels_with_ignore_bin(target, num_classes, ignore_index)
    total = torch.zeros(num_classes + 1, num_classes, dtype=torch.float64, device=gradient.device)
    samples = gradient.movedim(1, -1).reshape(-1, num_classes).double()
    return total.index_add_(0, bins.flatten(), samples)[:num_classes]


def class_gradients(gradient: Tensor) -> ClassGradients:
    """Compute the two terms of equation 8 for every class from the matrix of `gradient_by_class`.

    positive_k = -G[k, k] and negative_k = sum over c != k of G[c, k], so negative_k - positive_k is the whole gradient
    of z_k. Where every row of G sums to 0, the sum of all positive gradients equals that of all negative ones. Neither
    term is below 0 for a cross entropy with class weights; a region loss may raise a class in samples of another.

    Args:
        gradient: (C, C), of `gradient_by_class`.

    Raises:
        ValueError: a gradient that is not square.

    Example:
        >>> class_gradients(torch.tensor([[-0.5, 0.5], [1.0, -1.0]]))
        ClassGradients(positive=tensor([0.5000, 1.0000]), negative=tensor([1.0000, 0.5000]))
    """
    if gradient.ndim != 2 or gradient.shape[0] != gradient.shape[1]:
        raise ValueError(f'got gradient of shape {tuple(gradient.shape)}; expected the (C, C) of gradient_by_class')
    diagonal = gradient.diagonal()
    return ClassGradients(positive=-diagonal, negative=gradient.sum(dim=0) - diagonal)
