"""Cross entropy weighted by the false-negative rate of every class."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from mmrecall.functional import weighted
from mmrecall.functional.batch import Batch, Sums
from mmrecall.functional.binary import count_larger_share
from mmrecall.functional.compiling import is_compiling
from mmrecall.functional.recall import check_weighting, class_recall, recall_weights
from mmrecall.functional.statistics import ClassStatistics, count_largest_mass, full_precision_of
from mmrecall.functional.validation import (
    NORMALIZERS,
    check_choice,
    check_finite,
    check_label_smoothing,
    is_soft,
)

from .base import BaseLoss
from .binary import check_no_object_weight, class_weights, number_of_channels, weights_with_no_object
from .fixed_weights import ClassWeight, FixedClassWeights, class_factors


class RecallLoss(BaseLoss):
    """Recall loss: cross entropy whose class weights are the false-negative rates of the batch, 1 - R_c = FN_c / N_c.

    loss = -sum over n of (1 - R_y(n)) log p_n(y_n), equation 5 of Tian et al., "Striking the Right Balance: Recall
    Loss for Semantic Segmentation", ICRA 2022. The weights carry no gradient; classes absent from the batch
    contribute nothing. Across ranks, counts are summed before the recall is taken.

    With ``alpha < 1`` the recall is a running mean, R~ = alpha R + (1 - alpha) R~. It starts at 0, where the loss is
    plain cross entropy. A training step updates it, for the classes that are in the batch, and then uses it.
    It is meant for batches much smaller than the number of classes: the authors used 0.9 for Places-LT and 0.001 for
    iNaturalist 2018, where a class with two images gets no further than R~ = 0.17 in 90 epochs. With activation
    checkpointing it is updated once per step, if the loss is called in one place.

    With ``use_sigmoid`` every channel is such a problem of two classes: entries of label 1 are weighted by the
    false-negative rate of label 1, those of label 0 by that of label 0. An entry above 0 is predicted as 1, any other
    as 0. The running recall is (C, 2), of label 0 and label 1 of every channel.

    Args:
        alpha: weight of the new recall in the running mean, 0 < alpha <= 1. 1 is the recall of the batch alone.
        num_classes: C, with ``use_sigmoid`` the number of channels, 1 for a binary task; needed for ``alpha < 1``.
        metric: ``'recall'``, or for ablations another of `mmrecall.functional.recall_weights`; only for ``alpha=1``.
        tversky_weights: weights of false positives and false negatives for ``metric='tversky'``.
        fn_floor: smallest number of false negatives of a present class; 1 in the authors' code. Only for ``alpha=1``.
        class_weight: factors of the recall weights: one per class, a dict of class index or name to factor (others are
            1), or a file with either. With ``use_sigmoid`` as in `WeightedCrossEntropyLoss`.
        normalizer: what ``'mean'`` divides by: ``'valid'`` samples, as in the paper; ``'all'`` samples, ignored ones
            too (the authors' code), whose number ``avg_factor`` replaces if it is passed; ``'weight'``, the sum of the
            class weights over the valid samples.
        classes: the class names in order, for factors by name.
        no_object_weight: weight of one class more, the last, whatever its recall: the background of detection, "no
            object" of Mask2Former. The logits then have C + 1 channels; all other options are those of the C classes.
        label_smoothing: see `WeightedCrossEntropyLoss`; it changes no recall.
        common: those of `BaseLoss`.

    Raises:
        ValueError: arguments that do not belong together; in forward, see `BaseLoss`.
        RuntimeError: in forward, a running recall that a transform of `torch.func` cannot update.

    Example:
        >>> import torch
        >>> logits = torch.tensor([[2.0, 0.0], [3.0, 1.0], [0.0, 1.0], [0.0, 5.0]])
        >>> target = torch.tensor([0, 1, 1, 255])
        >>> RecallLoss()(logits, target, ignore_index=255)
        tensor(0.4067)
        >>> running = RecallLoss(alpha=0.5, num_classes=2)
        >>> running(logits, target, ignore_index=255), running.recall
        (tensor(0.6312), tensor([0.5000, 0.2500]))
        >>> RecallLoss(use_sigmoid=True)(logits[:, 1:] - logits[:, :1], target, ignore_index=255)  # one channel
        tensor(0.4067)
    """

    takes_low_resolution = True
    has_sigmoid = True
    variants = ({}, dict(alpha=0.9), dict(metric='precision'), dict(use_sigmoid=True))
    # checkpointed; equal on all ranks without a broadcast, because every rank updates it by the global counts
    recall: Tensor | None

    def __init__(
        self,
        alpha: float = 1.0,
        num_classes: int | None = None,
        metric: str = 'recall',
        tversky_weights: tuple[float, float] = (0.5, 0.5),
        fn_floor: float = 0.0,
        class_weight: ClassWeight | None = None,
        normalizer: str = 'valid',
        classes: Sequence[str] | None = None,
        no_object_weight: float | None = None,
        label_smoothing: float = 0.0,
        loss_name: str = 'loss_recall',
        use_sigmoid: bool = False,
        **common: Any,
    ) -> None:
        num_channels = number_of_channels(classes, num_classes, use_sigmoid)
        super().__init__(num_channels, loss_name=loss_name, use_sigmoid=use_sigmoid, **common)
        check_label_smoothing(label_smoothing)
        self.label_smoothing = label_smoothing
        check_choice('normalizer', normalizer, NORMALIZERS)
        check_no_object_weight(no_object_weight, use_sigmoid)
        self._factors = FixedClassWeights(class_factors(class_weight), classes=classes)
        if self.num_classes is None and not use_sigmoid:
            self.num_classes = self._factors.num_classes
        if self.num_classes is not None and no_object_weight is not None:
            self.num_classes += 1
        self._check_alpha(alpha, metric, fn_floor)
        check_weighting(metric, fn_floor, tversky_weights)
        self.alpha = alpha
        self.metric = metric
        self.tversky_weights = tversky_weights
        self.fn_floor = fn_floor
        self.class_weight = class_weight
        self.normalizer = normalizer
        self.classes = classes
        self.no_object_weight = no_object_weight
        self._has_factors = class_weight is not None or no_object_weight is not None
        self._moved = False
        recall = None
        if self.num_classes is not None and alpha < 1:
            recall = torch.zeros((self.num_classes, 2) if use_sigmoid else self.num_classes, dtype=torch.float32)
        self.register_buffer('recall', recall)
        if self.num_classes is not None:
            # so that a wrong option raises an error here, not in the first step
            self._factors_of(self.num_classes, torch.device('cpu'))

    def _check_alpha(self, alpha: float, metric: str, fn_floor: float) -> None:
        check_finite('alpha', alpha)
        if not 0 < alpha <= 1:
            raise ValueError(
                f'got alpha={alpha}; expected a number above 0 and at most 1 (the recall of the batch alone)'
            )
        if alpha == 1:
            return
        if self.num_classes is None:
            raise ValueError(
                f'got alpha={alpha} without num_classes; set num_classes, because a recall is kept per class'
            )
        if metric != 'recall' or fn_floor > 0:
            raise ValueError(
                f'got alpha={alpha} with metric={metric!r} and {fn_floor=}; leave these two out, because the running '
                'mean is that of the recall'
            )

    def update(self, batch: Batch) -> Sums:
        """Count the classes and sum their losses.

        For a running recall the third count is that of the samples which make a class present: all of the class, or
        with soft labels those in which it has the largest share.
        """
        if self._has_factors:
            # so that factors of another number of classes raise an error before the all-reduce
            self._factors_of(batch.logits.shape[1], batch.logits.device)
        sums = weighted.update(batch, self.normalizer, hits=True, predictions=self.metric != 'recall')
        if self.recall is None:
            return sums
        support, true_positives = sums.counts[:2]
        present = _count_present(batch) if is_soft(batch.target) else support
        # 0 times a finite sum is 0, and NaN otherwise
        nonfinite = sums.losses.detach().sum().to(sums.num_samples) * 0
        return Sums(
            sums.losses,
            sums.num_samples,
            (support, true_positives, present),
            sums.num_valid,
            nonfinite,
            sums.invalid_labels,
        )

    def compute(self, sums: Sums, batch: Batch) -> Tensor:
        """Weigh the losses of the classes by 1 - recall: that of the batch on all ranks, or the running one.

        A training step updates the running recall first.
        """
        if self.recall is None:
            weights = self._batch_weights(weighted.statistics_of(sums))
        else:
            if self._should_move():
                self._move_recall(self.recall, sums)
            weights = 1 - self.recall.flatten().to(full_precision_of(batch.logits.dtype))
        return weighted.compute(sums, self._with_factors(weights), batch, self.normalizer)

    def _with_factors(self, weights: Tensor) -> Tensor:
        if not self._has_factors:
            return weights
        if self.no_object_weight is not None:
            weights = torch.cat([weights[:-1], torch.ones_like(weights[-1:])])
        return weights * self._factors_of(len(weights) // 2 if self.use_sigmoid else len(weights), weights.device)

    def _factors_of(self, num_channels: int, device: torch.device) -> Tensor:
        if self.no_object_weight is None:
            return class_weights(self._factors, num_channels, device, self.use_sigmoid)
        return weights_with_no_object(self._factors, num_channels, device, self.no_object_weight)

    def _batch_weights(self, statistics: ClassStatistics) -> Tensor:
        return recall_weights(statistics, self.metric, self.fn_floor, self.tversky_weights)

    def _should_move(self) -> bool:
        """Return whether this call updates the running recall: one call per training step does.

        Activation checkpointing repeats the forward pass inside the backward pass. With ``use_reentrant=True`` the
        first pass runs without gradients, and the repeated one updates the recall.
        """
        if is_compiling():
            return self.is_training_step
        if torch._C._current_graph_task_id() == -1:
            self._moved = self.is_training_step
            return self._moved
        return self.is_training_step and not self._moved

    def _move_recall(self, recall: Tensor, sums: Sums) -> None:
        if not is_compiling() and torch._C._are_functorch_transforms_active():
            self._check_transform(recall)
        if recall.dtype != torch.float32:
            # FSDP's buffer_dtype and load_state_dict(assign=True) bring other types, in which small steps are lost
            self.recall = recall = recall.float()
        support, true_positives, present = sums.counts
        batch_recall = class_recall(ClassStatistics(support, None, true_positives)).to(recall)
        assert sums.nonfinite is not None
        assert sums.invalid_labels is not None
        unusable = sums.nonfinite + sums.invalid_labels
        if sums.refusals is not None:
            unusable = unusable + sums.refusals
        # NaN == 0 is false: losses that are not finite, bad labels or a refusal on any rank leave the recall as it is
        step = ((present > 0) * (self.alpha * (unusable == 0))).to(recall)
        recall.view(-1).lerp_(batch_recall, step)

    def _check_transform(self, recall: Tensor) -> None:
        # a recall that is passed to the transform, by torch.func.functional_call, may be changed in place
        if not torch._C._functorch.is_functorch_wrapped_tensor(recall):
            raise RuntimeError(
                f'got a training step of RecallLoss(alpha={self.alpha}) inside a transform of torch.func, which cannot '
                'update its running recall; expected a recall that is passed to the transform with '
                'torch.func.functional_call; or call loss.eval() to use the recall as it is, or set alpha=1'
            )

    def class_weights(self, statistics: ClassStatistics, sample_weight_sums: Tensor | None = None) -> Tensor:
        """Return the weights, (C,), of a batch with these counts; of a running recall, those that it has now.

        Example:
            >>> counts = ClassStatistics(torch.tensor([8, 2]), torch.tensor([9, 1]), torch.tensor([6, 1]))
            >>> RecallLoss().class_weights(counts)
            tensor([0.2500, 0.5000], dtype=torch.float64)
        """
        weights = self._batch_weights(statistics) if self.recall is None else 1 - self.recall.flatten()
        return self._with_factors(weights)

    def running_statistics(self) -> dict[str, Tensor]:
        """Return the running recall, if there is one."""
        return {} if self.recall is None else dict(recall=self.recall)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> 'RecallLoss':
        # a step of alpha=0.001 is lost in float16: the buffer follows the device, never the dtype
        kept = self.recall
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        moved = self.recall
        if kept is not None and moved is not None and kept.dtype != moved.dtype:
            self.recall = kept.to(moved.device)
        return self

    def extra_repr(self) -> str:
        """Return the arguments that `repr` shows."""
        return f'alpha={self.alpha}, metric={self.metric!r}, normalizer={self.normalizer!r}, sync={self.sync}'


def _count_present(batch: Batch) -> Tensor:
    """Count the samples of soft labels that make a class present."""
    if batch.use_sigmoid:
        return count_larger_share(batch)
    return count_largest_mass(batch.target, batch.logits.shape[1])
