"""Losses that look for hard samples."""

from typing import Any

from torch import Tensor

from mmrecall.functional.batch import Batch, Sums, compute_from_samples
from mmrecall.functional.hard_samples import (
    check_focal,
    check_keep_ratio,
    focal_update,
    hardest_update,
    sum_focal_weights,
)
from mmrecall.functional.statistics import ClassStatistics

from .base import BaseLoss


class SoftmaxFocalLoss(BaseLoss):
    """Focal loss over a softmax: -sum over n of (1 - p_n(y_n))^gamma log p_n(y_n).

    Lin et al., ICCV 2017, in the multi-class form of the recall-loss paper (section IV-D, where gamma is 1). gamma = 0
    is cross entropy.

    Args:
        gamma: at least 0; the larger, the less an easy sample counts.
        normalizer: what ``'mean'`` divides by: ``'valid'`` samples, or ``'all'`` samples, for which ``avg_factor``
            stands in if it is passed; summed over ranks.
        common: see `BaseLoss`.

    Raises:
        ValueError: arguments that do not belong together; in forward, see `BaseLoss`.

    Example:
        >>> import torch
        >>> logits = torch.tensor([[2.0, 0.0], [3.0, 1.0], [0.0, 1.0], [0.0, 5.0]])
        >>> SoftmaxFocalLoss()(logits, torch.tensor([0, 1, 1, 255]), ignore_index=255)
        tensor(0.5582)
    """

    num_counts = 0

    def __init__(
        self, gamma: float = 2.0, normalizer: str = 'valid', loss_name: str = 'loss_focal', **common: Any
    ) -> None:
        super().__init__(loss_name=loss_name, **common)
        check_focal(gamma, normalizer)
        self.gamma = gamma
        self.normalizer = normalizer

    def update(self, batch: Batch) -> Sums:
        """See `mmrecall.functional.softmax_focal_loss`."""
        return focal_update(batch, self.gamma, self.normalizer)

    def compute(self, sums: Sums, batch: Batch) -> Tensor:
        """Reduce the losses of the samples."""
        return compute_from_samples(sums, batch.reduction)

    def class_weights(self, statistics: ClassStatistics, sample_weight_sums: Tensor | None = None) -> Tensor | None:
        """Return the mean focal weight (1 - p)^gamma of the samples of every class, (C,)."""
        support = statistics.support
        return None if sample_weight_sums is None else sample_weight_sums / support.where(support > 0, 1)

    def sum_sample_weights(self, logits: Tensor, target: Tensor, ignore_index: int) -> Tensor:
        """Return the (C,) sums of (1 - p)^gamma over the samples of every class."""
        return sum_focal_weights(logits, target, self.gamma, ignore_index)

    def extra_repr(self) -> str:
        """Return what `print` shows of the loss."""
        return f'gamma={self.gamma}, normalizer={self.normalizer!r}, sync={self.sync}'


class OHEMCrossEntropyLoss(BaseLoss):
    """Cross entropy of the hardest samples (OHEM): the floor(keep_ratio x valid) with the highest cross entropy.

    Shrivastava et al., CVPR 2016; the recall-loss paper keeps 70 %. The mean is over the samples that are kept, on all
    ranks. Which are kept is decided on every rank among its own samples: to rank them globally, every loss of every
    sample would have to cross ranks. ``avg_factor`` is not used.

    Args:
        keep_ratio: share of the valid samples that is kept, above 0 and at most 1 (cross entropy). Rounded down, so
            of very few samples none may be kept, and the loss is 0.
        common: see `BaseLoss`.

    Raises:
        ValueError: arguments that do not belong together; in forward, see `BaseLoss`.

    Example:
        >>> import torch
        >>> logits = torch.tensor([[2.0, 0.0], [3.0, 1.0], [0.0, 1.0], [0.0, 5.0]])
        >>> OHEMCrossEntropyLoss()(logits, torch.tensor([0, 1, 1, 255]), ignore_index=255)  # two of three
        tensor(1.2201)
    """

    num_counts = 0

    def __init__(self, keep_ratio: float = 0.7, loss_name: str = 'loss_ohem', **common: Any) -> None:
        super().__init__(loss_name=loss_name, **common)
        check_keep_ratio(keep_ratio)
        self.keep_ratio = keep_ratio

    def update(self, batch: Batch) -> Sums:
        """See `mmrecall.functional.top_k_cross_entropy`."""
        return hardest_update(batch, self.keep_ratio)

    def compute(self, sums: Sums, batch: Batch) -> Tensor:
        """Reduce the losses of the samples."""
        return compute_from_samples(sums, batch.reduction)

    def extra_repr(self) -> str:
        """Return what `print` shows of the loss."""
        return f'keep_ratio={self.keep_ratio}, sync={self.sync}'
