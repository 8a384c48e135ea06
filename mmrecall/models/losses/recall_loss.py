"""Cross entropy weighted by the false-negative rate of every class."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mmrecall.functional.recall import (
    check_weighting,
    count_samples,
    divide_loss,
    mean_divisor,
    recall_weights,
)
from mmrecall.functional.statistics import (
    ClassStatistics,
    accumulate_classes,
    count_largest_mass,
    sample_losses,
)
from mmrecall.functional.validation import (
    NORMALIZERS,
    REDUCTIONS,
    check_choice,
    check_shapes,
    count_invalid_labels,
    is_soft,
)
from mmrecall.models.losses.class_weight import ClassWeight, class_weight_tensor
from mmrecall.models.losses.ranks import BatchSummary, LabelCheck, announce_failure, spans_ranks, sum_over_ranks
from mmrecall.registry import MODELS, register


@register(MODELS)
class RecallLoss(nn.Module):
    """Recall loss: cross entropy whose class weights are the present false-negative rates, 1 - R_c = FN_c / N_c.

    loss = -sum over n of (1 - R_y(n)) log p_n(y_n), equation 5 of Tian et al., "Striking the Right Balance: Recall
    Loss for Semantic Segmentation", ICRA 2022. The weights carry no gradient; classes absent from the batch
    contribute nothing. For segmentation (N, C, H, W) and classification (N, C) alike.

    With ``alpha < 1`` the recall is a running mean, R~ = alpha R + (1 - alpha) R~, moved only for the classes that
    are present and only in training, starting from R~ = 0 (plain cross entropy); the loss uses it after the update.
    For batches much smaller than the number of classes: the authors took 0.9 for Places-LT and 0.001 for
    iNaturalist 2018, where a class with two images gets no further than R~ = 0.17 in 90 epochs.

    Across ranks, counts are summed before the recall is taken and the divisor is the global one; a rank returns
    world_size x its sum / global divisor, so that the gradient which DistributedDataParallel averages is that of one
    process with the whole batch. With gradient accumulation every forward pass is a batch of its own.

    Args:
        alpha: weight of the new recall in the running mean, 0 < alpha <= 1. 1 is the recall of the batch alone.
        num_classes: C; needed for ``alpha < 1``.
        metric: ``'recall'``, or for ablations another of `mmrecall.functional.recall_weights`; only for ``alpha=1``.
        tversky_weights: weights of false positives and false negatives for ``metric='tversky'``.
        fn_floor: at least so many false negatives per present class; 1 is the authors' code. Only for ``alpha=1``.
        normalizer: what ``'mean'`` divides by: ``'valid'`` samples; ``'all'`` samples, ignored ones too (mmseg's
            default, and the authors' code), for which ``avg_factor`` stands in if it is passed; ``'weight'``, the
            sum of the class weights over the valid samples.
        class_weight: factors on top: one per class, or a dict of class index or name to factor (others are 1).
        classes: the class names in order, for a ``class_weight`` by name.
        reduction: ``'mean'``, ``'sum'`` or ``'none'``.
        loss_weight: factor of the whole loss.
        loss_name: name in mmseg's log; begins with ``loss_``.
        sync: sum over all ranks in training. If False, each rank has its own recall and divisor.

    Shape:
        - logits: (N, C, ...), floating point.
        - target: (N, ...) integers in [0, C) or ignored, or (N, C, ...) floating-point soft labels, at least 0.
        - output: a scalar, or (N, ...) for ``reduction='none'`` (never scaled by the number of ranks).

    Raises:
        ValueError: arguments that do not belong together. In forward: shapes that do not belong together, labels
            outside [0, C). All ranks raise together. In training on a GPU, bad labels are reported one call late, and
            so is to its peers that a rank refused its arguments, unless the launcher ends them before.
        TypeError: in forward, integer logits, labels that are neither integers nor floating point.

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
        normalizer: str = 'valid',
        class_weight: ClassWeight | None = None,
        classes: Sequence[str] | None = None,
        reduction: str = 'mean',
        loss_weight: float = 1.0,
        loss_name: str = 'loss_recall',
        sync: bool = True,
    ) -> None:
        super().__init__()
        if classes is not None and num_classes not in (None, len(classes)):
            raise ValueError(f'num_classes={num_classes}, but `classes` has {len(classes)} names')
        self.num_classes = num_classes if classes is None else len(classes)
        if self.num_classes is not None and self.num_classes < 2:
            raise ValueError(f'num_classes is {self.num_classes}; a softmax needs at least 2')
        self._check_alpha(alpha, metric, fn_floor)
        check_weighting(metric, fn_floor, tversky_weights)
        check_choice('normalizer', normalizer, NORMALIZERS)
        check_choice('reduction', reduction, REDUCTIONS)
        if not loss_name.startswith('loss_'):
            raise ValueError(f"loss_name is {loss_name!r}; mmengine adds up only what begins with 'loss_'")
        self.alpha = alpha
        self.metric = metric
        self.tversky_weights = tversky_weights
        self.fn_floor = fn_floor
        self.normalizer = normalizer
        self.classes = classes
        self.reduction = reduction
        self.loss_weight = loss_weight
        self._loss_name = loss_name
        self.sync = sync
        self._label_check = LabelCheck()
        self.class_weight = class_weight
        self.register_buffer('recall', torch.zeros(self.num_classes) if alpha < 1 else None)
        # made from the config when a batch tells the number of classes and the device
        self._class_weight: Tensor | None = None
        # the last good batch's, for an all-reduce of this rank if it refuses the next one
        self._last_seen: tuple[int, torch.device] | None = None
        if self.num_classes is not None and class_weight is not None:
            class_weight_tensor(class_weight, self.num_classes, classes)

    @property
    def loss_name(self) -> str:
        """Name in mmseg's log."""
        return self._loss_name

    def forward(
        self,
        logits: Tensor,
        target: Tensor,
        weight: Tensor | None = None,
        avg_factor: float | None = None,
        reduction_override: str | None = None,
        ignore_index: int = -100,
        **kwargs: Any,
    ) -> Tensor:
        """Loss of a batch; ``weight`` is (N, ...) and scales the loss only, unknown keywords are ignored."""
        reduction = self.reduction if reduction_override is None else reduction_override
        # validation neither moves the recall nor waits for other ranks
        training_step = self.training and torch.is_grad_enabled()
        spanning = training_step and spans_ranks(self.sync)
        try:
            check_choice('reduction', reduction, REDUCTIONS)
            self._check_arguments(logits, target, weight, avg_factor, spanning)
            class_weight = self._class_weight_for(logits)
        except (TypeError, ValueError):
            if spanning:
                self._announce_failure(logits)
            raise
        num_classes = logits.shape[1]
        self._last_seen = (num_classes, logits.device)
        statistics, loss_sum = accumulate_classes(logits, target, ignore_index, weight)
        batch = self._summarise(statistics, logits, target, ignore_index, avg_factor)
        if spanning:
            batch = sum_over_ranks(batch)
        # without gradients in a training step (a pixel sampler) one rank alone must not raise; the loss itself checks
        if spanning or not (self.training and spans_ranks(self.sync)):
            self._label_check(batch, target, num_classes, ignore_index, training_step)
        weights = self._class_weights(batch, training_step)
        if class_weight is not None:
            weights = weights * class_weight
        if reduction == 'none':
            return self.loss_weight * sample_losses(logits, target, weights, ignore_index, weight)
        total = (weights.to(loss_sum.dtype) * loss_sum).sum()
        if reduction == 'mean':
            total = divide_loss(total, mean_divisor(batch.num_samples, batch.counts[0], weights, self.normalizer))
        scale = torch.distributed.get_world_size() if spanning else 1
        return self.loss_weight * scale * total

    def _check_alpha(self, alpha: float, metric: str, fn_floor: float) -> None:
        if not 0 < alpha <= 1:
            raise ValueError(f'alpha is {alpha}; it must be above 0 and at most 1 (the recall of the batch alone)')
        if alpha == 1:
            return
        if self.num_classes is None:
            raise ValueError(f'alpha={alpha} keeps a recall per class: set num_classes')
        if metric != 'recall' or fn_floor > 0:
            raise ValueError(f'alpha={alpha} averages the recall itself: leave out metric={metric!r}, {fn_floor=}')

    def _check_arguments(
        self, logits: Tensor, target: Tensor, weight: Tensor | None, avg_factor: float | None, spanning: bool
    ) -> None:
        check_shapes(logits, target, weight)
        if self.num_classes is not None and logits.shape[1] != self.num_classes:
            raise ValueError(
                f'logits have {logits.shape[1]} channels (shape {tuple(logits.shape)}), but this loss was built with '
                f'num_classes={self.num_classes}; make num_classes of the head and of the loss agree'
            )
        if spanning and self._last_seen is not None and logits.shape[1] != self._last_seen[0]:
            raise ValueError(
                f'logits have {logits.shape[1]} channels (shape {tuple(logits.shape)}), those of the batch before had '
                f'{self._last_seen[0]}'
            )
        if isinstance(avg_factor, (int, float)) and not avg_factor >= 0:
            raise ValueError(f'avg_factor is {avg_factor}; it must be a number of samples, at least 0')

    def _announce_failure(self, logits: Tensor) -> None:
        num_classes, device = self._last_seen or (self.num_classes, torch.device('cpu'))
        if isinstance(logits, Tensor):
            device = logits.device
            if num_classes is None and logits.ndim > 1:
                num_classes = logits.shape[1]
        if num_classes is not None:
            announce_failure(3, num_classes, device)

    @torch.no_grad()
    def _summarise(
        self,
        statistics: ClassStatistics,
        logits: Tensor,
        target: Tensor,
        ignore_index: int,
        avg_factor: float | None,
    ) -> BatchSummary:
        num_samples = count_samples(statistics, target, ignore_index, self.normalizer)
        if self.normalizer == 'all' and avg_factor is not None:
            is_tensor = isinstance(avg_factor, Tensor)  # reading it would wait for the device
            num_samples = avg_factor.to(num_samples) if is_tensor else torch.full_like(num_samples, avg_factor)
        nonfinite = torch.zeros_like(num_samples)
        counts = statistics
        if self.recall is not None:
            # the running recall needs to know who is present, and nobody's false positives
            present = count_largest_mass(target, logits.shape[1]) if is_soft(target) else statistics.support
            counts = statistics._replace(predicted=present)
            nonfinite = (~logits.isfinite().all()).double()
        return BatchSummary(
            counts=tuple(counts),
            num_samples=num_samples,
            invalid_labels=count_invalid_labels(target, logits.shape[1], ignore_index),
            nonfinite=nonfinite,
            failures=torch.zeros_like(num_samples),
        )

    @torch.no_grad()
    def _class_weights(self, batch: BatchSummary, training_step: bool) -> Tensor:
        if self.recall is None:
            weights = recall_weights(ClassStatistics(*batch.counts), self.metric, self.fn_floor, self.tversky_weights)
        else:
            if training_step:
                self._move_recall(batch)
            weights = 1 - self.recall.double()
        return weights

    def _move_recall(self, batch: BatchSummary) -> None:
        batch_recall = 1 - recall_weights(ClassStatistics(*batch.counts))
        moved = self.alpha * batch_recall + (1 - self.alpha) * self.recall.double()
        present = batch.counts[1] > 0
        usable = (batch.nonfinite == 0) & (batch.invalid_labels == 0) & (batch.failures == 0)
        self.recall.copy_(torch.where(present & usable, moved, self.recall))

    def _class_weight_for(self, logits: Tensor) -> Tensor | None:
        """The config's class weights as a tensor; no buffer, because one that appears later confuses EMA hooks."""
        if self.class_weight is None:
            return None
        made, num_classes = self._class_weight, logits.shape[1]
        if made is None or made.device != logits.device or len(made) != num_classes:
            self._class_weight = class_weight_tensor(self.class_weight, num_classes, self.classes).to(logits.device)
        return self._class_weight

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> 'RecallLoss':
        # a step of alpha=0.001 is lost in float16: the buffer follows the device, never the dtype
        kept = self.recall
        super()._apply(fn, recurse)
        if kept is not None and kept.dtype != self.recall.dtype:
            self.recall = kept.to(self.recall.device)
        return self

    def extra_repr(self) -> str:
        """What `print` shows of the loss."""
        return f'alpha={self.alpha}, metric={self.metric!r}, normalizer={self.normalizer!r}, sync={self.sync}'
