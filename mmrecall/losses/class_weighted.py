"""Base of the losses with fixed class weights."""

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from mmrecall.functional.batch import Batch
from mmrecall.functional.statistics import ClassStatistics

from .base import BaseLoss
from .class_counts import ClassCounts
from .fixed_weights import SCHEMES, ClassWeight, FixedClassWeights, SchemeOptions, number_of_names


class ClassWeightedLoss(BaseLoss):
    """Base of the losses with a fixed weight per class, given or computed from the class counts of the training set.

    Args:
        class_weight: see `WeightedCrossEntropyLoss`, as all that follow.
        class_counts: for the schemes.
        beta: of ``'effective_number'``.
        power: exponent of the weights of a scheme.
        min_weight: smallest weight of a scheme.
        max_weight: largest weight of a scheme.
        classes: the class names in order, for weights by name.
        num_classes: C.
        common: those of `BaseLoss`.

    Raises:
        ValueError: arguments that do not belong together.
        FileNotFoundError: a string that is neither a scheme nor a file.
    """

    names_option: ClassVar[str] = 'classes'
    """Name of the option for the class names."""
    counts_without_scheme: ClassVar[bool] = False
    """Whether the loss has another use for the class counts than the schemes."""
    # attribute of DeferredReweightingHook: False trains with weights of one; set before every epoch, so no state
    reweighting = True

    def __init__(
        self,
        class_weight: ClassWeight | None = None,
        class_counts: Sequence[int] | str | None = None,
        beta: float | None = None,
        power: float = 1.0,
        min_weight: float | None = None,
        max_weight: float | None = None,
        classes: Sequence[str] | None = None,
        num_classes: int | None = None,
        **common: Any,
    ) -> None:
        super().__init__(number_of_names(classes, num_classes, self.names_option), **common)
        counts = None if class_counts is None else ClassCounts(class_counts, self.num_classes, classes)
        self.class_counts = counts
        options = SchemeOptions(beta, power, min_weight, max_weight)
        self._fixed_weights = FixedClassWeights(class_weight, counts, classes, options)
        if counts is not None and not (self._fixed_weights.is_scheme or self.counts_without_scheme):
            raise ValueError(
                f'got class_counts and class_weight={class_weight!r}, which does not use them; set class_weight to one '
                f'of {", ".join(map(repr, SCHEMES))}, or leave class_counts out'
            )
        self.class_weight = class_weight
        self.beta = beta
        self.power = power
        self.min_weight = min_weight
        self.max_weight = max_weight
        if self.num_classes is None:
            self.num_classes = counts.num_classes if counts is not None else self._fixed_weights.num_classes
        if self.num_classes is not None and (counts is None or counts.known):
            # a wrong option is named here, not in the first step
            self._fixed_weights.get(self.num_classes, torch.device('cpu'))

    def _weights(self, batch: Batch) -> Tensor:
        return self._weights_of_classes(batch.logits.shape[1], batch.logits.device)

    def _weights_of_classes(self, num_classes: int, device: torch.device) -> Tensor:
        """Return the (C,) weights in use, in `widest_float`; raise for class counts that are not known yet."""
        return self._fixed_weights.get(num_classes, device, self.reweighting)

    def class_weights(self, statistics: ClassStatistics, sample_weight_sums: Tensor | None = None) -> Tensor | None:
        """Return the weights, (C,), that the loss gives the classes now.

        Example:
            >>> from mmrecall.losses import WeightedCrossEntropyLoss
            >>> counts = ClassStatistics(torch.tensor([8, 2]), torch.tensor([9, 1]), torch.tensor([6, 1]))
            >>> WeightedCrossEntropyLoss([0.5, 1.5]).class_weights(counts)
            tensor([0.5000, 1.5000], dtype=torch.float64)
        """
        support = statistics.support
        return self._weights_of_classes(len(support), support.device)
