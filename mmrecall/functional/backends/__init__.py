"""Counts and summed cross entropies per class: `class_sums` chooses one of the ways to compute them."""

from collections.abc import Callable
from functools import cache

import torch

from ..batch import Batch, interpolated, is_low_resolution
from ..compiling import is_compiling
from ..logit_adjustment import LogitAdjustment
from ..statistics import ClassSums
from . import binary, cpu, gpu, reference, strips


@cache
def _uncompiled(compute: Callable[..., ClassSums]) -> Callable[..., ClassSums]:
    """Return a function that is not compiled: the pass of a CPU takes half the time of the compiled reference steps."""
    return torch.compiler.disable(compute)  # type: ignore[no-any-return, no-untyped-call]


def class_sums(
    batch: Batch, adjustment: LogitAdjustment | None = None, *, hits: bool = False, predictions: bool = False
) -> ClassSums:
    """Count every class and sum the cross entropy of its samples, with adjusted logits; without checks.

    A label outside [0, C) is left out, and the host waits for no GPU. On a CPU a compiled model breaks its graph here.
    The sums of a sigmoid, and of smoothed labels, are computed in one way on all devices.

    Args:
        batch: the arguments of the loss; low-resolution logits are interpolated.
        adjustment: of the logits before the cross entropy.
        hits: whether to count true positives.
        predictions: whether to count predicted samples.
    """
    if batch.use_sigmoid:
        return binary.class_sums(interpolated(batch))
    if batch.label_smoothing:
        return reference.class_sums(interpolated(batch), adjustment, hits=hits, predictions=predictions)
    if is_low_resolution(batch) and not gpu.covers(batch):
        # on a GPU the compiler makes one kernel of interpolation and loss, which the strips would only split
        if strips.covers(batch) and (batch.logits.device.type == 'cpu' or not is_compiling()):
            compute = _uncompiled(strips.class_sums) if is_compiling() else strips.class_sums
            return compute(batch, adjustment, hits=hits, predictions=predictions, dense=_dense_class_sums)
        batch = interpolated(batch)
    return _dense_class_sums(batch, adjustment, hits=hits, predictions=predictions)


def _dense_class_sums(
    batch: Batch, adjustment: LogitAdjustment | None = None, *, hits: bool = False, predictions: bool = False
) -> ClassSums:
    """Return the class sums of logits of the size of the labels, or of logits that a GPU interpolates on the fly."""
    if gpu.covers(batch):
        return gpu.class_sums(batch, adjustment, hits=hits, predictions=predictions)
    if not cpu.covers(batch):
        return reference.class_sums(batch, adjustment, hits=hits, predictions=predictions)
    compute = _uncompiled(cpu.class_sums) if is_compiling() else cpu.class_sums
    return compute(batch, adjustment, hits=hits, predictions=predictions)
