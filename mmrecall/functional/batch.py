"""Arguments of a loss and sums of a batch: every loss is ``compute(update(batch))``.

``update`` computes the sums over the batch of this process, and ``compute`` the loss from these sums. In distributed
training the modules of `mmrecall.losses` add up the sums of all ranks between the two, in one all-reduce.
"""

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from .statistics import full_precision, widest_float
from .validation import (
    REDUCTIONS,
    check_choice,
    check_flag,
    check_integer,
    check_label_smoothing,
    check_number,
    check_shapes,
    is_soft,
    valid_labels,
)


class Batch(NamedTuple):
    """Arguments of a loss of logits."""

    logits: Tensor
    """(N, C, ...)."""
    target: Tensor
    """(N, ...) class indices, or (N, C, ...) soft labels; with ``use_sigmoid`` (N, C, ...) labels 0 and 1."""
    ignore_index: int = -100
    sample_weight: Tensor | None = None
    """(N, ...)."""
    reduction: str = 'mean'
    avg_factor: float | Tensor | None = None
    """Number of all samples, if the caller passes it."""
    upsample: str | None = None
    """``'bilinear'`` for logits (N, C, h, w) that stand for a map of the size of the labels, (N, C, H, W)."""
    align_corners: bool = False
    """Of the interpolation, as in `torch.nn.functional.interpolate`."""
    use_sigmoid: bool = False
    """Whether every channel is a problem of two classes, instead of all channels one of C classes."""
    label_smoothing: float = 0.0
    """Share of a label that is spread evenly over the classes, in the loss alone."""

    def check(self, loss: str = 'this loss') -> None:
        """Raise TypeError or ValueError for types, shapes and names that do not belong together; read no value.

        ``loss`` is a name for errors.
        """
        check_choice('reduction', self.reduction, REDUCTIONS)
        check_shapes(self.logits, self.target, self.sample_weight, loss, self.upsample, self.use_sigmoid)
        check_label_smoothing(self.label_smoothing)
        check_flag('align_corners', self.align_corners)
        check_integer('ignore_index', self.ignore_index)
        if not isinstance(self.avg_factor, Tensor):
            if self.avg_factor is not None:
                check_number('avg_factor', self.avg_factor)
        elif self.avg_factor.numel() != 1 or self.avg_factor.dtype.is_complex:
            raise ValueError(
                f'got avg_factor of shape {tuple(self.avg_factor.shape)} and type {self.avg_factor.dtype}; expected '
                'one real number, the number of samples'
            )


class Sums(NamedTuple):
    """Sums over a batch; all but the losses are added up over the ranks."""

    losses: Any
    """Differentiable, of this process: sums by class, a loss for every sample, or other terms that `compute` needs."""
    num_samples: Tensor
    """Divisor of the mean, a scalar in `widest_float`; the normalizer ``'weight'`` uses the counts instead."""
    counts: tuple[Tensor, ...] = ()
    """Up to three (C,) tensors of counts by class, added up over the ranks."""
    num_valid: Tensor | None = None
    """Number of valid class indices of this process, where it was counted."""
    nonfinite: Tensor | None = None
    """0, or NaN if the losses are not all finite, where a running statistic depends on it."""
    invalid_labels: Tensor | None = None
    """Number of labels that are neither a class nor ignored."""
    refusals: Tensor | None = None
    """Number of ranks that refused their arguments."""
    num_ranks: int = 1
    """Number of ranks whose sums are added up."""


def num_classes_of(logits: Tensor, use_sigmoid: bool) -> int:
    """Return the number of classes that are counted: C, of a sigmoid 2C, the labels 0 and 1 of every channel."""
    return 2 * logits.shape[1] if use_sigmoid else logits.shape[1]


def shares_mass(batch: Batch) -> bool:
    """Return whether the labels are soft labels over classes, not independent labels of sigmoids."""
    return is_soft(batch.target) and not batch.use_sigmoid


def is_low_resolution(batch: Batch) -> bool:
    """Return whether the logits are to be interpolated to another size, that of the labels."""
    return batch.upsample is not None and batch.logits.shape[2:] != batch.target.shape[-2:]


def interpolated(batch: Batch) -> Batch:
    """Return the batch with logits of the size of the labels, in at least float32."""
    if not is_low_resolution(batch):
        return batch
    size, mode = batch.target.shape[-2:], batch.upsample or 'bilinear'
    logits = F.interpolate(full_precision(batch.logits), size, mode=mode, align_corners=batch.align_corners)
    # not _replace, which PyTorch 2.1 cannot compile
    return Batch(logits, *batch[1:6], use_sigmoid=batch.use_sigmoid, label_smoothing=batch.label_smoothing)


def count_samples(batch: Batch, normalizer: str, num_valid: Tensor | None = None) -> Tensor:
    """Return the number of samples by which ``'valid'`` or ``'all'`` divides, a scalar in `widest_float`.

    ``num_valid`` saves counting the valid samples again; ``avg_factor`` replaces the number of all samples.
    """
    target, dtype = batch.target, widest_float(batch.target.device)
    if normalizer == 'all' and batch.avg_factor is not None:
        if not isinstance(batch.avg_factor, Tensor):
            return torch.full((), batch.avg_factor, dtype=dtype, device=target.device)
        given = batch.avg_factor.detach().to(target.device, dtype).reshape(())
        # an error would need the value, and reading it waits for the device
        return torch.where((given >= 0) & given.isfinite(), given, float('nan'))
    if normalizer == 'all':
        count = target.numel() // target.shape[1] if shares_mass(batch) and target.shape[1] else target.numel()
        return torch.full((), count, dtype=dtype, device=target.device)
    if num_valid is None:
        num_valid = valid_labels(target, batch.logits.shape[1], batch.ignore_index).count_nonzero()
    return num_valid.to(dtype)


def compute_from_samples(sums: Sums, reduction: str) -> Tensor:
    """Compute a loss from the losses (N, ...) of the samples."""
    if reduction == 'none':
        return sums.losses  # type: ignore[no-any-return]
    total: Tensor = sums.losses.sum(dtype=widest_float(sums.losses.device)).to(sums.losses.dtype)
    return total if reduction == 'sum' else divide_loss(total, sums.num_samples)


def divide_loss(total: Tensor, divisor: Tensor) -> Tensor:
    """Return ``total / divisor``; for a divisor of 0, 0 that has a gradient."""
    return total * reciprocal(divisor).to(total.dtype)


def mean_over_classes(losses: Tensor, weights: Tensor, is_counted: Tensor) -> Tensor:
    """Return the mean of losses (..., C) over the counted classes, weighted by (C,); if none, 0 that has a gradient."""
    shares = torch.where(is_counted, weights, 0)
    # relative to the largest, because float32 has no number for a weight of 1e-50, nor for a sum of 1e50
    largest = shares.amax(dim=-1, keepdim=True)
    shares = shares / largest.where(largest > 0, 1)
    return divide_loss((shares.to(losses.dtype) * losses).sum(dim=-1), shares.sum(dim=-1))


def reciprocal(divisor: Tensor) -> Tensor:
    """Return ``1 / divisor``, and 0 for a divisor of 0."""
    # a NaN goes on to the loss, where it is seen
    return divisor.reciprocal().nan_to_num(nan=float('nan'), posinf=0, neginf=0)
