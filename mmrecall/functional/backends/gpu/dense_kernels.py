# mypy: ignore-errors
# Triton's functions carry no types.
"""Kernels of dense logits: a thread holds a sample and goes through its classes, which lie far apart in memory.

Let z be the adjusted scores of a sample, y its label, m their maximum and s the sum of exp(z_c - m):

    loss       = w (log s - (z_y - m))
    dloss/dz_c = w (exp(z_c - lse) - 1[c = y])    where lse = m + log s

The forward pass keeps lse alone; the backward pass reads the logits again.
"""

import triton
import triton.language as tl

from .parts import (
    LOWEST,
    add_score,
    adjust,
    compare_special,
    exponential,
    finish_exponentials,
    is_special,
    load_factors,
    load_labels,
    load_margins,
    place_samples,
    store_results,
)


@triton.jit
def dense_forward(
    logits, labels, sample_weights, offsets, margins, lse_out, losses_out, losses, counts, predicted, P, total,
    stride_n, stride_c, stride_p, ignore_index, scale, num_blocks, C: tl.constexpr, BLOCK: tl.constexpr,
    WITHIN_IMAGE: tl.constexpr, ADJUSTED: tl.constexpr, HITS: tl.constexpr, PREDICTIONS: tl.constexpr,
):  # fmt: skip
    """Store lse, the losses of the samples where ``losses_out`` is given, and the sums of the block.

    ``predicted`` may be None without ``PREDICTIONS``, which need ``HITS``. ``sample_weights``, ``offsets`` and
    ``margins`` may be None.
    """
    block = tl.program_id(0)
    sample, inside, at = place_samples(P, total, BLOCK, block, stride_n, stride_p, WITHIN_IMAGE)
    label, is_invalid = load_labels(labels, sample, inside, ignore_index, C)
    margin = load_margins(margins, label)
    largest = tl.full([BLOCK], LOWEST, tl.float32)
    sum_exp = tl.zeros([BLOCK], tl.float32)
    label_score = tl.zeros([BLOCK], tl.float32)
    best = largest
    prediction = tl.zeros([BLOCK], tl.int32)
    classes = logits
    # the scores of the next class are read while those of the present one are processed
    coming = tl.load(classes + at, mask=inside, other=0.0)
    for c in range(0, C):
        score = coming.to(tl.float32)
        classes += stride_c
        coming = tl.load(classes + at, mask=inside & (c + 1 < C), other=0.0)
        largest, sum_exp, label_score, best, prediction = add_score(
            score, c, largest, sum_exp, label_score, best, prediction, label, margin, offsets, scale, ADJUSTED, HITS
        )
    sum_exp, log_sum = finish_exponentials(largest, sum_exp)
    if HITS:
        special = inside & is_special(best if ADJUSTED else largest, sum_exp)
        if tl.max(special.to(tl.int32), axis=0) > 0:
            # rarely: the prediction once more, with comparisons that know NaN and -inf
            best = tl.full([BLOCK], float('-inf'), tl.float32)
            prediction = tl.zeros([BLOCK], tl.int32)
            classes = logits
            for c in range(0, C):
                score = tl.load(classes + at, mask=inside, other=0.0).to(tl.float32)
                best, prediction = compare_special(score, c, best, prediction)
                classes += stride_c
    store_results(
        largest, log_sum, label_score, prediction, label, is_invalid, sample, inside, sample_weights, lse_out,
        losses_out, losses, counts, predicted, block, num_blocks, C, PREDICTIONS,
    )  # fmt: skip


@triton.jit
def dense_backward(
    logits, labels, sample_weights, offsets, margins, lse, incoming, gradient, P, total, stride_n, stride_c, stride_p,
    out_n, out_c, out_p, ignore_index, scale, C: tl.constexpr, BLOCK: tl.constexpr, WITHIN_IMAGE: tl.constexpr,
    ADJUSTED: tl.constexpr, EACH: tl.constexpr,
):  # fmt: skip
    """Store the gradient; ``incoming`` has a factor for every class, or with ``EACH`` for every sample."""
    # in reverse, because the end of the logits was read last and may still be in the cache
    block = tl.num_programs(0) - 1 - tl.program_id(0)
    sample, inside, at = place_samples(P, total, BLOCK, block, stride_n, stride_p, WITHIN_IMAGE)
    _, _, to = place_samples(P, total, BLOCK, block, out_n, out_p, WITHIN_IMAGE)
    label, _ = load_labels(labels, sample, inside, ignore_index, C)
    factor = load_factors(incoming, sample_weights, sample, label, scale, ADJUSTED, EACH)
    margin = load_margins(margins, label)
    log_sum = tl.load(lse + sample, mask=inside, other=0.0)
    is_valid = label >= 0
    for c in range(0, C):
        score = tl.load(logits + at, mask=inside, other=0.0).to(tl.float32)
        score = adjust(score, c, label, margin, offsets, scale, ADJUSTED)
        value = factor * (exponential(score - log_sum) - tl.where(c == label, 1.0, 0.0))
        # 0 for an ignored sample, whatever its logits
        tl.store(gradient + to, tl.where(is_valid, value, 0.0).to(gradient.dtype.element_ty), mask=inside)
        logits += stride_c
        gradient += out_c
