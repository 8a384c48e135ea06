"""Cross entropy with fixed class weights."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from mmrecall.functional import weighted
from mmrecall.functional.batch import Batch, Sums
from mmrecall.functional.validation import NORMALIZERS, check_choice, check_label_smoothing

from .binary import check_no_object_weight, weights_with_no_object
from .class_counts import CountsOption
from .class_weighted import ClassWeightedLoss
from .fixed_weights import ClassWeight


class WeightedCrossEntropyLoss(ClassWeightedLoss):
    """Cross entropy with a fixed weight per class, given or computed from the class counts of the training set.

    loss = -sum over n of w_y(n) log p_n(y_n): the recall-loss paper's "Weighted CE" (equation 2) with
    ``'inverse_frequency'``, its "Balanced CE" (Cui et al., CVPR 2019) with ``'effective_number'``. Every scheme is
    normalised to a mean weight of one.

    With ``use_sigmoid`` every channel is a problem of two classes. For one channel, a binary task, all options are
    those of the two classes label 0 and label 1. For several, a multi-label task, the weights are those of label 1 of
    every channel, while label 0 has weight 1, as with ``pos_weight`` of `torch.nn.BCEWithLogitsLoss`; the schemes,
    which need to know how frequent label 0 is, are for one channel.

    Args:
        class_weight: ``'inverse_frequency'``, ``'median_frequency'``, ``'effective_number'`` or ``'enet'`` (see
            `mmrecall.functional`), one weight per class, a dict of class index or name to weight (others are 1), or a
            file with either; all ones if left out.
        class_counts: training samples (pixels or images) of every class, for the schemes: a list; the result of
            `count_classes`; the file that ``mmrecall class-statistics`` writes; or ``'auto'``, counted
            before training by `mmrecall.engine.ClassCountsHook`, which needs ``num_classes``.
        beta: of ``'effective_number'``, in [0, 1); by default (N - 1) / N with N the sum of the counts.
        normalizer: what ``'mean'`` divides by: ``'weight'``, the sum of the class weights over the valid samples
            (PyTorch's weighted mean of class indices), the default with class weights; ``'valid'`` samples, the
            default without, and with ``use_sigmoid``; ``'all'`` samples, ignored ones too (mmseg's default without
            class weights, and the authors' code), whose number ``avg_factor`` replaces if it is passed.
        classes: the class names in order, for weights by name.
        num_classes: C, with ``use_sigmoid`` the number of channels, 1 for a binary task.
        power: exponent of the weights of a scheme, from 0 (ones) to 1 (the scheme as it is), before they are normalised
            to a mean of one: 0.5 with ``'inverse_frequency'`` is 1 / sqrt(count).
        min_weight: smallest weight of a scheme, after the normalisation, also for a class without samples, whose weight
            in a scheme is 0.
        max_weight: largest weight of a scheme, after the normalisation.
        no_object_weight: weight of one class more, the last, that the data do not have: "no object" of Mask2Former and
            MaskFormer. The logits then have C + 1 channels; all other options are those of the C classes.
        label_smoothing: s in [0, 1]: a label t counts as (1 - s) t + s / C in the loss, each class with its weight, as
            in `torch.nn.CrossEntropyLoss`; with ``use_sigmoid`` C is 2. It changes no divisor.
        common: those of `BaseLoss`.

    Raises:
        ValueError: arguments that do not belong together; in forward, class counts that are not known yet, and what
            `BaseLoss` says.
        FileNotFoundError: a string that is neither a scheme nor a file.

    Example:
        >>> import torch
        >>> logits = torch.tensor([[2.0, 0.0], [3.0, 1.0], [0.0, 1.0], [0.0, 5.0]])
        >>> target = torch.tensor([0, 1, 1, 255])
        >>> loss = WeightedCrossEntropyLoss('inverse_frequency', class_counts=[75, 25])
        >>> loss(logits, target, ignore_index=255)
        tensor(1.0639)
        >>> torch.nn.functional.cross_entropy(logits, target, torch.tensor([0.5, 1.5]), ignore_index=255)
        tensor(1.0639)
        >>> labels = torch.tensor([[1, 0], [0, 1], [1, 0], [1, 1]])  # two classes at once
        >>> WeightedCrossEntropyLoss([2.0, 1.0], use_sigmoid=True)(logits, labels)
        tensor(1.0502)
        >>> torch.nn.BCEWithLogitsLoss(pos_weight=torch.tensor([2.0, 1.0]))(logits, labels.float())
        tensor(1.0502)
    """

    takes_low_resolution = True
    has_sigmoid = True
    variants = (dict(class_weight='inverse_frequency'),)

    def __init__(
        self,
        class_weight: ClassWeight | None = None,
        class_counts: CountsOption | None = None,
        beta: float | None = None,
        normalizer: str | None = None,
        classes: Sequence[str] | None = None,
        num_classes: int | None = None,
        no_object_weight: float | None = None,
        label_smoothing: float = 0.0,
        loss_name: str = 'loss_weighted_ce',
        power: float = 1.0,
        min_weight: float | None = None,
        max_weight: float | None = None,
        use_sigmoid: bool = False,
        **common: Any,
    ) -> None:
        check_no_object_weight(no_object_weight, use_sigmoid)
        check_label_smoothing(label_smoothing)
        if use_sigmoid:
            _check_counts_of_sigmoid(class_counts, num_classes)
        super().__init__(
            class_weight,
            class_counts,
            beta,
            power,
            min_weight,
            max_weight,
            classes,
            num_classes,
            use_sigmoid,
            loss_name=loss_name,
            **common,
        )
        self.label_smoothing = label_smoothing
        self.normalizer = weighted.default_normalizer(
            normalizer, no_object_weight if class_weight is None else class_weight, use_sigmoid
        )
        check_choice('normalizer', self.normalizer, NORMALIZERS)
        self.classes = classes
        self.no_object_weight = no_object_weight
        if self.num_classes is not None and no_object_weight is not None:
            self.num_classes += 1

    def update(self, batch: Batch) -> Sums:
        """See `mmrecall.functional.weighted.update`."""
        self._weights(batch)
        return weighted.update(batch, self.normalizer)

    def compute(self, sums: Sums, batch: Batch) -> Tensor:
        """See `mmrecall.functional.weighted.compute`."""
        return weighted.compute(sums, self._weights(batch), batch, self.normalizer)

    def _weights_of_classes(self, num_classes: int, device: torch.device) -> Tensor:
        if self.no_object_weight is None:
            return super()._weights_of_classes(num_classes, device)
        return weights_with_no_object(self._fixed_weights, num_classes, device, self.no_object_weight, self.reweighting)

    @classmethod
    def is_plain_config(cls, options: Mapping[str, Any]) -> bool:
        """Return whether there are no class weights."""
        has_weights = options.get('class_weight') is not None or options.get('no_object_weight') is not None
        return not (has_weights or options.get('use_sigmoid') or options.get('label_smoothing'))

    @property
    def is_cross_entropy(self) -> bool:
        """Whether there are no class weights."""
        return self.class_weight is None and self.no_object_weight is None

    def extra_repr(self) -> str:
        """Return the arguments that `repr` shows."""
        return f'class_weight={self.class_weight!r}, normalizer={self.normalizer!r}, sync={self.sync}'


def _check_counts_of_sigmoid(class_counts: object, num_classes: int | None) -> None:
    num_counts = len(class_counts) if isinstance(class_counts, (list, tuple)) else 2
    if class_counts is not None and (num_classes not in (None, 1) or num_counts != 2):
        raise ValueError(
            f'got class_counts={class_counts!r} and num_classes={num_classes} together with use_sigmoid=True; expected '
            'two counts, [samples of label 0, samples of label 1] of one channel, and num_classes=1. For C channels '
            'set class_weight to C numbers, the weights of label 1 beside label 0, such as samples of label 0 / '
            'samples of label 1 in each channel, and leave class_counts out'
        )
