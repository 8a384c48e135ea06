"""Counts and summed cross entropies per class: `class_sums` chooses one of the ways to compute them."""

from collections.abc import Callable
from functools import cache

import torch

from ..batch import Batch, interpolated
from ..logit_adjustment import LogitAdjustment
from ..statistics import ClassSums
from . import cpu, gpu, reference

# PyTorch 2.1 has it elsewhere; its compiler knows either
is_compiling = getattr(torch.compiler, 'is_compiling', None) or torch._utils.is_compiling


@cache
def _uncompiled_cpu_class_sums() -> Callable[..., ClassSums]:
    """The fused pass as it is, which takes half the time of what the compiler makes of the reference steps."""
    return torch.compiler.disable(cpu.class_sums)  # type: ignore[no-any-return, no-untyped-call]


def class_sums(
    batch: Batch, adjustment: LogitAdjustment | None = None, *, hits: bool = False, predictions: bool = False
) -> ClassSums:
    """Count every class and sum the cross entropy of its samples, of adjusted logits; without checks.

    A label outside [0, C) is left out, and no GPU is waited for. On a CPU a compiled model breaks its graph here.

    Args:
        batch: the arguments of the loss.
        adjustment: of the logits of the cross entropy.
        hits: whether to count true positives.
        predictions: whether to count predicted samples.
    """
    batch = interpolated(batch)
    if gpu.covers(batch):
        return gpu.class_sums(batch, adjustment, hits=hits, predictions=predictions)
    if not cpu.covers(batch):
        return reference.class_sums(batch, adjustment, hits=hits, predictions=predictions)
    compute = _uncompiled_cpu_class_sums() if is_compiling() else cpu.class_sums
    return compute(batch, adjustment, hits=hits, predictions=predictions)
