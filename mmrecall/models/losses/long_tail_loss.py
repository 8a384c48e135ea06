"""Losses that shift the logits by the class counts of the training set."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from mmrecall.functional.long_tail import ldam_margins, logit_offsets
from mmrecall.functional.shift import LogitShift
from mmrecall.functional.validation import check_class_indices, check_number
from mmrecall.models.losses.base import Batch, refuse_fixed_options
from mmrecall.models.losses.class_counts import ClassCounts
from mmrecall.models.losses.class_weight import ClassWeight, DeviceTensor
from mmrecall.models.losses.class_weighted import ClassWeightedLoss
from mmrecall.models.losses.ranks import BatchSummary
from mmrecall.models.losses.weighted_cross_entropy_loss import WeightedCrossEntropyLoss
from mmrecall.registry import MODELS, register


@register(MODELS)
class LDAMLoss(WeightedCrossEntropyLoss):
    """Label-distribution-aware margin loss: cross entropy of scale x (z - margin_y 1[c = y]).

    Margins are proportional to N_c^(-1/4) (Cao et al., NeurIPS 2019). For the authors' deferred re-weighting, give
    ``class_weight='effective_number', beta=0.9999`` and the hook ``mmrecall.DeferredReweightingHook``.

    Args:
        class_counts: training samples of every class: a list, a file, or ``'auto'`` (see `WeightedCrossEntropyLoss`).
        max_margin: margin of the rarest class.
        scale: 1 for an ordinary classifier; the authors take 30 with a cosine classifier.
        class_weight: as in `WeightedCrossEntropyLoss`; all ones if left out.
        common: those of `WeightedCrossEntropyLoss`.

    Raises:
        ValueError: arguments that do not belong together; in forward, see `WeightedCrossEntropyLoss`.
        TypeError: in forward, soft labels.

    Example:
        >>> import torch
        >>> logits = torch.tensor([[2.0, 0.0], [3.0, 1.0], [0.0, 1.0]])
        >>> LDAMLoss(class_counts=[160, 10])(logits, torch.tensor([0, 1, 1]))
        tensor(1.0711)
    """

    # the margins need them
    _counts_without_scheme = True

    def __init__(
        self,
        class_counts: Sequence[int] | str,
        max_margin: float = 0.5,
        scale: float = 1.0,
        class_weight: ClassWeight | None = None,
        loss_name: str = 'loss_ldam',
        **common: Any,
    ) -> None:
        if class_counts is None:
            raise ValueError("class_counts is None, but margins are made of them: give a list, a file, or 'auto'")
        super().__init__(class_weight, class_counts, loss_name=loss_name, **common)
        check_number('scale', scale, above_zero=True)
        ldam_margins(torch.ones(2), max_margin)
        self.max_margin = max_margin
        self.scale = scale
        self._margins = DeviceTensor()

    def extra_repr(self) -> str:
        """What `print` shows of the loss."""
        return f'max_margin={self.max_margin}, scale={self.scale}, {super().extra_repr()}'

    def _check(self, batch: Batch, spanning: bool) -> None:
        check_class_indices(batch.target)
        super()._check(batch, spanning)

    def _shift(self, batch: Batch) -> LogitShift:
        num_classes = batch.logits.shape[1]
        margins = self._margins.get(
            (num_classes, self.class_counts.version),
            batch.logits.device,
            lambda: ldam_margins(torch.as_tensor(self.class_counts.read(num_classes).counts), self.max_margin),
        )
        return LogitShift(self.scale, margins=margins)


@register(MODELS)
class LogitAdjustedLoss(ClassWeightedLoss):
    """Logit-adjusted cross entropy: of z + tau log pi, with pi_c = N_c / N of the training set.

    Menon et al., ICLR 2021. Predictions are taken of z itself, as every head does. tau = 0 is cross entropy. A class
    without training samples gets probability 0, and a label of it the loss infinity.

    Args:
        class_counts: training samples of every class: a list, a file, or ``'auto'`` (see `WeightedCrossEntropyLoss`).
        tau: at least 0.
        common: ``normalizer`` and ``classes`` of `ClassWeightedLoss`, and those of `SoftmaxLoss`.

    Raises:
        ValueError: arguments that do not belong together; in forward, counts that nobody has counted yet, and what
            `SoftmaxLoss` says.

    Example:
        >>> import torch
        >>> logits = torch.tensor([[2.0, 0.0], [3.0, 1.0], [0.0, 1.0]])
        >>> LogitAdjustedLoss(class_counts=[90, 10])(logits, torch.tensor([0, 1, 1]))
        tensor(1.8961)
    """

    def __init__(
        self,
        class_counts: Sequence[int] | str,
        tau: float = 1.0,
        loss_name: str = 'loss_logit_adjusted',
        **common: Any,
    ) -> None:
        super().__init__(loss_name=loss_name, **common)
        logit_offsets(torch.ones(2), tau)
        self.class_counts = ClassCounts(class_counts, self.num_classes, self.classes)
        self.num_classes = self.class_counts.num_classes
        self.tau = tau
        self._offsets = DeviceTensor()

    def extra_repr(self) -> str:
        """What `print` shows of the loss."""
        return f'tau={self.tau}, {super().extra_repr()}'

    def _check(self, batch: Batch, spanning: bool) -> None:
        super()._check(batch, spanning)
        self._offsets_for(batch)

    def _shift(self, batch: Batch) -> LogitShift:
        return LogitShift(offsets=self._offsets_for(batch))

    def _class_weights(self, batch: Batch, summary: BatchSummary, training_step: bool) -> Tensor:
        return torch.ones_like(summary.counts[0], dtype=torch.float64)

    def _offsets_for(self, batch: Batch) -> Tensor:
        num_classes = batch.logits.shape[1]
        return self._offsets.get(
            (num_classes, self.class_counts.version),
            batch.logits.device,
            lambda: logit_offsets(torch.as_tensor(self.class_counts.read(num_classes).counts), self.tau),
        )


@register(MODELS)
class BalancedSoftmaxLoss(LogitAdjustedLoss):
    """Balanced softmax (Ren et al., NeurIPS 2020): `LogitAdjustedLoss` with tau = 1.

    Args:
        class_counts: training samples of every class: a list, a file, or ``'auto'`` (see `WeightedCrossEntropyLoss`).
        common: those of `LogitAdjustedLoss`, without ``tau``.

    Example:
        >>> import torch
        >>> logits = torch.tensor([[2.0, 0.0], [3.0, 1.0], [0.0, 1.0]])
        >>> BalancedSoftmaxLoss([90, 10])(logits, torch.tensor([0, 1, 1]))
        tensor(1.8961)
    """

    _fixed_options = ('tau',)

    def __init__(
        self, class_counts: Sequence[int] | str, loss_name: str = 'loss_balanced_softmax', **common: Any
    ) -> None:
        refuse_fixed_options(type(self), common)
        super().__init__(class_counts, tau=1.0, loss_name=loss_name, **common)
