"""Region losses: soft Tversky, Dice and IoU, and Lovasz-softmax."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from mmrecall.functional import lovasz, region
from mmrecall.functional.batch import Batch, Sums
from mmrecall.functional.statistics import ClassStatistics
from mmrecall.functional.validation import AVERAGED_CLASSES, check_choice, check_flag

from .base import refuse_fixed_options
from .class_weighted import ClassWeightedLoss


class RegionLoss(ClassWeightedLoss):
    """Base of the losses that are a mean over classes: sum of w_c l_c / sum of w_c, over the classes averaged.

    ``avg_factor`` is not used. ``reduction='none'`` gives w_c l_c, one value for every class.

    Args:
        classes: ``'present'``, the mean over the classes with labels, or ``'all'``, over all C.
        class_names: the class names in order, for weights by name.
        common: those of `ClassWeightedLoss`, without ``classes``, which is ``class_names`` here.
    """

    names_option = 'class_names'

    def __init__(self, classes: str = 'present', class_names: Sequence[str] | None = None, **common: Any) -> None:
        super().__init__(classes=class_names, **common)
        check_choice('classes', classes, AVERAGED_CLASSES)
        self.classes = classes
        self.class_names = class_names

    def class_weights(self, statistics: ClassStatistics, sample_weight_sums: Tensor | None = None) -> Tensor | None:
        """Return the weights, (C,), of the mean over the classes; None without class weights."""
        return None if self.class_weight is None else super().class_weights(statistics)

    def _classes_of(self, bad: Tensor, logits: Tensor, target: Tensor, ignore_index: int | None) -> Tensor:
        # with reduction='none' the loss has one value for every class
        return bad.reshape(-1, logits.shape[1]).any(dim=0)


class SoftTverskyLoss(RegionLoss):
    """Soft Tversky loss: the mean over classes of 1 - TP_c / (TP_c + a FP_c + b FN_c), with probabilities.

    Salehi et al., MLMI 2017; Table I of the recall-loss paper. The counts are of the whole batch, on all ranks. With
    class weights w it is the weighted mean, sum of w_c l_c / sum of w_c over the classes that are averaged.
    ``avg_factor`` is not used: it is a mean over classes. ``reduction='none'`` gives (C,).

    Args:
        tversky_weights: (a, b), the weights of false positives and false negatives.
        classes: ``'present'``: the mean over the classes that the (global) batch has labels of; ``'all'``: over all
            C, where an absent class costs 1 for any predicted mass (if a > 0; it has a gradient only with
            ``smooth``).
        smooth: added to numerator and denominator, in samples.
        common: ``class_weight``, ``class_counts``, ``beta``, ``power``, ``min_weight`` and ``max_weight`` as in
            `WeightedCrossEntropyLoss`; ``class_names``, the class names in order, for weights by name; and the
            arguments of `BaseLoss`. ``weight`` in forward has the factors of the samples in the sums.

    Raises:
        ValueError: arguments that do not belong together; in forward, class counts that are not known yet, and what
            `BaseLoss` says.

    Example:
        >>> import torch
        >>> logits = torch.tensor([[2.0, 0.0], [3.0, 1.0], [0.0, 1.0], [0.0, 5.0]])
        >>> SoftTverskyLoss((1, 1))(logits, torch.tensor([0, 1, 1, 255]), ignore_index=255)
        tensor(0.5945)
        >>> weighted = SoftTverskyLoss((1, 1), class_weight='inverse_frequency', class_counts=[75, 25])
        >>> weighted(logits, torch.tensor([0, 1, 1, 255]), ignore_index=255)
        tensor(0.5967)
    """

    def __init__(
        self,
        tversky_weights: tuple[float, float] = (0.3, 0.7),
        classes: str = 'present',
        smooth: float = 0.0,
        loss_name: str = 'loss_tversky',
        **common: Any,
    ) -> None:
        super().__init__(classes, loss_name=loss_name, **common)
        region.check_region(tversky_weights, classes, smooth)
        self.tversky_weights = tversky_weights
        self.smooth = smooth

    def update(self, batch: Batch) -> Sums:
        """Compute the soft counts."""
        self._weights(batch)
        return region.update(batch)

    def compute(self, sums: Sums, batch: Batch) -> Tensor:
        """See `mmrecall.functional.tversky_loss`."""
        return region.compute(sums, self._weights(batch), batch, self.tversky_weights, self.classes, self.smooth)

    def extra_repr(self) -> str:
        """Return the arguments that `repr` shows."""
        return (
            f'tversky_weights={self.tversky_weights}, classes={self.classes!r}, smooth={self.smooth}, '
            f'class_weight={self.class_weight!r}'
        )


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

    fixed_options = ('tversky_weights',)
    variants = ({}, dict(class_weight='inverse_frequency'))

    def __init__(self, loss_name: str = 'loss_dice', **options: Any) -> None:
        refuse_fixed_options(type(self), options)
        super().__init__((0.5, 0.5), loss_name=loss_name, **options)


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

    fixed_options = ('tversky_weights',)

    def __init__(self, loss_name: str = 'loss_iou', **options: Any) -> None:
        refuse_fixed_options(type(self), options)
        super().__init__((1.0, 1.0), loss_name=loss_name, **options)


class LovaszSoftmaxLoss(RegionLoss):
    """Lovasz-softmax loss: the mean over classes of the Lovasz extension of the Jaccard loss.

    Berman et al., CVPR 2018. With class weights w it is the weighted mean, sum of w_c l_c / sum of w_c over the classes
    that are averaged. With ``per_image`` every image has a loss, averaged over the images of all ranks that have a
    label. Without it every rank has one loss for its batch, averaged over the ranks that have a label: the errors of
    one batch are sorted together, and for a global order every probability would have to cross ranks. ``avg_factor`` is
    not used. ``reduction='none'`` gives (C,), or (N, C) with ``per_image``.

    Args:
        per_image: one loss for every image instead of one for the batch.
        classes: ``'present'``: the mean over the classes with labels (in the image); ``'all'``: over all C, where an
            absent class costs its highest probability.
        common: as in `SoftTverskyLoss`.

    Raises:
        ValueError: arguments that do not belong together; in forward, class counts that are not known yet, and what
            `BaseLoss` says.
        TypeError: in forward, soft labels.

    Example:
        >>> import torch
        >>> logits = torch.tensor([[2.0, 0.0], [3.0, 1.0], [0.0, 1.0], [0.0, 5.0]])
        >>> LovaszSoftmaxLoss()(logits, torch.tensor([0, 1, 1, 255]), ignore_index=255)
        tensor(0.5499)
    """

    variants = ({}, dict(per_image=True))
    takes_soft_labels = False
    num_counts = 0

    def __init__(
        self, per_image: bool = False, classes: str = 'present', loss_name: str = 'loss_lovasz', **common: Any
    ) -> None:
        super().__init__(classes, loss_name=loss_name, **common)
        check_flag('per_image', per_image)
        self.per_image = per_image

    def update(self, batch: Batch) -> Sums:
        """Compute the losses of the classes, of every image or of the batch."""
        self._weights(batch)
        return lovasz.update(batch, self.per_image, self.classes)

    def compute(self, sums: Sums, batch: Batch) -> Tensor:
        """See `mmrecall.functional.lovasz_softmax_loss`."""
        return lovasz.compute(sums, self._weights(batch), batch, self.per_image)

    def extra_repr(self) -> str:
        """Return the arguments that `repr` shows."""
        return f'per_image={self.per_image}, classes={self.classes!r}, class_weight={self.class_weight!r}'
