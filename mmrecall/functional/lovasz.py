"""Lovasz-softmax loss: a convex surrogate of the IoU."""

from collections.abc import Iterator

import torch
from torch import Tensor

from .batch import Batch, Sums, divide_loss, mean_over_classes
from .statistics import full_precision, labels_with_ignore_bin, widest_float
from .validation import AVERAGED_CLASSES, check_choice, check_class_indices, check_flag, check_labels
from .weighted import given_weights

# scores that are sorted together
_BLOCK = 2**20


def lovasz_softmax_loss(
    logits: Tensor,
    target: Tensor,
    *,
    ignore_index: int = -100,
    sample_weight: Tensor | None = None,
    per_image: bool = False,
    classes: str = 'present',
    class_weight: Tensor | None = None,
    reduction: str = 'mean',
) -> Tensor:
    """Compute the Lovasz-softmax loss: the mean over classes of the Lovasz extension of the Jaccard loss.

    Berman et al., CVPR 2018, equations 8 and 9 and algorithm 1: the errors ``|1[y_n = c] - p_n(c)|`` of class c, in
    descending order, each times the growth of 1 - IoU when that sample becomes wrong too. With class weights w it is
    the weighted mean, sum of w_c l_c / sum of w_c over the classes that are averaged.

    Args:
        logits: (N, C, ...) scores before the softmax. float16 and bfloat16 are computed in float32.
        target: (N, ...) class indices in [0, C). The loss is not defined for soft labels.
        ignore_index: class index that is left out.
        sample_weight: (N, ...) factors of each sample's share; they change neither order nor IoU.
        per_image: one loss for every image, averaged over the images that have a label; else one for the batch.
        classes: ``'present'``: the mean over the classes with labels (in the image); ``'all'``: over all C, where an
            absent class costs its highest probability.
        class_weight: (C,) weights of the classes, at least 0; ones if left out.
        reduction: ``'mean'``; ``'sum'`` over classes (and images); ``'none'``: (C,), or (N, C) with ``per_image``, 0
            for a class that is left out. ``'sum'`` and ``'none'`` are of w_c l_c, and divide by nothing.

    Returns:
        A scalar, or the losses; float64 if the logits are, else float32. 0 if nothing is labelled. An image whose
        classes all weigh 0 has the loss 0.

    Raises:
        TypeError: logits that are not floating point, labels that are not integers.
        ValueError: shapes that do not belong together, a single channel, labels outside [0, C), unknown names,
            negative weights.

    Example:
        >>> import torch
        >>> logits = torch.tensor([[2.0, 0.0], [3.0, 1.0], [0.0, 1.0], [0.0, 5.0]])
        >>> target = torch.tensor([0, 1, 1, 255])
        >>> lovasz_softmax_loss(logits, target, ignore_index=255, reduction='none')
        tensor([0.5250, 0.5749])
        >>> lovasz_softmax_loss(logits, target, ignore_index=255, class_weight=torch.tensor([1.0, 3.0]))
        tensor(0.5624)
    """
    check_choice('classes', classes, AVERAGED_CLASSES)
    check_flag('per_image', per_image)
    check_class_indices(target)
    batch = Batch(logits, target, ignore_index, sample_weight, reduction)
    batch.check()
    check_labels(target, batch.logits.shape[1], ignore_index)
    weights = given_weights(class_weight, batch)
    return compute(update(batch, per_image, classes), weights, batch, per_image)


def update(batch: Batch, per_image: bool, classes: str) -> Sums:
    """Compute the losses (G, C) of each group, an image or the batch, and whether the class counts there; no checks."""
    losses, is_counted = _group_by_class_losses(batch, per_image, classes)
    return Sums((losses, is_counted), num_samples=is_counted.any(dim=1).sum().to(widest_float(is_counted.device)))


def compute(sums: Sums, weights: Tensor, batch: Batch, per_image: bool) -> Tensor:
    """Compute the mean over the classes and groups that count, with (C,) class weights."""
    losses: Tensor
    losses, is_counted = sums.losses
    if batch.reduction == 'mean':
        return divide_loss(mean_over_classes(losses, weights, is_counted).sum(), sums.num_samples)
    losses = weights.to(losses.dtype) * losses
    if batch.reduction == 'sum':
        return losses.sum()
    return losses if per_image else losses[0]


def _group_by_class_losses(batch: Batch, per_image: bool, classes: str) -> tuple[Tensor, Tensor]:
    logits, target, ignore_index, sample_weight, *_ = batch
    num_classes = logits.shape[1]
    # a trailing dimension, so that a batch of vectors has samples too
    probability = full_precision(logits).softmax(dim=1).unsqueeze(-1).flatten(2)
    labels = labels_with_ignore_bin(target, num_classes, ignore_index).unsqueeze(-1).flatten(1)
    share = None if sample_weight is None else sample_weight.unsqueeze(-1).flatten(1)
    if not per_image:
        probability = probability.movedim(1, 0).flatten(1).unsqueeze(0)
        labels = labels.flatten().unsqueeze(0)
        share = None if share is None else share.flatten().unsqueeze(0)
    groups = [_group_losses(probability[g], labels[g], None if share is None else share[g]) for g in range(len(labels))]
    if not groups:
        nothing = full_precision(logits).sum() * logits.new_zeros(0, num_classes)
        return nothing, nothing.bool()
    losses, support = (torch.stack(parts) for parts in zip(*groups, strict=True))
    # a group without labels has no loss, not even for absent classes
    is_counted = support > 0 if classes == 'present' else (support.sum(dim=1, keepdim=True) > 0).expand_as(support)
    return torch.where(is_counted, losses, 0), is_counted


def _group_losses(probability: Tensor, labels: Tensor, share: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return (C,) Lovasz extensions and supports for probabilities (C, P) and labels (P,), C where ignored."""
    num_classes = len(probability)
    valid = labels < num_classes
    losses, supports = [], []
    for block in _class_blocks(probability):
        is_target = labels == torch.arange(block.start, block.stop, device=labels.device).unsqueeze(1)
        # an ignored sample's error of 0 comes after all that matter
        errors = torch.where(valid, torch.where(is_target, 1 - probability[block], probability[block]), 0)
        order = errors.detach().argsort(dim=1, descending=True)
        growth = _jaccard_growth(is_target.gather(1, order)).to(errors.dtype)
        if share is not None:
            errors = torch.where(valid, errors * share.to(errors.dtype), 0)
        total = (errors.gather(1, order) * growth).sum(dim=1, dtype=widest_float(errors.device))
        losses.append(total.to(errors.dtype))
        supports.append(is_target.sum(dim=1))
    return torch.cat(losses), torch.cat(supports)


def _class_blocks(probability: Tensor) -> Iterator[slice]:
    """Yield slices of a few classes, because sorting all of a large map at once takes seventeen times its memory."""
    num_classes, num_samples = probability.shape
    size = max(1, _BLOCK // max(num_samples, 1))
    return (slice(start, min(start + size, num_classes)) for start in range(0, num_classes, size))


def _jaccard_growth(is_target: Tensor) -> Tensor:
    """Return by how much 1 - IoU grows with each further error, for (B, P) sorted flags of the class's samples.

    It is computed in closed form of integers, because the difference of two neighbouring IoUs in float32 is mostly
    rounding.
    """
    support = is_target.sum(dim=1, keepdim=True)
    wrong = is_target.cumsum(dim=1)
    union = (support - wrong + torch.arange(1, is_target.shape[1] + 1, device=is_target.device)).to(
        widest_float(is_target.device)
    )
    # a sample of the class shrinks the intersection by one, a foreign one grows the union by one
    foreign = (support - wrong) / (union * (union - 1).clamp(min=1))
    growth = torch.where(is_target, 1 / union, foreign)
    # without samples of the class the first error takes the IoU from 1 to 0
    growth[:, :1] = torch.where(support > 0, growth[:, :1], 1)
    return growth
