"""Cross entropy weighted by the false-negative rate of every class."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from mmrecall.functional.class_losses import accumulate_classes
from mmrecall.functional.recall import check_weighting, class_recall, recall_weights
from mmrecall.functional.statistics import ClassStatistics, count_largest_mass, full_precision_of
from mmrecall.functional.validation import check_finite, is_soft
from mmrecall.models.losses.base import Batch, Measured
from mmrecall.models.losses.class_weight import (
    ClassWeight,
    DeviceTensor,
    class_factors,
    class_weight_tensor,
    number_of_classes,
)
from mmrecall.models.losses.class_weighted import ClassWeightedLoss
from mmrecall.models.losses.ranks import BatchSummary
from mmrecall.registry import MODELS, register


@register(MODELS)
class RecallLoss(ClassWeightedLoss):
    """Recall loss: cross entropy whose class weights are the present false-negative rates, 1 - R_c = FN_c / N_c.

    loss = -sum over n of (1 - R_y(n)) log p_n(y_n), equation 5 of Tian et al., "Striking the Right Balance: Recall
    Loss for Semantic Segmentation", ICRA 2022. The weights carry no gradient; classes absent from the batch
    contribute nothing. Across ranks, counts are summed before the recall is taken.

    With ``alpha < 1`` the recall is a running mean, R~ = alpha R + (1 - alpha) R~, moved only for the classes that
    are present and only in training, starting from R~ = 0 (plain cross entropy); the loss uses it after the update.
    For batches much smaller than the number of classes: the authors took 0.9 for Places-LT and 0.001 for
    iNaturalist 2018, where a class with two images gets no further than R~ = 0.17 in 90 epochs.

    Args:
        alpha: weight of the new recall in the running mean, 0 < alpha <= 1. 1 is the recall of the batch alone.
        num_classes: C; needed for ``alpha < 1``.
        metric: ``'recall'``, or for ablations another of `mmrecall.functional.recall_weights`; only for ``alpha=1``.
        tversky_weights: weights of false positives and false negatives for ``metric='tversky'``.
        fn_floor: at least so many false negatives per present class; 1 is the authors' code. Only for ``alpha=1``.
        class_weight: factors on top: one per class, a dict of class index or name to factor (others are 1), or a file
            with either.
        common: ``normalizer`` and ``classes`` of `ClassWeightedLoss`, and those of `SoftmaxLoss`.

    Raises:
        ValueError: arguments that do not belong together; in forward, see `SoftmaxLoss`.

    Example:
        >>> import torch
        >>> logits = torch.tensor([[2.0, 0.0], [3.0, 1.0], [0.0, 1.0], [0.0, 5.0]])
        >>> target = torch.tensor([0, 1, 1, 255])
        >>> RecallLoss()(logits, target, ignore_index=255)
        tensor(0.4067)
        >>> running = RecallLoss(alpha=0.5, num_classes=2)
        >>> running(logits, target, ignore_index=255), running.recall
        (tensor(0.6312), tensor([0.5000, 0.2500]))
    """

    # checkpointed; equal on all ranks without a broadcast, because every rank moves it by the global counts
    recall: Tensor | None

    def __init__(
        self,
        alpha: float = 1.0,
        num_classes: int | None = None,
        metric: str = 'recall',
        tversky_weights: tuple[float, float] = (0.5, 0.5),
        fn_floor: float = 0.0,
        class_weight: ClassWeight | None = None,
        loss_name: str = 'loss_recall',
        **common: Any,
    ) -> None:
        super().__init__(num_classes=num_classes, loss_name=loss_name, **common)
        self._resolved = class_factors(class_weight)
        if self.num_classes is None:
            self.num_classes = number_of_classes(self._resolved)
        self._check_alpha(alpha, metric, fn_floor)
        check_weighting(metric, fn_floor, tversky_weights)
        self.alpha = alpha
        self.metric = metric
        self.tversky_weights = tversky_weights
        self.fn_floor = fn_floor
        self._needs_predictions = metric != 'recall'
        self.num_counts = 3 if self._needs_predictions or alpha < 1 else 2
        self.class_weight = class_weight
        self._factors = DeviceTensor()
        self.register_buffer('recall', torch.zeros(self.num_classes) if alpha < 1 else None)
        if self.num_classes is not None and class_weight is not None:
            class_weight_tensor(self._resolved, self.num_classes, self.classes)

    def _check_alpha(self, alpha: float, metric: str, fn_floor: float) -> None:
        check_finite('alpha', alpha)
        if not 0 < alpha <= 1:
            raise ValueError(f'alpha is {alpha}; it must be above 0 and at most 1 (the recall of the batch alone)')
        if alpha == 1:
            return
        if self.num_classes is None:
            raise ValueError(f'alpha={alpha} keeps a recall per class: set num_classes')
        if metric != 'recall' or fn_floor > 0:
            raise ValueError(f'alpha={alpha} averages the recall itself: leave out metric={metric!r}, {fn_floor=}')

    def _check(self, batch: Batch, spanning: bool) -> None:
        super()._check(batch, spanning)
        self._class_factors(batch)

    def _counts(self, statistics: ClassStatistics, batch: Batch) -> tuple[Tensor, ...]:
        support, predicted, true_positives = statistics
        if self.recall is None:
            return (support, true_positives, predicted) if self._needs_predictions else (support, true_positives)
        # the running recall needs to know who is present, and nobody's false positives
        present = support
        if is_soft(batch.target):
            present = count_largest_mass(batch.target, batch.logits.shape[1])
        return support, true_positives, present

    def _measure(self, batch: Batch, reduction: str) -> Measured:
        measured = super()._measure(batch, reduction)
        if self.recall is None:
            return measured
        loss_sum = measured.terms
        if reduction == 'none':
            loss_sum = accumulate_classes(loss_sum.detach(), *batch[1:4], predicted=False)[1]
        return measured._replace(poison=loss_sum.detach().sum() * 0)

    def _class_weights(self, batch: Batch, summary: BatchSummary, training_step: bool) -> Tensor:
        if self.recall is None:
            support, true_positives, *others = summary.counts
            statistics = ClassStatistics(support, others[0] if others else None, true_positives)
            weights = recall_weights(statistics, self.metric, self.fn_floor, self.tversky_weights)
        else:
            if training_step:
                self._move_recall(summary)
            weights = 1 - self.recall.to(full_precision_of(batch.logits.dtype))
        factors = self._class_factors(batch)
        return weights if factors is None else weights * factors

    def _move_recall(self, summary: BatchSummary) -> None:
        support, true_positives, present = summary.counts
        batch_recall = class_recall(ClassStatistics(support, None, true_positives)).to(self.recall)
        # false for NaN too
        usable = summary.poison + summary.invalid_labels + summary.failures == 0
        self.recall.lerp_(batch_recall, ((present > 0) * (self.alpha * usable)).to(self.recall))

    def _class_factors(self, batch: Batch) -> Tensor | None:
        if self.class_weight is None:
            return None
        num_classes = batch.logits.shape[1]
        return self._factors.get(
            (num_classes,),
            batch.logits.device,
            lambda: class_weight_tensor(self._resolved, num_classes, self.classes),
        )

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> 'RecallLoss':
        # a step of alpha=0.001 is lost in float16: the buffer follows the device, never the dtype
        kept = self.recall
        super()._apply(fn, recurse)
        if kept is not None and kept.dtype != self.recall.dtype:
            self.recall = kept.to(self.recall.device)
        return self

    def extra_repr(self) -> str:
        """What `print` shows of the loss."""
        return f'alpha={self.alpha}, metric={self.metric!r}, {super().extra_repr()}'
