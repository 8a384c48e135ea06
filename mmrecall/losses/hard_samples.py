"""Losses that emphasise hard samples."""

from numbers import Real
from typing import Any

import torch
from torch import Tensor

from mmrecall.functional.batch import Batch, Sums, compute_from_samples
from mmrecall.functional.binary import by_class, num_class_weights
from mmrecall.functional.hard_samples import (
    check_focal,
    check_keep_ratio,
    focal_update,
    hardest_update,
    sum_focal_weights,
)
from mmrecall.functional.statistics import ClassStatistics

from .base import BaseLoss
from .class_counts import Numbers, one_number_per_class
from .fixed_weights import DeviceTensor


class SoftmaxFocalLoss(BaseLoss):
    """Focal loss over a softmax: -sum over n of (1 - p_n(y_n))^gamma log p_n(y_n).

    Lin et al., ICCV 2017, in the multi-class form of the recall-loss paper (section IV-D, where gamma is 1). gamma = 0
    is cross entropy.

    With ``use_sigmoid`` it is a focal loss over sigmoids, Lin et al., equation 5: every channel is a problem of two
    classes, with -alpha_t (1 - p_t)^gamma log p_t for each of its labels.

    Args:
        gamma: at least 0; the larger, the less an easy sample counts.
        normalizer: what ``'mean'`` divides by: ``'valid'`` samples, or ``'all'`` samples, whose number ``avg_factor``
            replaces if it is passed; summed over ranks.
        alpha: factors of the classes; none if left out. A list has one factor for every class. A number between 0 and
            1, for two classes or ``use_sigmoid``, is the factor of class or label 1, and 1 - alpha that of 0 (Lin et
            al., equation 3). With ``use_sigmoid`` a list has the factors of label 0 and label 1 for one channel, and
            one such number per channel for several. It changes no divisor.
        common: see `BaseLoss`.

    Raises:
        ValueError: arguments that do not belong together; in forward, see `BaseLoss`.

    Example:
        >>> import torch
        >>> logits = torch.tensor([[2.0, 0.0], [3.0, 1.0], [0.0, 1.0], [0.0, 5.0]])
        >>> SoftmaxFocalLoss()(logits, torch.tensor([0, 1, 1, 255]), ignore_index=255)
        tensor(0.5582)
        >>> labels = torch.tensor([[1, 0], [0, 1], [1, 0], [1, 1]])  # two classes at once
        >>> SoftmaxFocalLoss(alpha=0.25, use_sigmoid=True)(logits, labels)
        tensor(0.3530)
    """

    num_counts = 0
    has_sigmoid = True

    def __init__(
        self,
        gamma: float = 2.0,
        normalizer: str = 'valid',
        alpha: float | Numbers | None = None,
        loss_name: str = 'loss_focal',
        use_sigmoid: bool = False,
        **common: Any,
    ) -> None:
        super().__init__(loss_name=loss_name, use_sigmoid=use_sigmoid, **common)
        check_focal(gamma, normalizer)
        self.gamma = gamma
        self.normalizer = normalizer
        self.alpha = alpha
        self._factors = DeviceTensor()
        if alpha is not None:
            _check_alpha(alpha)
        if self.num_classes is not None:
            # so that a wrong option raises an error here, not in the first step
            self._alpha_by_class(self.num_classes, torch.device('cpu'))

    def update(self, batch: Batch) -> Sums:
        """See `mmrecall.functional.softmax_focal_loss`."""
        alpha = self._alpha_by_class(batch.logits.shape[1], batch.logits.device)
        return focal_update(batch, self.gamma, self.normalizer, alpha)

    def compute(self, sums: Sums, batch: Batch) -> Tensor:
        """Reduce the losses of the samples."""
        return compute_from_samples(sums, batch.reduction)

    def _alpha_by_class(self, num_channels: int, device: torch.device) -> Tensor | None:
        """Return the factors of the classes that are counted."""
        if self.alpha is None:
            return None
        return self._factors.get((num_channels,), device, lambda: self._make_alpha(num_channels))

    def _make_alpha(self, num_channels: int) -> Tensor:
        if isinstance(self.alpha, Real):
            if not self.use_sigmoid and num_channels != 2:
                raise ValueError(
                    f'got alpha={self.alpha}, one number for two classes, but {num_channels} channels; expected a list '
                    f'of {num_channels}'
                )
            return torch.tensor([1 - self.alpha, self.alpha]).repeat(num_channels if self.use_sigmoid else 1)
        factors = torch.as_tensor(self.alpha).double()
        expected = num_class_weights(num_channels) if self.use_sigmoid else num_channels
        if len(factors) != expected:
            raise ValueError(
                f'got alpha with {len(factors)} entries, {self.alpha}; expected {expected}, one for every class'
            )
        if not self.use_sigmoid or num_channels == 1:
            return factors
        if bool((factors > 1).any()):
            raise ValueError(
                f'got alpha={self.alpha} with use_sigmoid=True and {num_channels} channels; expected factors of at '
                'most 1, because label 0 has 1 - alpha'
            )
        return by_class(1 - factors, factors)

    def class_weights(self, statistics: ClassStatistics, sample_weight_sums: Tensor | None = None) -> Tensor | None:
        """Return the mean focal weight alpha (1 - p)^gamma of the samples of every class, (C,)."""
        support = statistics.support
        if sample_weight_sums is None:
            return None
        alpha = self._alpha_by_class(len(support) // 2 if self.use_sigmoid else len(support), support.device)
        weights = sample_weight_sums / support.where(support > 0, 1)
        return weights if alpha is None else alpha * weights

    def sum_sample_weights(self, logits: Tensor, target: Tensor, ignore_index: int) -> Tensor:
        """Return the (C,) sums of (1 - p)^gamma over the samples of every class."""
        return sum_focal_weights(logits, target, self.gamma, ignore_index, self.use_sigmoid)

    def extra_repr(self) -> str:
        """Return the arguments that `repr` shows."""
        return f'gamma={self.gamma}, alpha={self.alpha}, normalizer={self.normalizer!r}, sync={self.sync}'


def _check_alpha(alpha: float | Numbers) -> None:
    if isinstance(alpha, Real):
        if not 0 <= float(alpha) <= 1:
            raise ValueError(f'got alpha={alpha}; expected a number between 0 and 1, the share of class 1')
        return
    factors = one_number_per_class('alpha', alpha)
    if not bool(((factors >= 0) & factors.isfinite()).all()):
        raise ValueError(f'got alpha={alpha}; expected factors that are finite and at least 0')


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
        """Return the arguments that `repr` shows."""
        return f'keep_ratio={self.keep_ratio}, sync={self.sync}'
