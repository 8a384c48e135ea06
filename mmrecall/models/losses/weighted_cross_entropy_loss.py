"""Cross entropy with fixed class weights."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from mmrecall.models.losses.base import Batch
from mmrecall.models.losses.class_counts import ClassCounts
from mmrecall.models.losses.class_weight import (
    SCHEMES,
    ClassWeight,
    DeviceTensor,
    class_weight_tensor,
    number_of_classes,
    resolve_class_weight,
)
from mmrecall.models.losses.class_weighted import ClassWeightedLoss
from mmrecall.models.losses.ranks import BatchSummary
from mmrecall.registry import MODELS, register


@register(MODELS)
class WeightedCrossEntropyLoss(ClassWeightedLoss):
    """Cross entropy with a fixed weight per class, given or made of the class counts of the training set.

    loss = -sum over n of w_y(n) log p_n(y_n): the recall-loss paper's "Weighted CE" (equation 2) with
    ``'inverse_frequency'``, its "Balanced CE" (Cui et al., CVPR 2019) with ``'effective_number'``. Every scheme is
    normalised to a mean weight of one.

    Args:
        class_weight: ``'inverse_frequency'``, ``'median_frequency'`` or ``'effective_number'`` (see
            `mmrecall.functional`), one weight per class, a dict of class index or name to weight (others are 1), or a
            file with either; all ones if left out.
        class_counts: training samples (pixels or images) of every class, for the schemes: a list; the file that
            ``tools/analysis_tools/class_statistics.py`` writes; or ``'auto'``, counted before training by
            `mmrecall.engine.ClassCountsHook`, which needs ``num_classes``.
        beta: of ``'effective_number'``, in [0, 1); by default (N - 1) / N with N the sum of the counts.
        num_classes: C.
        common: ``normalizer`` and ``classes`` of `ClassWeightedLoss`, and those of `SoftmaxLoss`. With
            ``normalizer='weight'`` it is PyTorch's weighted mean.

    Raises:
        ValueError: arguments that do not belong together; in forward, counts that nobody has counted yet, and what
            `SoftmaxLoss` says.
        FileNotFoundError: a string that is neither a scheme nor a file.

    Example:
        >>> import torch
        >>> logits = torch.tensor([[2.0, 0.0], [3.0, 1.0], [0.0, 1.0], [0.0, 5.0]])
        >>> target = torch.tensor([0, 1, 1, 255])
        >>> loss = WeightedCrossEntropyLoss('inverse_frequency', class_counts=[75, 25])
        >>> loss(logits, target, ignore_index=255)
        tensor(1.2412)
    """

    # attribute of DeferredReweightingHook: False trains with weights of one; set before every epoch, so no state
    reweighting = True
    _counts_without_scheme = False

    def __init__(
        self,
        class_weight: ClassWeight | None = None,
        class_counts: Sequence[int] | str | None = None,
        beta: float | None = None,
        num_classes: int | None = None,
        loss_name: str = 'loss_weighted_ce',
        **common: Any,
    ) -> None:
        super().__init__(num_classes=num_classes, loss_name=loss_name, **common)
        self._resolved = resolve_class_weight(class_weight, class_counts is not None, beta)
        if class_counts is not None and not isinstance(self._resolved, str) and not self._counts_without_scheme:
            raise ValueError(
                f'class_counts are given, but class_weight={class_weight!r} is not made of them; choose '
                f'{", ".join(map(repr, SCHEMES))}, or leave class_counts out'
            )
        self.class_weight = class_weight
        self.beta = beta
        self.class_counts = None if class_counts is None else ClassCounts(class_counts, self.num_classes, self.classes)
        if self.num_classes is None:
            known = self.class_counts.num_classes if self.class_counts is not None else None
            self.num_classes = known or number_of_classes(self._resolved)
        self._weights = DeviceTensor()
        if self.num_classes is not None and (self.class_counts is None or self.class_counts.known):
            self._make_weights(self.num_classes)

    def _check(self, batch: Batch, spanning: bool) -> None:
        super()._check(batch, spanning)
        self._fixed_weights(batch)

    def _class_weights(self, batch: Batch, summary: BatchSummary, training_step: bool) -> Tensor:
        return self._fixed_weights(batch)

    def _fixed_weights(self, batch: Batch) -> Tensor:
        version = 0 if self.class_counts is None else self.class_counts.version
        num_classes = batch.logits.shape[1]
        return self._weights.get(
            (num_classes, version, self.reweighting), batch.logits.device, lambda: self._make_weights(num_classes)
        )

    def _make_weights(self, num_classes: int) -> Tensor:
        counted = None if self.class_counts is None else self.class_counts.read(num_classes)
        if self.class_weight is None or not self.reweighting:
            return torch.ones(num_classes, dtype=torch.float64)
        return class_weight_tensor(self._resolved, num_classes, self.classes, counted, self.beta)

    def extra_repr(self) -> str:
        """What `print` shows of the loss."""
        return f'class_weight={self.class_weight!r}, {super().extra_repr()}'
