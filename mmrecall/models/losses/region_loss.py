"""Region losses: soft Tversky, Dice and IoU, and Lovasz-softmax."""

from typing import Any

from torch import Tensor

from mmrecall.functional.lovasz import count_groups, lovasz_losses, mean_over_classes
from mmrecall.functional.region import SoftCounts, check_region, soft_counts, tversky_of_counts
from mmrecall.functional.validation import AVERAGED_CLASSES, check_choice, check_class_indices, check_flag
from mmrecall.functional.weighted import divide_loss
from mmrecall.models.losses.base import Batch, Measured, SoftmaxLoss, refuse_fixed_options
from mmrecall.models.losses.ranks import BatchSummary, own_share
from mmrecall.registry import MODELS, register


@register(MODELS)
class SoftTverskyLoss(SoftmaxLoss):
    """Soft Tversky loss: the mean over classes of 1 - TP_c / (TP_c + a FP_c + b FN_c), with probabilities.

    Salehi et al., MLMI 2017; Table I of the recall-loss paper. The counts are of the whole batch, on all ranks.
    ``avg_factor`` is not used: it is a mean over classes. ``reduction='none'`` gives (C,).

    Args:
        tversky_weights: (a, b), the weights of false positives and false negatives.
        classes: ``'present'``: the mean over the classes that the (global) batch has labels of; ``'all'``: over all
            C, where an absent class costs 1 for any predicted mass (if a > 0; a gradient it has only with
            ``smooth``).
        smooth: added to numerator and denominator, in samples.
        common: see `SoftmaxLoss`; ``weight`` in forward is how much a sample counts in the sums.

    Raises:
        ValueError: arguments that do not belong together; in forward, see `SoftmaxLoss`.

    Example:
        >>> import torch
        >>> logits = torch.tensor([[2.0, 0.0], [3.0, 1.0], [0.0, 1.0], [0.0, 5.0]])
        >>> SoftTverskyLoss((1, 1))(logits, torch.tensor([0, 1, 1, 255]), ignore_index=255)
        tensor(0.5945)
    """

    num_counts = 3

    def __init__(
        self,
        tversky_weights: tuple[float, float] = (0.3, 0.7),
        classes: str = 'present',
        smooth: float = 0.0,
        loss_name: str = 'loss_tversky',
        **common: Any,
    ) -> None:
        super().__init__(loss_name=loss_name, **common)
        check_region(tversky_weights, classes, smooth)
        self.tversky_weights = tversky_weights
        self.classes = classes
        self.smooth = smooth

    def _measure(self, batch: Batch, reduction: str) -> Measured:
        counts = soft_counts(batch.logits, batch.target, batch.ignore_index, batch.sample_weight)
        return Measured(counts, num_samples=counts.support.sum(), counts=tuple(counts))

    def _combine(
        self,
        terms: SoftCounts,
        batch: Batch,
        summary: BatchSummary,
        reduction: str,
        training_step: bool,
        num_ranks: int,
    ) -> Tensor:
        # the values are those of all ranks, the gradient is that of this rank's samples
        counts = SoftCounts(*(total + own - own.detach() for total, own in zip(summary.counts, terms, strict=True)))
        loss = tversky_of_counts(counts, self.tversky_weights, self.classes, self.smooth, reduction)
        return loss if reduction == 'none' else own_share(loss, num_ranks)

    def extra_repr(self) -> str:
        """What `print` shows of the loss."""
        return f'tversky_weights={self.tversky_weights}, classes={self.classes!r}, smooth={self.smooth}'


@register(MODELS)
class SoftDiceLoss(SoftTverskyLoss):
    """Soft Dice loss, 1 - 2 TP_c / (2 TP_c + FP_c + FN_c): `SoftTverskyLoss` with weights (0.5, 0.5).

    Milletari et al., 3DV 2016, without squares in the denominator.

    Args:
        options: those of `SoftTverskyLoss`, without ``tversky_weights``.

    Example:
        >>> import torch
        >>> SoftDiceLoss()(torch.tensor([[2.0, 0.0], [3.0, 1.0], [0.0, 1.0]]), torch.tensor([0, 1, 1]))
        tensor(0.4230)
    """

    _fixed_options = ('tversky_weights',)

    def __init__(self, loss_name: str = 'loss_dice', **options: Any) -> None:
        refuse_fixed_options(type(self), options)
        super().__init__((0.5, 0.5), loss_name=loss_name, **options)


@register(MODELS)
class SoftIoULoss(SoftTverskyLoss):
    """Soft IoU (Jaccard) loss, 1 - TP_c / (TP_c + FP_c + FN_c): `SoftTverskyLoss` with weights (1, 1).

    Rahman and Wang, ISVC 2016.

    Args:
        options: those of `SoftTverskyLoss`, without ``tversky_weights``.

    Example:
        >>> import torch
        >>> SoftIoULoss()(torch.tensor([[2.0, 0.0], [3.0, 1.0], [0.0, 1.0]]), torch.tensor([0, 1, 1]))
        tensor(0.5945)
    """

    _fixed_options = ('tversky_weights',)

    def __init__(self, loss_name: str = 'loss_iou', **options: Any) -> None:
        refuse_fixed_options(type(self), options)
        super().__init__((1.0, 1.0), loss_name=loss_name, **options)


@register(MODELS)
class LovaszSoftmaxLoss(SoftmaxLoss):
    """Lovasz-softmax loss: the mean over classes of the Lovasz extension of the Jaccard loss.

    Berman et al., CVPR 2018. With ``per_image`` every image has a loss, averaged over the images of all ranks that
    have a label. Without, the batch of every rank has one, averaged over the ranks that have a label: the errors of
    one batch are sorted together, and for a global order every probability would have to cross ranks. ``avg_factor``
    is not used. ``reduction='none'`` gives (C,), or (N, C) with ``per_image``.

    Args:
        per_image: one loss for every image instead of one for the batch.
        classes: ``'present'``: the mean over the classes with labels (in the image); ``'all'``: over all C, where an
            absent class costs its highest probability.
        common: see `SoftmaxLoss`.

    Raises:
        ValueError: arguments that do not belong together; in forward, see `SoftmaxLoss`.
        TypeError: in forward, soft labels.

    Example:
        >>> import torch
        >>> logits = torch.tensor([[2.0, 0.0], [3.0, 1.0], [0.0, 1.0], [0.0, 5.0]])
        >>> LovaszSoftmaxLoss()(logits, torch.tensor([0, 1, 1, 255]), ignore_index=255)
        tensor(0.5499)
    """

    def __init__(
        self, per_image: bool = False, classes: str = 'present', loss_name: str = 'loss_lovasz', **common: Any
    ) -> None:
        super().__init__(loss_name=loss_name, **common)
        check_choice('classes', classes, AVERAGED_CLASSES)
        check_flag('per_image', per_image)
        self.per_image = per_image
        self.classes = classes

    def _check(self, batch: Batch, spanning: bool) -> None:
        check_class_indices(batch.target)
        super()._check(batch, spanning)

    def _measure(self, batch: Batch, reduction: str) -> Measured:
        logits, target, ignore_index, sample_weight, _ = batch
        losses, counted = lovasz_losses(logits, target, ignore_index, sample_weight, self.per_image, self.classes)
        return Measured((losses, counted), count_groups(counted))

    def _combine(
        self,
        terms: tuple[Tensor, Tensor],
        batch: Batch,
        summary: BatchSummary,
        reduction: str,
        training_step: bool,
        num_ranks: int,
    ) -> Tensor:
        losses, counted = terms
        if reduction == 'none':
            return losses if self.per_image else losses[0]
        if reduction == 'sum':
            return losses.sum()
        return divide_loss(mean_over_classes(losses, counted).sum(), summary.num_samples)

    def extra_repr(self) -> str:
        """What `print` shows of the loss."""
        return f'per_image={self.per_image}, classes={self.classes!r}'
