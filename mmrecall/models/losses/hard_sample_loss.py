"""Losses that look for hard samples."""

from typing import Any

from torch import Tensor

from mmrecall.functional.hard_samples import (
    check_focal,
    check_keep_ratio,
    focal_losses,
    hardest_losses,
    sum_losses,
)
from mmrecall.functional.weighted import count_samples, divide_loss
from mmrecall.models.losses.base import Batch, Measured, SoftmaxLoss, num_samples_of
from mmrecall.models.losses.ranks import BatchSummary
from mmrecall.registry import MODELS, register


class SampleLoss(SoftmaxLoss):
    """Base of the losses that are a sum over samples."""

    def _combine(
        self, terms: Tensor, batch: Batch, summary: BatchSummary, reduction: str, training_step: bool, num_ranks: int
    ) -> Tensor:
        if reduction == 'none':
            return terms
        total = sum_losses(terms)
        return total if reduction == 'sum' else divide_loss(total, summary.num_samples)


@register(MODELS)
class SoftmaxFocalLoss(SampleLoss):
    """Focal loss over a softmax: -sum over n of (1 - p_n(y_n))^gamma log p_n(y_n).

    Lin et al., ICCV 2017, in the multi-class form of the recall-loss paper (section IV-D, where gamma is 1). gamma = 0
    is cross entropy.

    Args:
        gamma: at least 0; the larger, the less an easy sample counts.
        normalizer: what ``'mean'`` divides by: ``'valid'`` samples, or ``'all'`` samples, for which ``avg_factor``
            stands in if it is passed; summed over ranks.
        common: see `SoftmaxLoss`.

    Raises:
        ValueError: arguments that do not belong together; in forward, see `SoftmaxLoss`.

    Example:
        >>> import torch
        >>> logits = torch.tensor([[2.0, 0.0], [3.0, 1.0], [0.0, 1.0], [0.0, 5.0]])
        >>> SoftmaxFocalLoss()(logits, torch.tensor([0, 1, 1, 255]), ignore_index=255)
        tensor(0.5582)
    """

    def __init__(
        self, gamma: float = 2.0, normalizer: str = 'valid', loss_name: str = 'loss_focal', **common: Any
    ) -> None:
        super().__init__(loss_name=loss_name, **common)
        check_focal(gamma, normalizer)
        self.gamma = gamma
        self.normalizer = normalizer

    def _measure(self, batch: Batch, reduction: str) -> Measured:
        logits, target, ignore_index, sample_weight, _ = batch
        counted = count_samples(target, logits.shape[1], ignore_index, self.normalizer)
        losses = focal_losses(logits, target, self.gamma, ignore_index, sample_weight)
        return Measured(losses, num_samples_of(batch, counted, self.normalizer))

    def extra_repr(self) -> str:
        """What `print` shows of the loss."""
        return f'gamma={self.gamma}, normalizer={self.normalizer!r}, sync={self.sync}'


@register(MODELS)
class TopKCrossEntropyLoss(SampleLoss):
    """Cross entropy of the hardest samples (OHEM): the floor(keep_ratio x valid) with the highest cross entropy.

    Shrivastava et al., CVPR 2016; the recall-loss paper keeps 70 %. The mean is over the samples that are kept, on all
    ranks. Which are kept is decided on every rank among its own samples: to rank them globally, every loss of every
    sample would have to cross ranks. ``avg_factor`` is not used.

    Args:
        keep_ratio: share of the valid samples that is kept, above 0 and at most 1 (cross entropy). Rounded down, so
            of very few samples none may be kept, and the loss is 0.
        common: see `SoftmaxLoss`.

    Raises:
        ValueError: arguments that do not belong together; in forward, see `SoftmaxLoss`.

    Example:
        >>> import torch
        >>> logits = torch.tensor([[2.0, 0.0], [3.0, 1.0], [0.0, 1.0], [0.0, 5.0]])
        >>> TopKCrossEntropyLoss()(logits, torch.tensor([0, 1, 1, 255]), ignore_index=255)  # two of three
        tensor(1.2201)
    """

    def __init__(self, keep_ratio: float = 0.7, loss_name: str = 'loss_ohem', **common: Any) -> None:
        super().__init__(loss_name=loss_name, **common)
        check_keep_ratio(keep_ratio)
        self.keep_ratio = keep_ratio

    def _measure(self, batch: Batch, reduction: str) -> Measured:
        logits, target, ignore_index, sample_weight, _ = batch
        return Measured(*hardest_losses(logits, target, self.keep_ratio, ignore_index, sample_weight))

    def extra_repr(self) -> str:
        """What `print` shows of the loss."""
        return f'keep_ratio={self.keep_ratio}, sync={self.sync}'
