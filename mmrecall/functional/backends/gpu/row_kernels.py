# mypy: ignore-errors
# Triton's functions carry no types.
"""Kernels for logits whose classes are contiguous in memory: each program handles a few samples and loops over blocks
of their classes, with the formulas of `dense_kernels`.
"""

import triton
import triton.language as tl

from .parts import LOWEST, exponential, finish_exponentials, load_factors, load_labels, load_margins, place_samples


@triton.jit
def adjust_rows(score, c, exists, label, margin, offsets, scale, ADJUSTED: tl.constexpr):
    """Return scale x (score + offset_c - margin 1[c = label]) of scores (samples, classes)."""
    if ADJUSTED:
        if offsets is not None:
            score += tl.load(offsets + c, mask=exists, other=0.0).to(tl.float32)[None, :]
        score = scale * (score - tl.where(c[None, :] == label[:, None], margin[:, None], 0.0))
    return score


@triton.jit
def row_forward(
    logits, labels, sample_weights, offsets, margins, lse_out, losses_out, predictions_out, P, total, stride_n,
    stride_p, ignore_index, scale, C: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr, ADJUSTED: tl.constexpr,
):  # fmt: skip
    """Store lse, losses and, where ``predictions_out`` is given, the predictions of the samples."""
    sample, inside, at = place_samples(P, total, ROWS, tl.program_id(0), stride_n, stride_p, False)
    label, _ = load_labels(labels, sample, inside, ignore_index, C)
    margin = load_margins(margins, label)
    largest = tl.full([ROWS], LOWEST, tl.float32)
    sum_exp = tl.zeros([ROWS], tl.float32)
    label_score = tl.load(logits + at + label, mask=label >= 0, other=0.0).to(tl.float32)
    if ADJUSTED:
        if offsets is not None:
            label_score += tl.load(offsets + label, mask=label >= 0, other=0.0).to(tl.float32)
        label_score = scale * (label_score - margin)
    best = tl.full([ROWS], float('-inf'), tl.float32)
    # a NaN, which precedes everything, is stored as its class minus C
    prediction = tl.full([ROWS], C, tl.int32)
    for start in range(0, C, COLUMNS):
        c = start + tl.arange(0, COLUMNS)
        exists = c < C
        score = tl.load(
            logits + at[:, None] + c[None, :], mask=inside[:, None] & exists[None, :], other=float('-inf')
        ).to(tl.float32)
        if predictions_out is not None:
            highest = tl.max(tl.where(score == score, score, float('-inf')), axis=1)
            candidate = tl.where(score == highest[:, None], c[None, :], C)
            candidate = tl.min(tl.where(score == score, candidate, c[None, :] - C), axis=1)
            # of two NaN the earlier one counts, which has the smaller number
            is_best = tl.where(candidate < 0, candidate < prediction, (highest > best) & (prediction >= 0))
            is_best = is_best | ((prediction == C) & (candidate < C))
            prediction = tl.where(is_best, candidate, prediction)
            best = tl.maximum(best, highest)
        score = adjust_rows(score, c, exists, label, margin, offsets, scale, ADJUSTED)
        if ADJUSTED:
            # a scale below 0 must not bring back the classes that do not exist
            score = tl.where(exists[None, :], score, float('-inf'))
        new = tl.maximum(largest, tl.max(score, axis=1))
        exponentials = exponential(score - new[:, None])
        sum_exp = sum_exp * exponential(largest - new) + tl.sum(exponentials, axis=1)
        largest = new
    sum_exp, log_sum = finish_exponentials(largest, sum_exp)
    tl.store(lse_out + sample, largest + log_sum, mask=inside)
    loss = log_sum - (label_score - largest)
    if sample_weights is not None:
        loss *= tl.load(sample_weights + sample, mask=label >= 0, other=0.0).to(tl.float32)
    tl.store(losses_out + sample, tl.where(label >= 0, loss, 0.0), mask=inside)
    if predictions_out is not None:
        prediction = tl.where(prediction < 0, prediction + C, prediction)
        tl.store(predictions_out + sample, prediction.to(predictions_out.dtype.element_ty), mask=inside)


@triton.jit
def sum_rows(
    labels, sample_losses, sample_predictions, losses, counts, predicted, loss_sums, count_sums, total, num_blocks,
    ignore_index, C: tl.constexpr, CLASSES: tl.constexpr, SAMPLES: tl.constexpr, PER_BLOCK: tl.constexpr,
    FINAL: tl.constexpr, PREDICTIONS: tl.constexpr,
):  # fmt: skip
    """Sum losses and counts of some classes over a block of ``PER_BLOCK`` samples, ``SAMPLES`` at a time.

    The sums go where `store_class_sums` puts them, or with ``FINAL``, for a single block, where `add_up_blocks` does.
    """
    classes = tl.program_id(0) * CLASSES + tl.arange(0, CLASSES)
    block = tl.program_id(1).to(tl.int64)
    loss_sum = tl.zeros([CLASSES], tl.float64)
    packed_sum = tl.zeros([CLASSES], tl.int32)
    predicted_sum = tl.zeros([CLASSES], tl.int32)
    invalid = tl.zeros([SAMPLES], tl.int32)
    for start in range(0, PER_BLOCK, SAMPLES):
        sample = block * PER_BLOCK + start + tl.arange(0, SAMPLES)
        inside = sample < total
        label, is_invalid = load_labels(labels, sample, inside, ignore_index, C)
        is_class = classes[:, None] == label[None, :]
        loss = tl.load(sample_losses + sample, mask=inside, other=0.0)
        loss_sum += tl.sum(tl.where(is_class, loss[None, :], 0.0), axis=1).to(tl.float64)
        packed = tl.full([SAMPLES], 1, tl.int32)
        if sample_predictions is not None:
            prediction = tl.load(sample_predictions + sample, mask=inside, other=0).to(tl.int32)
            packed += tl.where(prediction == label, 65536, 0)
            if PREDICTIONS:
                is_predicted = (classes[:, None] == prediction[None, :]) & (label >= 0)[None, :]
                predicted_sum += tl.sum(is_predicted.to(tl.int32), axis=1)
        packed_sum += tl.sum(tl.where(is_class, packed[None, :], 0), axis=1)
        invalid += is_invalid.to(tl.int32)
    exists = classes < C
    if FINAL:
        tl.store(loss_sums + classes, loss_sum.to(tl.float32), mask=exists)
        tl.store(count_sums + classes, (packed_sum & 65535), mask=exists)
        tl.store(count_sums + C + classes, (packed_sum >> 16), mask=exists)
        tl.store(count_sums + 2 * C + classes, predicted_sum, mask=exists)
        if tl.program_id(0) == 0:
            tl.store(count_sums + 3 * C, tl.sum(invalid, axis=0))
    else:
        to = block + classes.to(tl.int64) * num_blocks
        tl.store(losses + to, loss_sum.to(tl.float32), mask=exists)
        tl.store(counts + to, packed_sum, mask=exists)
        if PREDICTIONS:
            tl.store(predicted + to, predicted_sum, mask=exists)
        if tl.program_id(0) == 0:
            last = block + tl.full([], C, tl.int64) * num_blocks
            tl.store(counts + last, tl.sum(invalid, axis=0))


@triton.jit
def row_backward(
    logits, labels, sample_weights, offsets, margins, lse, incoming, gradient, P, total, stride_n, stride_p, out_n,
    out_c, out_p, ignore_index, scale, C: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
    ADJUSTED: tl.constexpr, EACH: tl.constexpr,
):  # fmt: skip
    """Store the gradient of a few samples and ``COLUMNS`` of their classes."""
    block = tl.program_id(0)
    sample, inside, at = place_samples(P, total, ROWS, block, stride_n, stride_p, False)
    _, _, to = place_samples(P, total, ROWS, block, out_n, out_p, False)
    label, _ = load_labels(labels, sample, inside, ignore_index, C)
    factor = load_factors(incoming, sample_weights, sample, label, scale, ADJUSTED, EACH)
    margin = load_margins(margins, label)
    log_sum = tl.load(lse + sample, mask=inside, other=0.0)
    c = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    exists = c < C
    mask = inside[:, None] & exists[None, :]
    score = tl.load(logits + at[:, None] + c[None, :], mask=mask, other=0.0).to(tl.float32)
    score = adjust_rows(score, c, exists, label, margin, offsets, scale, ADJUSTED)
    is_label = c[None, :] == label[:, None]
    value = factor[:, None] * (exponential(score - log_sum[:, None]) - tl.where(is_label, 1.0, 0.0))
    value = tl.where((label >= 0)[:, None], value, 0.0)
    tl.store(gradient + to[:, None] + c.to(tl.int64)[None, :] * out_c, value.to(gradient.dtype.element_ty), mask=mask)
