"""Base of the losses of logits: OpenMMLab's call signature, validation, and the sum over all ranks."""

import inspect
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from mmrecall.functional.batch import Batch, Sums, interpolated, num_classes_of
from mmrecall.functional.binary import count_entries, label_shares, shares_of
from mmrecall.functional.statistics import (
    ClassStatistics,
    full_precision_of,
    unchecked_class_statistics,
    widest_float,
)
from mmrecall.functional.validation import (
    REDUCTIONS,
    UPSAMPLES,
    check_choice,
    check_class_indices,
    check_finite,
    check_flag,
    check_integer,
    count_invalid_labels,
    valid_labels,
)

from .distributed import LabelCheck, announce_refusal, is_distributed, reduce


class BaseLoss(nn.Module):
    """Base of the losses of logits, for segmentation (N, C, H, W) and classification (N, C) alike.

    A loss is ``compute(reduce(update(batch)))``: `update` computes the sums over the batch of this rank, `reduce` adds
    up those of all ranks in one all-reduce, in training only, and `compute` returns this rank's share of the loss. Each
    rank returns world_size x its share, so that the gradient which DistributedDataParallel averages is that of one
    process with the whole batch. With gradient accumulation every forward pass is a batch of its own. All ranks must
    call all losses of a model in the same order, also with an empty batch: a rank that leaves out a batch makes the
    others wait.

    Args:
        num_classes: C, the number of channels; compared with the logits.
        ignore_index: label that is left out, if the caller passes none. The heads of mmseg pass one, except those of
            PIDNet and DDRNet; the heads of mmpretrain do not.
        reduction: ``'mean'``, ``'sum'`` or ``'none'``.
        loss_weight: factor of the whole loss.
        loss_name: name in mmseg's log; begins with ``loss_``.
        sync: sum over all ranks in training. If False, each rank has its own statistics and divisor.
        upsample: ``'bilinear'`` for logits (N, C, h, w) of a lower resolution than the target (N, H, W): the value and
            the gradient are those of logits interpolated by `torch.nn.functional.interpolate` to the size of the
            target. The losses with class weights make no map of that size, the others do.
        align_corners: of the interpolation.
        use_sigmoid: every channel is a problem of two classes, label 0 and label 1, instead of all channels one of C
            classes: for binary and multi-label tasks. Only for the losses with `has_sigmoid`.

    Shape:
        - logits: (N, C, ...), floating point; float16 and bfloat16 are computed in float32. C is at least 2, with
          ``use_sigmoid`` at least 1.
        - target: (N, ...) integers in [0, C) or ignored, or (N, C, ...) soft labels: at least 0, with a sum of at most
          1 for a sample. Integers or booleans of this shape are one-hot labels.
        - target with ``use_sigmoid``: (N, C, ...) labels 0, 1 or ignored: integers, booleans, or floats, which may be
          anything between 0 and 1. For one channel also (N, ...).
        - output: a scalar, or one value a sample for ``reduction='none'`` (never scaled by the number of ranks); with
          ``use_sigmoid`` one value for every label, in the shape of the target.

    Raises:
        ValueError: arguments that do not belong together. In forward: shapes that do not belong together, labels
            outside [0, C). With ``sync`` all ranks raise together; in the first step they need ``num_classes`` for that
            if the logits of a rank are no (N, C, ...) tensor, or have another C. In training on a GPU, bad labels and
            the refusal of another rank are reported at the next call, unless the launcher ends the ranks before.
            Replays of a CUDA graph report neither.
        TypeError: in forward, integer logits, labels that are neither integers nor floating point.
    """

    variants: ClassVar[tuple[Mapping[str, Any], ...]] = ({},)
    """Options of the forms of the loss that the benchmark compares."""
    takes_soft_labels: ClassVar[bool] = True
    """Whether labels may be a mass per class."""
    num_counts: ClassVar[int] = 3
    """Number of vectors of counts in the all-reduce: 3, or 0 for a loss whose `update` counts no classes."""
    takes_low_resolution: ClassVar[bool] = False
    """Whether `update` accepts low-resolution logits; for other losses they are interpolated first."""
    has_sigmoid: ClassVar[bool] = False
    """Whether the loss has a form with ``use_sigmoid``."""
    fixed_options: ClassVar[tuple[str, ...]] = ()
    """Options of the base class that the class sets itself."""

    def __init__(
        self,
        num_classes: int | None = None,
        ignore_index: int = -100,
        reduction: str = 'mean',
        loss_weight: float = 1.0,
        loss_name: str = 'loss_softmax',
        sync: bool = True,
        upsample: str | None = None,
        align_corners: bool = False,
        use_sigmoid: bool = False,
        **unknown: Any,
    ) -> None:
        super().__init__()
        # mmengine leaves this key in a config whose parent has no loss to delete
        unknown.pop('_delete_', None)
        if unknown:
            raise TypeError(_describe_unknown(type(self), unknown))
        check_flag('use_sigmoid', use_sigmoid)
        if use_sigmoid and not self.has_sigmoid:
            raise ValueError(
                f'got use_sigmoid=True for {type(self).__name__}, a loss over a softmax; expected RecallLoss, '
                'WeightedCrossEntropyLoss or SoftmaxFocalLoss; use one of them, or leave use_sigmoid out'
            )
        if num_classes is not None:
            check_integer('num_classes', num_classes)
        if num_classes is not None and num_classes < (1 if use_sigmoid else 2):
            raise ValueError(
                f'got num_classes={num_classes}; expected at least '
                + ('1, the channel of a sigmoid' if use_sigmoid else '2, the classes of a softmax')
            )
        check_choice('reduction', reduction, REDUCTIONS)
        check_integer('ignore_index', ignore_index)
        check_finite('loss_weight', loss_weight)
        if not isinstance(loss_name, str) or not loss_name.startswith('loss_'):
            raise ValueError(
                f"got loss_name={loss_name!r}; expected a name that begins with 'loss_', as mmengine adds up no other"
            )
        check_flag('sync', sync)
        if upsample is not None:
            check_choice('upsample', upsample, UPSAMPLES)
        check_flag('align_corners', align_corners)
        self.num_classes = num_classes
        self.ignore_index = ignore_index
        self.reduction = reduction
        self.loss_weight = loss_weight
        self._loss_name = loss_name
        self.sync = sync
        self.upsample = upsample
        self.align_corners = align_corners
        self.use_sigmoid = use_sigmoid
        self.label_smoothing = 0.0
        self.last_statistics: ClassStatistics | None = None
        self._label_check = LabelCheck(type(self).__name__, use_sigmoid)
        # C and the device of the last accepted batch, for the all-reduce of a rank that refuses the next one
        self._last_seen: tuple[int, torch.device] | None = None

    @property
    def loss_name(self) -> str:
        """Name in mmseg's log."""
        return self._loss_name

    @property
    def is_training_step(self) -> bool:
        """Whether running statistics are updated and ranks communicate, which validation does not do."""
        return self.training and torch.is_grad_enabled()

    def update(self, batch: Batch) -> Sums:
        """Compute the sums over this rank's batch.

        Raise errors for batches that `Batch.check` accepts, but the loss does not. Read no value, so that nothing waits
        for a GPU.
        """
        raise NotImplementedError

    def compute(self, sums: Sums, batch: Batch) -> Tensor:
        """Compute this rank's share of the loss; the shares of all ranks add up to the loss."""
        raise NotImplementedError

    def forward(
        self,
        logits: Tensor,
        target: Tensor,
        weight: Tensor | None = None,
        avg_factor: float | Tensor | None = None,
        reduction_override: str | None = None,
        ignore_index: int | None = None,
        upsample: str | None = None,
        align_corners: bool | None = None,
        **kwargs: Any,
    ) -> Tensor:
        """Compute the loss of a batch.

        ``weight`` is (N, ...) and scales the loss only; keywords that the loss does not know are ignored.
        """
        target = self.as_soft_labels(logits, target)
        batch = Batch(
            logits,
            target,
            self.ignore_index if ignore_index is None else ignore_index,
            weight,
            self.reduction if reduction_override is None else reduction_override,
            avg_factor,
            self.upsample if upsample is None else upsample,
            self.align_corners if align_corners is None else align_corners,
            self.use_sigmoid,
            self.label_smoothing,
        )
        has_peers = self.training and is_distributed(self.sync)
        # a single process runs no try statement, because a compiler cannot break its graph inside one
        sums = self._reduced_sums(batch) if has_peers and self.is_training_step else self._local_sums(batch)
        # A pixel sampler of mmseg calls the loss without gradients in a training step. The ranks do not communicate
        # there, and one that raised alone would leave the others waiting: the call with gradients checks the labels.
        if not has_peers or self.is_training_step:
            self._label_check(sums, target, batch.logits.shape[1], batch.ignore_index, self.is_training_step)
        loss = self.compute(sums, batch).to(full_precision_of(logits.dtype))
        scale = self.loss_weight * (sums.num_ranks if batch.reduction != 'none' else 1)
        return loss if scale == 1 else scale * loss

    def _local_sums(self, batch: Batch) -> Sums:
        if not self.takes_soft_labels:
            check_class_indices(batch.target)
        batch.check(self._label_check.loss)
        self._check_num_classes(batch)
        sums = self.update(batch if self.takes_low_resolution else interpolated(batch))
        # a tensor that torch.func has wrapped cannot be used after its transform
        if batch.upsample is not None and self.takes_low_resolution and not torch._C._are_functorch_transforms_active():
            self.last_statistics = ClassStatistics(sums.counts[0].detach(), None, sums.counts[1].detach())
        invalid_labels = sums.invalid_labels
        if invalid_labels is None:
            num_classes = batch.logits.shape[1]
            invalid_labels = count_invalid_labels(
                batch.target, num_classes, batch.ignore_index, sums.num_valid, self.use_sigmoid
            )
        # not _replace, which PyTorch 2.1 cannot compile
        return Sums(
            losses=sums.losses,
            num_samples=sums.num_samples,
            counts=tuple(count.detach().to(widest_float(count.device)) for count in sums.counts),
            nonfinite=sums.nonfinite,
            invalid_labels=invalid_labels,
        )

    def _reduced_sums(self, batch: Batch) -> Sums:
        try:
            sums = self._local_sums(batch)
            self._check_last_seen(batch)
        except Exception:
            # whatever the error is, the other ranks must not wait
            self._announce_refusal(batch.logits)
            raise
        self._last_seen = (batch.logits.shape[1], batch.logits.device)
        return reduce(sums, num_classes_of(batch.logits, self.use_sigmoid), self.num_counts)

    def _check_num_classes(self, batch: Batch) -> None:
        if self.num_classes is not None and batch.logits.shape[1] != self.num_classes:
            hint = ', to 1 for labels 0 and 1: with use_sigmoid=True num_classes is the number of channels'
            raise ValueError(
                f'got logits of shape {tuple(batch.logits.shape)}, with {batch.logits.shape[1]} channels, in a loss '
                f'for {self.num_classes} classes (its num_classes, or the length of its class_weight or class_counts); '
                f'set the num_classes of head and loss to the same number{hint if self.use_sigmoid else ""}'
            )

    def _check_last_seen(self, batch: Batch) -> None:
        num_classes = batch.logits.shape[1] if self._last_seen is None else self._last_seen[0]
        if batch.logits.shape[1] != num_classes:
            raise ValueError(
                f'got logits of shape {tuple(batch.logits.shape)}, with {batch.logits.shape[1]} channels; expected '
                f'{num_classes}, as in the batch before'
            )

    def _announce_refusal(self, logits: Tensor) -> None:
        num_classes, device = self._last_seen or (self.num_classes, torch.device('cpu'))
        if isinstance(logits, Tensor):
            device = logits.device
            if num_classes is None and logits.ndim > 1:
                num_classes = logits.shape[1]
        if num_classes is not None or not self.num_counts:
            labels = 2 if self.use_sigmoid else 1
            announce_refusal(labels * (num_classes or 0), device, self.num_counts)

    # the methods below are for hooks and tools

    def as_soft_labels(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return one-hot integers or booleans as floats if the loss accepts soft labels, other labels unchanged."""
        if self.use_sigmoid or not (
            self.takes_soft_labels and isinstance(logits, Tensor) and isinstance(target, Tensor)
        ):
            return target
        # mmpretrain's data preprocessor makes integers with to_onehot=True; with `upsample` other sizes differ
        is_one_hot = target.ndim == logits.ndim and target.shape[:2] == logits.shape[:2]
        is_one_hot = is_one_hot and not (target.is_floating_point() or target.is_complex())
        return target.to(full_precision_of(logits.dtype)) if is_one_hot else target

    @classmethod
    def is_plain_config(cls, options: Mapping[str, Any]) -> bool:
        """Return whether the loss is plain cross entropy with these options of a config."""
        return False

    @property
    def is_cross_entropy(self) -> bool:
        """Whether the loss is a cross entropy in which all samples have the same weight."""
        return False

    @torch.no_grad()
    def count(self, logits: Tensor, target: Tensor, ignore_index: int) -> ClassStatistics:
        """Count the classes that have weights, (C,) each; with ``use_sigmoid`` both labels of each channel, (2C,)."""
        if not self.use_sigmoid:
            return unchecked_class_statistics(logits, target, ignore_index)
        batch = Batch(logits, target, ignore_index, use_sigmoid=True)
        return count_entries(batch, shares_of(batch))

    def class_weights(self, statistics: ClassStatistics, sample_weight_sums: Tensor | None = None) -> Tensor | None:
        """Return the weights, (C,), that the loss gives the classes of a batch with these counts; no state changes.

        Args:
            statistics: of `count`, of the whole batch, on all ranks.
            sample_weight_sums: those of `sum_sample_weights`, of the whole batch.

        Returns:
            Weights, not normalised, and arbitrary for a class without support; None if the loss has weights neither of
            samples nor of classes.
        """
        return None

    def sum_sample_weights(self, logits: Tensor, target: Tensor, ignore_index: int) -> Tensor | None:
        """Return the (C,) sums of the weights that the loss gives the samples of a class; None if it gives none."""
        return None

    def running_statistics(self) -> dict[str, Tensor]:
        """Return the statistics that the loss keeps from batch to batch, (C,) each, by name.

        `SkippedStepHook` restores them if a training step is undone, `ClassWeightHook` logs them.
        """
        return {}

    @torch.no_grad()
    def nonfinite_classes(self, logits: Tensor, target: Tensor, **call: Any) -> Tensor:
        """Return (C,) booleans: the classes whose share of the loss of this call is not finite.

        With ``use_sigmoid`` they are the channels, or of one channel its two labels.
        """
        # without gradients the call changes no running statistic and waits for no other rank
        target = self.as_soft_labels(logits, target)
        bad = ~self.forward(logits, target, **{**call, 'reduction_override': 'none'}).isfinite()
        return self._classes_of(bad, logits, target, call.get('ignore_index'))

    def _classes_of(self, bad: Tensor, logits: Tensor, target: Tensor, ignore_index: int | None) -> Tensor:
        """Return which classes have a value of ``reduction='none'`` in ``bad``."""
        if self.use_sigmoid:
            return self._labels_of(bad, logits, target, ignore_index)
        if target.is_floating_point():
            return (target.movedim(1, -1)[bad] > 0).any(dim=0)
        # an infinite loss_weight makes the losses of ignored samples NaN
        ignore_index = self.ignore_index if ignore_index is None else ignore_index
        labels = target[bad & valid_labels(target, logits.shape[1], ignore_index)].long()
        return torch.bincount(labels, minlength=logits.shape[1]) > 0

    def _labels_of(self, bad: Tensor, logits: Tensor, target: Tensor, ignore_index: int | None) -> Tensor:
        """Return which channels of a sigmoid, or labels of a single one, have a value in ``bad``."""
        ignore_index = self.ignore_index if ignore_index is None else ignore_index
        num_channels = logits.shape[1]
        # (N, C, ...) labels, whatever the size of the logits
        entries = target.unsqueeze(1) if target.ndim < logits.ndim else target
        shares = label_shares(entries, ignore_index, torch.float32)
        found = [((share > 0) & bad.reshape(entries.shape)).transpose(0, 1).flatten(1).any(dim=1) for share in shares]
        return torch.cat(found) if num_channels == 1 else found[0] | found[1]


def refuse_fixed_options(cls: type[BaseLoss], options: Mapping[str, Any]) -> None:
    """Raise TypeError for an option that the class sets itself."""
    given = [name for name in cls.fixed_options if name in options]
    if given:
        raise TypeError(_describe_unknown(cls, given))


def _describe_unknown(cls: type[BaseLoss], unknown: Any) -> str:
    constructors = [base.__init__ for base in cls.__mro__ if issubclass(base, BaseLoss)]
    parameters = [one for function in constructors for one in inspect.signature(function).parameters.values()]
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    known = sorted({one.name for one in parameters if one.kind == kind} - {'self', *cls.fixed_options})
    message = (
        f'got {", ".join(map(repr, unknown))}, which is no option of {cls.__name__}; expected {", ".join(known)}. In '
        'an OpenMMLab config that inherits from one with another loss, add _delete_=True to this one'
    )
    if 'class_weight' in unknown:
        message += (
            '. For loss_cls of Mask2Former and MaskFormer, which needs class weights because of "no object", a class '
            'that the data do not have, use RecallLoss or WeightedCrossEntropyLoss'
        )
    return message
