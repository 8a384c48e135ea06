"""What every loss here shares: OpenMMLab's call signature, validation, and the way over the ranks."""

import inspect
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor, nn

from mmrecall.functional.statistics import full_precision_of
from mmrecall.functional.validation import (
    REDUCTIONS,
    check_choice,
    check_finite,
    check_flag,
    check_integer,
    check_number,
    check_shapes,
    count_invalid_labels,
)
from mmrecall.models.losses.ranks import BatchSummary, LabelCheck, announce_failure, spans_ranks, sum_over_ranks


class Batch(NamedTuple):
    """What a caller passes."""

    logits: Tensor
    target: Tensor
    ignore_index: int
    sample_weight: Tensor | None
    avg_factor: float | Tensor | None


class Measured(NamedTuple):
    """What a loss makes of this rank's batch before it knows the others'."""

    terms: Any
    """Differentiable, for `SoftmaxLoss._combine`; they stay on this rank."""
    num_samples: Tensor
    """What the mean is divided by, to be summed over ranks; float64."""
    counts: tuple[Tensor, ...] = ()
    """(C,) each, to be summed over ranks; as many as ``num_counts``."""
    num_valid: Tensor | None = None
    """Number of valid labels, if they are class indices and were counted."""
    poison: Tensor | None = None
    """0, or NaN if this rank's losses are not all finite, where that matters."""


class SoftmaxLoss(nn.Module):
    """Base of the losses over a softmax, for segmentation (N, C, H, W) and classification (N, C) alike.

    Across ranks, what the loss counts and divides by is summed in one all-reduce, and a rank returns world_size x its
    share, so that the gradient which DistributedDataParallel averages is that of one process with the whole batch.
    With gradient accumulation every forward pass is a batch of its own. All ranks must call all losses of a model in
    the same order, also with an empty batch: one that leaves out a batch makes the others wait.

    Args:
        num_classes: C; compared with the logits.
        ignore_index: label that is left out, if the caller names none: mmseg's heads do, mmpretrain's do not.
        reduction: ``'mean'``, ``'sum'`` or ``'none'``.
        loss_weight: factor of the whole loss.
        loss_name: name in mmseg's log; begins with ``loss_``.
        sync: sum over all ranks in training. If False, each rank has its own statistics and divisor.

    Shape:
        - logits: (N, C, ...), floating point; float16 and bfloat16 are computed in float32.
        - target: (N, ...) integers in [0, C) or ignored, or (N, C, ...) floating-point soft labels, at least 0.
        - output: a scalar, or one value a sample for ``reduction='none'`` (never scaled by the number of ranks).

    Raises:
        ValueError: arguments that do not belong together. In forward: shapes that do not belong together, labels
            outside [0, C). With ``sync`` all ranks raise together; if the very first logits of a rank are no
            (N, C, ...) tensor, or have another C, that needs ``num_classes``. In training on a GPU, bad labels are
            reported one call late, and so is to its peers that a rank refused its arguments, unless the launcher ends
            them before.
        TypeError: in forward, integer logits, labels that are neither integers nor floating point.
    """

    num_counts = 0
    # options of a base class that are no options of this one
    _fixed_options: tuple[str, ...] = ()

    def __init__(
        self,
        num_classes: int | None = None,
        ignore_index: int = -100,
        reduction: str = 'mean',
        loss_weight: float = 1.0,
        loss_name: str = 'loss_softmax',
        sync: bool = True,
        **unknown: Any,
    ) -> None:
        super().__init__()
        if unknown:
            raise TypeError(_describe_unknown(type(self), unknown))
        if num_classes is not None:
            check_integer('num_classes', num_classes)
        if num_classes is not None and num_classes < 2:
            raise ValueError(f'num_classes is {num_classes}; a softmax needs at least 2')
        check_choice('reduction', reduction, REDUCTIONS)
        check_integer('ignore_index', ignore_index)
        check_finite('loss_weight', loss_weight)
        if not isinstance(loss_name, str) or not loss_name.startswith('loss_'):
            raise ValueError(f"loss_name is {loss_name!r}; mmengine adds up only what begins with 'loss_'")
        check_flag('sync', sync)
        self.num_classes = num_classes
        self.ignore_index = ignore_index
        self.reduction = reduction
        self.loss_weight = loss_weight
        self._loss_name = loss_name
        self.sync = sync
        self._label_check = LabelCheck()
        # the last good batch's, for an all-reduce of this rank if it refuses the next one
        self._last_seen: tuple[int, torch.device] | None = None

    @property
    def loss_name(self) -> str:
        """Name in mmseg's log."""
        return self._loss_name

    def forward(
        self,
        logits: Tensor,
        target: Tensor,
        weight: Tensor | None = None,
        avg_factor: float | Tensor | None = None,
        reduction_override: str | None = None,
        ignore_index: int | None = None,
        **kwargs: Any,
    ) -> Tensor:
        """Loss of a batch; ``weight`` is (N, ...) and scales the loss only, unknown keywords are ignored."""
        reduction = self.reduction if reduction_override is None else reduction_override
        ignore_index = self.ignore_index if ignore_index is None else ignore_index
        batch = Batch(logits, target, ignore_index, weight, avg_factor)
        # validation neither moves a state nor waits for other ranks
        training_step = self.training and torch.is_grad_enabled()
        spanning = training_step and spans_ranks(self.sync)
        # without ranks there is no try statement, in which a compiler cannot leave its graph
        summarise = self._summarise_all_ranks if spanning else self._summarise
        terms, summary = summarise(batch, reduction)
        # without gradients in a training step (a pixel sampler) one rank alone must not raise; the loss itself checks
        if spanning or not (self.training and spans_ranks(self.sync)):
            self._label_check(summary, target, logits.shape[1], ignore_index, training_step)
        num_ranks = dist.get_world_size() if spanning else 1
        share = self._combine(terms, batch, summary, reduction, training_step, num_ranks)
        scale = self.loss_weight * (num_ranks if reduction != 'none' else 1)
        share = share.to(full_precision_of(logits.dtype))
        return share if scale == 1 else scale * share

    def _measure(self, batch: Batch, reduction: str) -> Measured:
        """What this rank's batch contributes; without a look at values, so that nothing waits for a GPU."""
        raise NotImplementedError

    def _combine(
        self, terms: Any, batch: Batch, summary: BatchSummary, reduction: str, training_step: bool, num_ranks: int
    ) -> Tensor:
        """This rank's share of the loss of the global batch: the shares of all ranks add up to it."""
        raise NotImplementedError

    def _summarise(self, batch: Batch, reduction: str, spanning: bool = False) -> tuple[Any, BatchSummary]:
        check_choice('reduction', reduction, REDUCTIONS)
        self._check(batch, spanning)
        measured = self._measure(batch, reduction)
        return measured.terms, _summary_of(batch, measured)

    def _summarise_all_ranks(self, batch: Batch, reduction: str) -> tuple[Any, BatchSummary]:
        try:
            terms, local = self._summarise(batch, reduction, spanning=True)
        except Exception:
            # whatever it is, the others must not wait
            self._announce_failure(batch.logits)
            raise
        self._last_seen = (batch.logits.shape[1], batch.logits.device)
        return terms, sum_over_ranks(local)

    def _check(self, batch: Batch, spanning: bool) -> None:
        """Raise TypeError or ValueError for arguments that the loss cannot take."""
        logits = batch.logits
        check_shapes(logits, batch.target, batch.sample_weight)
        check_integer('ignore_index', batch.ignore_index)
        _check_avg_factor(batch.avg_factor)
        if self.num_classes is not None and logits.shape[1] != self.num_classes:
            raise ValueError(
                f'logits have {logits.shape[1]} channels (shape {tuple(logits.shape)}), but this loss is for '
                f'{self.num_classes} classes (its num_classes, or the length of its class_weight or class_counts); '
                'make the head and the loss agree'
            )
        if spanning and self._last_seen is not None and logits.shape[1] != self._last_seen[0]:
            raise ValueError(
                f'logits have {logits.shape[1]} channels (shape {tuple(logits.shape)}), those of the batch before had '
                f'{self._last_seen[0]}'
            )

    def _announce_failure(self, logits: Tensor) -> None:
        num_classes, device = self._last_seen or (self.num_classes, torch.device('cpu'))
        if isinstance(logits, Tensor):
            device = logits.device
            if num_classes is None and logits.ndim > 1:
                num_classes = logits.shape[1]
        if num_classes is not None or not self.num_counts:
            announce_failure(self.num_counts, num_classes or 0, device)


def refuse_fixed_options(cls: type[SoftmaxLoss], options: dict[str, Any]) -> None:
    """Raise TypeError for an option that the class sets itself."""
    fixed = {name: value for name, value in options.items() if name in cls._fixed_options}
    if fixed:
        raise TypeError(_describe_unknown(cls, fixed))


def _describe_unknown(cls: type[SoftmaxLoss], unknown: dict[str, Any]) -> str:
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD,)
    constructors = [base.__init__ for base in cls.__mro__ if issubclass(base, SoftmaxLoss)]
    parameters = [one for function in constructors for one in inspect.signature(function).parameters.values()]
    known = sorted({one.name for one in parameters if one.kind in kinds} - {'self', *cls._fixed_options})
    return (
        f'{cls.__name__} has no option {", ".join(map(repr, unknown))}; it takes {", ".join(known)}. If '
        'the config inherits from one with another loss, add _delete_=True to this one'
    )


def _check_avg_factor(avg_factor: float | Tensor | None) -> None:
    if not isinstance(avg_factor, Tensor):
        if avg_factor is not None:
            check_number('avg_factor', avg_factor)
    elif avg_factor.numel() != 1 or avg_factor.dtype.is_complex:
        raise ValueError(
            f'avg_factor has shape {tuple(avg_factor.shape)} and holds {avg_factor.dtype}; it must be one number of '
            'samples'
        )


def _summary_of(batch: Batch, measured: Measured) -> BatchSummary:
    zero = torch.zeros((), dtype=torch.float64, device=batch.logits.device)
    return BatchSummary(
        # copies, because PyTorch 2.1 cannot compile what returns a tensor and an alias of it
        counts=tuple(count.detach().clone() for count in measured.counts),
        num_samples=measured.num_samples,
        invalid_labels=count_invalid_labels(
            batch.target, batch.logits.shape[1], batch.ignore_index, measured.num_valid
        ),
        poison=zero if measured.poison is None else measured.poison,
        failures=zero,
    )


def num_samples_of(batch: Batch, counted: Tensor, normalizer: str) -> Tensor:
    """What the mean is divided by: ``avg_factor`` if it stands in for the number of all samples, else ``counted``."""
    if normalizer != 'all' or batch.avg_factor is None:
        return counted
    if isinstance(batch.avg_factor, Tensor):
        given = batch.avg_factor.detach().to(counted).reshape(())
        # an error would have to read it, which waits for the device
        return torch.where((given >= 0) & given.isfinite(), given, float('nan'))
    return torch.full_like(counted, batch.avg_factor)
