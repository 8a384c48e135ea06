"""Base of the losses with fixed class weights."""

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from mmrecall.functional.batch import Batch
from mmrecall.functional.statistics import ClassStatistics

from .base import BaseLoss
from .binary import class_weights, number_of_channels
from .class_counts import ClassCounts, CountsOption
from .fixed_weights import SCHEMES, ClassWeight, FixedClassWeights, SchemeOptions


class ClassWeightedLoss(BaseLoss):
    """Base of the losses with a fixed weight per class, given or computed from the class counts of the training set.

    Args:
        class_weight: the weights, or the name of a scheme. `WeightedCrossEntropyLoss` describes this argument and those
            down to ``num_classes``.
        class_counts: class counts, for the schemes.
        beta: beta of ``'effective_number'``.
        power: exponent of the weights of a scheme.
        min_weight: smallest weight of a scheme.
        max_weight: largest weight of a scheme.
        classes: the class names in order, for weights by name.
        num_classes: C, with ``use_sigmoid`` the number of channels.
        use_sigmoid: see `BaseLoss`.
        **common: further arguments of `BaseLoss`.

    Raises:
        ValueError: arguments that do not belong together.
        FileNotFoundError: a string that is neither a scheme nor a file.
    """

    names_option: ClassVar[str] = 'classes'
    """Name of the option for the class names."""
    counts_without_scheme: ClassVar[bool] = False
    """Whether the loss has another use for the class counts than the schemes."""
    # False trains with weights of one. DeferredReweightingHook sets it before every epoch, so it is not checkpointed.
    reweighting = True

    def __init__(
        self,
        class_weight: ClassWeight | None = None,
        class_counts: CountsOption | None = None,
        beta: float | None = None,
        power: float = 1.0,
        min_weight: float | None = None,
        max_weight: float | None = None,
        classes: Sequence[str] | None = None,
        num_classes: int | None = None,
        use_sigmoid: bool = False,
        **common: Any,
    ) -> None:
        num_channels = number_of_channels(classes, num_classes, use_sigmoid, self.names_option)
        super().__init__(num_channels, use_sigmoid=use_sigmoid, **common)
        if class_counts is not None and use_sigmoid:
            self.num_classes = 1
        num_counted = 2 if use_sigmoid else self.num_classes
        counts = None if class_counts is None else ClassCounts(class_counts, num_counted, classes)
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
        if self.num_classes is None and not use_sigmoid:
            self.num_classes = counts.num_classes if counts is not None else self._fixed_weights.num_classes
        if self.num_classes is not None and (counts is None or counts.known):
            # so that a wrong option raises an error here, not in the first step
            class_weights(self._fixed_weights, self.num_classes, torch.device('cpu'), use_sigmoid)

    def _weights(self, batch: Batch) -> Tensor:
        return self._weights_of_classes(batch.logits.shape[1], batch.logits.device)

    def _weights_of_classes(self, num_channels: int, device: torch.device) -> Tensor:
        """Return the weights in use, in `widest_float`; raise for class counts that are not known yet."""
        return class_weights(self._fixed_weights, num_channels, device, self.use_sigmoid, self.reweighting)

    def class_weights(self, statistics: ClassStatistics, sample_weight_sums: Tensor | None = None) -> Tensor | None:
        """Return the weights, (C,), that the loss gives the classes now.

        Example:
            >>> from mmrecall.losses import WeightedCrossEntropyLoss
            >>> counts = ClassStatistics(torch.tensor([8, 2]), torch.tensor([9, 1]), torch.tensor([6, 1]))
            >>> WeightedCrossEntropyLoss([0.5, 1.5]).class_weights(counts)
            tensor([0.5000, 1.5000], dtype=torch.float64)
        """
        support = statistics.support
        num_channels = len(support) // 2 if self.use_sigmoid else len(support)
        return self._weights_of_classes(num_channels, support.device)
