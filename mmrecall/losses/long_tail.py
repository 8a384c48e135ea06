"""Losses that adjust the logits by the class counts of the training set."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from mmrecall.functional import weighted
from mmrecall.functional.batch import Batch, Sums
from mmrecall.functional.logit_adjustment import LogitAdjustment
from mmrecall.functional.long_tail import ldam_margins, logit_offsets, logit_variation_scales, with_variation
from mmrecall.functional.statistics import ClassStatistics, widest_float
from mmrecall.functional.validation import NORMALIZERS, check_choice, check_number

from .base import BaseLoss, refuse_fixed_options
from .class_counts import ClassCounts, CountsOption
from .class_weighted import ClassWeightedLoss
from .fixed_weights import ClassWeight, DeviceTensor, number_of_names


class LDAMLoss(ClassWeightedLoss):
    """Label-distribution-aware margin loss: cross entropy of scale x (z - margin_y 1[c = y]).

    Margins are proportional to N_c^(-1/4) (Cao et al., NeurIPS 2019). For the authors' deferred re-weighting, give
    ``class_weight='effective_number', beta=0.9999`` and the hook ``mmrecall.DeferredReweightingHook``.

    Args:
        class_counts: training samples of every class: a list, a file, or ``'auto'`` (see `WeightedCrossEntropyLoss`).
        max_margin: margin of the rarest class.
        scale: 1 for an ordinary classifier; the authors use 30 with a cosine classifier.
        class_weight: as in `WeightedCrossEntropyLoss`; all ones if left out.
        beta: as in `WeightedCrossEntropyLoss`.
        normalizer: as in `WeightedCrossEntropyLoss`.
        classes: the class names in order, for weights by name.
        num_classes: C, the number of classes.
        common: ``power``, ``min_weight`` and ``max_weight`` as in `WeightedCrossEntropyLoss`, and those of `BaseLoss`.

    Raises:
        ValueError: arguments that do not belong together; in forward, class counts that are not known yet, and what
            `BaseLoss` says.
        TypeError: in forward, soft labels.

    Example:
        >>> import torch
        >>> logits = torch.tensor([[2.0, 0.0], [3.0, 1.0], [0.0, 1.0]])
        >>> LDAMLoss(class_counts=[160, 10])(logits, torch.tensor([0, 1, 1]))
        tensor(1.0711)
    """

    takes_low_resolution = True
    takes_soft_labels = False
    counts_without_scheme = True
    class_counts: ClassCounts

    def __init__(
        self,
        class_counts: CountsOption,
        max_margin: float = 0.5,
        scale: float = 1.0,
        class_weight: ClassWeight | None = None,
        beta: float | None = None,
        normalizer: str | None = None,
        classes: Sequence[str] | None = None,
        num_classes: int | None = None,
        loss_name: str = 'loss_ldam',
        **common: Any,
    ) -> None:
        if class_counts is None:
            raise ValueError(
                "got class_counts=None; expected a list, a file, or 'auto', because the margins depend on them"
            )
        super().__init__(
            class_weight, class_counts, beta, classes=classes, num_classes=num_classes, loss_name=loss_name, **common
        )
        self.normalizer = weighted.default_normalizer(normalizer, class_weight)
        check_choice('normalizer', self.normalizer, NORMALIZERS)
        check_number('scale', scale, above_zero=True)
        ldam_margins(torch.ones(2), max_margin)
        self.classes = classes
        self.max_margin = max_margin
        self.scale = scale
        self._margins = DeviceTensor()

    def update(self, batch: Batch) -> Sums:
        """Sum the losses of the logits from which the margins are subtracted."""
        self._weights(batch)
        return weighted.update(batch, self.normalizer, self._adjustment(batch.logits))

    def compute(self, sums: Sums, batch: Batch) -> Tensor:
        """See `mmrecall.functional.weighted.compute`."""
        return weighted.compute(sums, self._weights(batch), batch, self.normalizer)

    def _adjustment(self, logits: Tensor) -> LogitAdjustment:
        num_classes = logits.shape[1]
        margins = self._margins.get(
            (num_classes, self.class_counts.version),
            logits.device,
            lambda: ldam_margins(torch.as_tensor(self.class_counts.read(num_classes).counts), self.max_margin),
        )
        return LogitAdjustment(self.scale, margins=margins)

    @property
    def is_cross_entropy(self) -> bool:
        """Whether there are no class weights."""
        return self.class_weight is None

    def extra_repr(self) -> str:
        """Return the arguments that `repr` shows."""
        return (
            f'max_margin={self.max_margin}, scale={self.scale}, class_weight={self.class_weight!r}, '
            f'normalizer={self.normalizer!r}, sync={self.sync}'
        )


class _CountsCrossEntropy(BaseLoss):
    """Cross entropy of logits that are adjusted by the class counts, in which all samples have the same weight."""

    def __init__(
        self,
        class_counts: CountsOption,
        normalizer: str,
        classes: Sequence[str] | None,
        num_classes: int | None,
        **common: Any,
    ) -> None:
        super().__init__(number_of_names(classes, num_classes), **common)
        check_choice('normalizer', normalizer, NORMALIZERS)
        self.class_counts = ClassCounts(class_counts, self.num_classes, classes)
        self.num_classes = self.class_counts.num_classes
        self.normalizer = normalizer
        self.classes = classes
        self._of_counts = DeviceTensor()

    def _per_class(self, logits: Tensor, make: Callable[[Tensor], Tensor]) -> Tensor:
        """Return what ``make`` computes from the class counts, (C,)."""
        num_classes = logits.shape[1]
        return self._of_counts.get(
            (num_classes, self.class_counts.version),
            logits.device,
            lambda: make(torch.as_tensor(self.class_counts.read(num_classes).counts)),
        )

    def compute(self, sums: Sums, batch: Batch) -> Tensor:
        """See `mmrecall.functional.weighted.compute`."""
        return weighted.compute(sums, torch.ones_like(sums.counts[0]), batch, self.normalizer)

    @property
    def is_cross_entropy(self) -> bool:
        """Whether all samples have the same weight: always."""
        return True

    def class_weights(self, statistics: ClassStatistics, sample_weight_sums: Tensor | None = None) -> Tensor:
        """Return ones, (C,)."""
        return torch.ones_like(statistics.support, dtype=widest_float(statistics.support.device))


class LogitAdjustedLoss(_CountsCrossEntropy):
    """Logit-adjusted cross entropy: of z + tau log pi, with pi_c = N_c / N of the training set.

    Menon et al., ICLR 2021. Predictions are the argmax of z itself, as in every head. tau = 0 is cross entropy. A class
    without training samples has probability 0, and a sample of it an infinite loss.

    Args:
        class_counts: training samples of every class: a list, a file, or ``'auto'`` (see `WeightedCrossEntropyLoss`).
        tau: at least 0.
        normalizer: what ``'mean'`` divides by: ``'valid'`` samples; ``'all'`` samples, ignored ones too, whose
            number ``avg_factor`` replaces if it is passed; ``'weight'``, the number of valid samples (their label mass,
            if labels are soft).
        classes: the class names in order, compared with those of a file of class counts.
        num_classes: C, the number of classes.
        common: those of `BaseLoss`.

    Raises:
        ValueError: arguments that do not belong together; in forward, class counts that are not known yet, and what
            `BaseLoss` says.

    Example:
        >>> import torch
        >>> logits = torch.tensor([[2.0, 0.0], [3.0, 1.0], [0.0, 1.0]])
        >>> LogitAdjustedLoss(class_counts=[90, 10])(logits, torch.tensor([0, 1, 1]))
        tensor(1.8961)
    """

    takes_low_resolution = True

    def __init__(
        self,
        class_counts: CountsOption,
        tau: float = 1.0,
        normalizer: str = 'valid',
        classes: Sequence[str] | None = None,
        num_classes: int | None = None,
        loss_name: str = 'loss_logit_adjusted',
        **common: Any,
    ) -> None:
        super().__init__(class_counts, normalizer, classes, num_classes, loss_name=loss_name, **common)
        logit_offsets(torch.ones(2), tau)
        self.tau = tau

    def update(self, batch: Batch) -> Sums:
        """Sum the losses of the logits to which the offsets are added."""
        offsets = self._per_class(batch.logits, lambda counts: logit_offsets(counts, self.tau))
        return weighted.update(batch, self.normalizer, LogitAdjustment(offsets=offsets))

    def extra_repr(self) -> str:
        """Return the arguments that `repr` shows."""
        return f'tau={self.tau}, normalizer={self.normalizer!r}, sync={self.sync}'


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

    fixed_options = ('tau',)

    def __init__(self, class_counts: CountsOption, loss_name: str = 'loss_balanced_softmax', **common: Any) -> None:
        refuse_fixed_options(type(self), common)
        super().__init__(class_counts, tau=1.0, loss_name=loss_name, **common)


class BalancedLogitVariationLoss(_CountsCrossEntropy):
    """Balanced logit variation: cross entropy of ``z_c + min(|delta|, 1) s_c``.

    Wang et al., CVPR 2023, with delta drawn from N(0, sigma) for each logit, and s_c = log(N / N_c) / max over k of
    log(N / N_k): the rarer a class, the larger the noise of its logits in training, up to 1. A class without training
    samples has the scale 1. sigma = 0 is cross entropy, and so is the loss outside training: in eval mode, or without
    gradients, nothing is drawn.

    The noise comes from PyTorch's random state, which `mmrecall.ExactResumeHook` seeds for every step: a resumed
    training draws the same. Each rank draws that of its own samples. Every pixel of the labels has its own noise, so
    low-resolution logits are interpolated first. The noisy logits are one more map of their size, in at least float32.

    Args:
        class_counts: training samples of every class: a list, a file, or ``'auto'`` (see `WeightedCrossEntropyLoss`).
        sigma: standard deviation of delta, at least 0. With the authors' 4, four of five draws are clamped to 1.
        normalizer: as in `LogitAdjustedLoss`.
        classes: the class names in order, compared with those of a file of class counts.
        num_classes: C, the number of classes.
        common: those of `BaseLoss`.

    Raises:
        ValueError: arguments that do not belong together; in forward, class counts that are not known yet, and what
            `BaseLoss` says.

    Example:
        >>> import torch
        >>> logits = torch.tensor([[2.0, 0.0], [3.0, 1.0], [0.0, 1.0]])
        >>> loss = BalancedLogitVariationLoss(class_counts=[90, 10])
        >>> _ = torch.manual_seed(0)
        >>> loss(logits, torch.tensor([0, 1, 1]))
        tensor(0.5935)
        >>> loss.eval()(logits, torch.tensor([0, 1, 1]))
        tensor(0.8557)
    """

    def __init__(
        self,
        class_counts: CountsOption,
        sigma: float = 4.0,
        normalizer: str = 'valid',
        classes: Sequence[str] | None = None,
        num_classes: int | None = None,
        loss_name: str = 'loss_balanced_logit_variation',
        **common: Any,
    ) -> None:
        super().__init__(class_counts, normalizer, classes, num_classes, loss_name=loss_name, **common)
        check_number('sigma', sigma)
        self.sigma = sigma

    def update(self, batch: Batch) -> Sums:
        """Sum the losses of the logits, to which a training step adds noise."""
        scales = self._per_class(batch.logits, logit_variation_scales)
        if self.is_training_step:
            batch = with_variation(batch, scales, self.sigma)
        return weighted.update(batch, self.normalizer)

    def extra_repr(self) -> str:
        """Return the arguments that `repr` shows."""
        return f'sigma={self.sigma}, normalizer={self.normalizer!r}, sync={self.sync}'
