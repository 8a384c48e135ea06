"""Counts and summed cross entropies per class, by the fastest backend that takes the arguments."""

from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor

from .backends import cpu, reference
from .logit_adjustment import LogitAdjustment
from .statistics import ClassStatistics, ClassSums
from .validation import check_labels, check_shapes


def class_losses(
    logits: Tensor, target: Tensor, *, ignore_index: int = -100, sample_weight: Tensor | None = None
) -> tuple[ClassStatistics, Tensor]:
    """Count every class and sum the cross entropy of its samples: L_c = sum of -log p_n(c) over the n labelled c.

    Any class-weighted cross entropy is then ``(weights * loss_sum).sum() / divisor``: equation 1 of the recall-loss
    paper (Tian et al., ICRA 2022) for weights of one, equation 2 for inverse frequencies, equation 5 for 1 - recall.
    The gradient for an incoming (C,) vector g is g[y] * (softmax - onehot).

    Args:
        logits: (N, C, ...) scores before the softmax. float16 and bfloat16 are computed in float32.
        target: (N, ...) class indices in [0, C), or (N, C, ...) soft labels t, finite and at least 0, for which
            L_c is the sum of -t_nc log p_n(c).
        ignore_index: class index that is left out.
        sample_weight: (N, ...) factors of the loss. They never change the counts.

    Returns:
        The statistics (see `class_statistics`) and the differentiable (C,) sums, in float64 if the logits are, else
        in float32. They are accumulated in float64.

    Raises:
        TypeError: logits that are not floating point, labels that are neither integers nor floating point.
        ValueError: shapes that do not belong together, a single channel, labels outside [0, C).

    Example:
        >>> import torch
        >>> logits = torch.tensor([[2.0, 0.0], [3.0, 1.0], [0.0, 1.0], [0.0, 5.0]])
        >>> statistics, loss_sum = class_losses(logits, torch.tensor([0, 1, 1, 255]), ignore_index=255)
        >>> statistics.support
        tensor([1, 2])
        >>> loss_sum
        tensor([0.1269, 2.4402])
    """
    check_shapes(logits, target, sample_weight)
    check_labels(target, logits.shape[1], ignore_index)
    sums = class_sums(logits, target, ignore_index, sample_weight, predictions=True)
    return ClassStatistics(sums.support, sums.predicted, sums.true_positives), sums.loss_sum


# PyTorch 2.1 has it elsewhere; its compiler knows either
is_compiling = getattr(torch.compiler, 'is_compiling', None) or torch._utils.is_compiling


@cache
def _uncompiled_cpu_class_sums() -> Callable[..., ClassSums]:
    """The fused pass as it is, which takes half the time of what the compiler makes of the reference steps."""
    return torch.compiler.disable(cpu.class_sums)  # type: ignore[no-any-return, no-untyped-call]


def class_sums(
    logits: Tensor,
    target: Tensor,
    ignore_index: int,
    sample_weight: Tensor | None = None,
    adjustment: LogitAdjustment | None = None,
    predictions: bool = False,
) -> ClassSums:
    """Count every class and sum the cross entropy of its samples, of adjusted logits; without checks.

    A label outside [0, C) is left out, and no GPU is waited for. On a CPU a compiled model breaks its graph here.
    """
    if not cpu.covers(logits, target, sample_weight):
        return reference.class_sums(logits, target, ignore_index, sample_weight, adjustment, predictions)
    compute = _uncompiled_cpu_class_sums() if is_compiling() else cpu.class_sums
    return compute(logits, target, ignore_index, sample_weight, adjustment, predictions)
