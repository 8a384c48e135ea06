"""Cross entropy with fixed class weights."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from mmrecall.functional import weighted
from mmrecall.functional.batch import Batch, Sums
from mmrecall.functional.statistics import ClassStatistics
from mmrecall.functional.validation import NORMALIZERS, check_choice, check_label_smoothing

from .base import BaseLoss
from .binary import class_weights, number_of_channels
from .class_counts import ClassCounts
from .fixed_weights import SCHEMES, ClassWeight, FixedClassWeights


class WeightedCrossEntropyLoss(BaseLoss):
    """Cross entropy with a fixed weight per class, given or computed from the class counts of the training set.

    loss = -sum over n of w_y(n) log p_n(y_n): the recall-loss paper's "Weighted CE" (equation 2) with
    ``'inverse_frequency'``, its "Balanced CE" (Cui et al., CVPR 2019) with ``'effective_number'``. Every scheme is
    normalised to a mean weight of one.

    With ``use_sigmoid`` every channel is a problem of two classes. Of one channel, a binary task, all options are those
    of the two classes label 0 and label 1. Of several, a multi-label task, the weights are those of label 1 of every
    channel, beside which label 0 weighs 1, as with ``pos_weight`` of `torch.nn.BCEWithLogitsLoss`; the schemes, which
    need to know how frequent label 0 is, are for one channel.

    Args:
        class_weight: ``'inverse_frequency'``, ``'median_frequency'`` or ``'effective_number'`` (see
            `mmrecall.functional`), one weight per class, a dict of class index or name to weight (others are 1), or a
            file with either; all ones if left out.
        class_counts: training samples (pixels or images) of every class, for the schemes: a list; the result of
            `count_classes`; the file that ``tools/analysis_tools/class_statistics.py`` writes; or ``'auto'``, counted
            before training by `mmrecall.engine.ClassCountsHook`, which needs ``num_classes``.
        beta: of ``'effective_number'``, in [0, 1); by default (N - 1) / N with N the sum of the counts.
        normalizer: what ``'mean'`` divides by: ``'weight'``, the sum of the class weights over the valid samples
            (PyTorch's weighted mean of class indices), the default with class weights; ``'valid'`` samples, the
            default without, and with ``use_sigmoid``; ``'all'`` samples, ignored ones too (mmseg's default without
            class weights, and the authors' code), for which ``avg_factor`` stands in if it is passed.
        classes: the class names in order, for weights by name.
        num_classes: C, with ``use_sigmoid`` the number of channels, 1 for a binary task.
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
    # attribute of DeferredReweightingHook: False trains with weights of one; set before every epoch, so no state
    reweighting = True

    def __init__(
        self,
        class_weight: ClassWeight | None = None,
        class_counts: Sequence[int] | str | None = None,
        beta: float | None = None,
        normalizer: str | None = None,
        classes: Sequence[str] | None = None,
        num_classes: int | None = None,
        no_object_weight: float | None = None,
        label_smoothing: float = 0.0,
        loss_name: str = 'loss_weighted_ce',
        use_sigmoid: bool = False,
        **common: Any,
    ) -> None:
        num_channels = number_of_channels(classes, num_classes, use_sigmoid)
        super().__init__(num_channels, loss_name=loss_name, use_sigmoid=use_sigmoid, **common)
        check_label_smoothing(label_smoothing)
        self.label_smoothing = label_smoothing
        if use_sigmoid:
            self._check_sigmoid(class_counts, no_object_weight)
        self.normalizer = weighted.default_normalizer(
            normalizer, no_object_weight if class_weight is None else class_weight, use_sigmoid
        )
        check_choice('normalizer', self.normalizer, NORMALIZERS)
        if class_counts is not None and use_sigmoid:
            self.num_classes = 1
        num_counted = 2 if use_sigmoid else self.num_classes
        counts = None if class_counts is None else ClassCounts(class_counts, num_counted, classes)
        self.class_counts = counts
        self._fixed_weights = FixedClassWeights(class_weight, counts, classes, beta, no_object_weight)
        if counts is not None and not self._fixed_weights.is_scheme:
            raise ValueError(
                f'got class_counts and class_weight={class_weight!r}, which does not use them; set class_weight to one '
                f'of {", ".join(map(repr, SCHEMES))}, or leave class_counts out'
            )
        self.class_weight = class_weight
        self.beta = beta
        self.classes = classes
        self.no_object_weight = no_object_weight
        if self.num_classes is None and not use_sigmoid:
            self.num_classes = counts.num_classes if counts is not None else self._fixed_weights.num_classes
        if self.num_classes is not None and no_object_weight is not None:
            self.num_classes += 1
        if self.num_classes is not None and (counts is None or counts.known):
            # a wrong option is named here, not in the first step
            class_weights(self._fixed_weights, self.num_classes, torch.device('cpu'), use_sigmoid)

    def _check_sigmoid(self, class_counts: object, no_object_weight: float | None) -> None:
        if no_object_weight is not None:
            raise ValueError(
                f'got no_object_weight={no_object_weight} together with use_sigmoid=True; "no object" is a class of a '
                'softmax: leave one of them out'
            )
        if class_counts is not None and self.num_classes not in (None, 1):
            raise ValueError(
                f'got class_counts and num_classes={self.num_classes} together with use_sigmoid=True; expected counts '
                'of label 0 and label 1 of one channel (num_classes=1): for several channels set class_weight to a '
                'list, the weight of label 1 in every channel'
            )

    def update(self, batch: Batch) -> Sums:
        """See `mmrecall.functional.weighted.update`."""
        self._weights(batch.logits)
        return weighted.update(batch, self.normalizer)

    def compute(self, sums: Sums, batch: Batch) -> Tensor:
        """See `mmrecall.functional.weighted.compute`."""
        return weighted.compute(sums, self._weights(batch.logits), batch, self.normalizer)

    def _weights(self, logits: Tensor) -> Tensor:
        return class_weights(self._fixed_weights, logits.shape[1], logits.device, self.use_sigmoid, self.reweighting)

    @classmethod
    def is_plain_config(cls, options: Mapping[str, Any]) -> bool:
        """Return whether there are no class weights."""
        has_weights = options.get('class_weight') is not None or options.get('no_object_weight') is not None
        return not (has_weights or options.get('use_sigmoid') or options.get('label_smoothing'))

    @property
    def is_cross_entropy(self) -> bool:
        """Whether there are no class weights."""
        return self.class_weight is None and self.no_object_weight is None

    def class_weights(self, statistics: ClassStatistics, sample_weight_sums: Tensor | None = None) -> Tensor:
        """Return the weights, (C,), that the loss gives the classes now.

        Example:
            >>> counts = ClassStatistics(torch.tensor([8, 2]), torch.tensor([9, 1]), torch.tensor([6, 1]))
            >>> WeightedCrossEntropyLoss([0.5, 1.5]).class_weights(counts)
            tensor([0.5000, 1.5000], dtype=torch.float64)
        """
        support = statistics.support
        num_channels = len(support) // 2 if self.use_sigmoid else len(support)
        return class_weights(self._fixed_weights, num_channels, support.device, self.use_sigmoid, self.reweighting)

    def extra_repr(self) -> str:
        """Return what `print` shows of the loss."""
        return f'class_weight={self.class_weight!r}, normalizer={self.normalizer!r}, sync={self.sync}'
