"""What the class-weighted cross entropies share."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from mmrecall.functional.class_losses import accumulate_classes
from mmrecall.functional.shift import LogitShift
from mmrecall.functional.statistics import ClassStatistics, count_classes, sample_losses
from mmrecall.functional.validation import NORMALIZERS, check_choice, check_integer, is_soft
from mmrecall.functional.weighted import count_samples, mean_divisor, reciprocal, weigh_class_losses
from mmrecall.models.losses.base import Batch, Measured, SoftmaxLoss, num_samples_of
from mmrecall.models.losses.ranks import BatchSummary


class ClassWeightedLoss(SoftmaxLoss):
    """Base of the cross entropies with a weight per class: (weights * summed losses).sum() / divisor.

    Args:
        normalizer: what ``'mean'`` divides by: ``'valid'`` samples; ``'all'`` samples, ignored ones too (mmseg's
            default, and the authors' code), for which ``avg_factor`` stands in if it is passed; ``'weight'``, the
            sum of the class weights over the valid samples (PyTorch's weighted mean of class indices).
        classes: the class names in order, for weights by name.
        common: see `SoftmaxLoss`.
    """

    num_counts = 1
    # whether the weights depend on how often each class is predicted, which costs a pass over the logits
    _needs_predictions = False

    def __init__(
        self,
        normalizer: str = 'valid',
        classes: Sequence[str] | None = None,
        num_classes: int | None = None,
        **common: Any,
    ) -> None:
        super().__init__(_number_of_classes(num_classes, classes), **common)
        check_choice('normalizer', normalizer, NORMALIZERS)
        self.normalizer = normalizer
        self.classes = classes

    def _class_weights(self, batch: Batch, summary: BatchSummary, training_step: bool) -> Tensor:
        """(C,) weights of the global batch."""
        raise NotImplementedError

    @torch.no_grad()
    def present_weights(self, statistics: ClassStatistics) -> Tensor:
        """The class weights of a batch with these counts, as the loss is now; no state moves.

        Args:
            statistics: of the whole batch, on all ranks, with predictions.

        Returns:
            (C,), not normalised; of a class without support it means nothing.

        Example:
            >>> from mmrecall.models.losses import RecallLoss
            >>> counts = ClassStatistics(torch.tensor([8, 2]), torch.tensor([9, 1]), torch.tensor([6, 1]))
            >>> RecallLoss().present_weights(counts)
            tensor([0.2500, 0.5000], dtype=torch.float64)
        """
        support = statistics.support
        logits, target = (
            support.new_zeros(0, len(support), dtype=torch.float32),
            support.new_zeros(0, dtype=torch.int64),
        )
        nobody = Batch(logits, target, -100, None, None)
        zero = support.new_zeros((), dtype=torch.float64)
        counts = tuple(count.double() for count in self._counts(statistics, nobody))
        return self._class_weights(nobody, BatchSummary(counts, zero, zero, zero, zero), training_step=False)

    def _shift(self, batch: Batch) -> LogitShift | None:
        """What is done to the logits of which the cross entropy is taken."""
        return None

    def _counts(self, statistics: ClassStatistics, batch: Batch) -> tuple[Tensor, ...]:
        """What of the statistics crosses ranks, ``num_counts`` of them; the first is the support."""
        return (statistics.support,)

    def _measure(self, batch: Batch, reduction: str) -> Measured:
        logits, target, ignore_index, sample_weight, _ = batch
        shift = self._shift(batch)
        if reduction == 'none':
            terms = logits if shift is None else shift.apply(logits, target, ignore_index)
            statistics = count_classes(terms, target, ignore_index)
        else:
            statistics, terms = accumulate_classes(
                logits, target, ignore_index, sample_weight, self._needs_predictions, shift
            )
        num_valid = None if is_soft(target) else statistics.support.sum()
        counted = count_samples(target, logits.shape[1], ignore_index, self.normalizer, num_valid)
        num_samples = num_samples_of(batch, counted, self.normalizer)
        return Measured(terms, num_samples, self._counts(statistics, batch), num_valid)

    def _combine(
        self, terms: Tensor, batch: Batch, summary: BatchSummary, reduction: str, training_step: bool, num_ranks: int
    ) -> Tensor:
        weights = self._class_weights(batch, summary, training_step)
        if reduction == 'mean':
            divisor = mean_divisor(summary.num_samples, summary.counts[0], weights, self.normalizer)
            weights = weights * reciprocal(divisor)
        if reduction == 'none':
            return sample_losses(terms, batch.target, weights, batch.ignore_index, batch.sample_weight)
        return weigh_class_losses(terms, weights)

    def extra_repr(self) -> str:
        """What `print` shows of the loss."""
        return f'normalizer={self.normalizer!r}, sync={self.sync}'


def _number_of_classes(num_classes: int | None, classes: Sequence[str] | None) -> int | None:
    if classes is None:
        return num_classes
    if not isinstance(classes, (list, tuple)) or not all(isinstance(name, str) for name in classes):
        raise TypeError(f'classes is {classes!r}; it must be a list of the class names in order')
    if num_classes is not None:
        check_integer('num_classes', num_classes)
        if num_classes != len(classes):
            raise ValueError(f'num_classes={num_classes}, but `classes` has {len(classes)} names')
    return len(classes)
