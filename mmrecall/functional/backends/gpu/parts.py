# mypy: ignore-errors
# Triton's functions carry no types.
"""Parts that the Triton kernels share; the compiler inlines them.

A thread holds a sample and goes through its classes. The sums of the blocks of samples are added up by one more kernel,
without atomics, so that two runs give the same bits.
"""

import triton
import triton.language as tl

# A running maximum starts here and not at -inf, so that its difference from a score of -inf is no NaN.
LOWEST = tl.constexpr(-3.4028234663852886e38)
LOG2_E = tl.constexpr(1.4426950408889634)


@triton.jit
def place_samples(P, total, BLOCK: tl.constexpr, block, stride_n, stride_p, WITHIN_IMAGE: tl.constexpr):
    """Return the samples of a block, whether they exist, and the offsets of their class 0 in the logits.

    Blocks end where images end, unless the images are small: then a block holds samples of several of them, at the
    price of a division for every sample.
    """
    if WITHIN_IMAGE:
        blocks_per_image = tl.cdiv(P, BLOCK)
        image = (block // blocks_per_image).to(tl.int64)
        place = (block % blocks_per_image).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
        sample = image * P + place
        inside = place < P
        at = image * stride_n + place * stride_p
    else:
        sample = block.to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
        inside = sample < total
        at = (sample // P) * stride_n + (sample % P) * stride_p
    return sample, inside, at


@triton.jit
def load_labels(labels, at, inside, ignore_index, num_classes):
    """Return labels (int32, -1 where the sample is left out) and whether they are neither a class nor ignored."""
    # int64 first: a label of 2**32 + 1 is not 1
    label = tl.load(labels + at, mask=inside, other=0).to(tl.int64)
    is_class = (label >= 0) & (label < num_classes)
    is_valid = inside & is_class & (label != ignore_index)
    is_invalid = inside & (label != ignore_index) & ~is_class
    return tl.where(is_valid, label, -1).to(tl.int32), is_invalid


@triton.jit
def load_margins(margins, label):
    """Return the margin of every label, 0 where the sample is left out or there are no margins."""
    margin = tl.zeros_like(label).to(tl.float32)
    if margins is not None:
        margin = tl.load(margins + label, mask=label >= 0, other=0.0).to(tl.float32)
    return margin


@triton.jit
def load_factors(incoming, sample_weights, sample, label, scale, ADJUSTED: tl.constexpr, EACH: tl.constexpr):
    """Return the factor of the gradient of every sample, 0 where it is left out."""
    is_valid = label >= 0
    if EACH:
        factor = tl.load(incoming + sample, mask=is_valid, other=0.0)
    else:
        factor = tl.load(incoming + label, mask=is_valid, other=0.0)
    if sample_weights is not None:
        factor *= tl.load(sample_weights + sample, mask=is_valid, other=0.0).to(tl.float32)
    if ADJUSTED:
        factor *= scale
    return factor


@triton.jit
def adjust(score, c, label, margin, offsets, scale, ADJUSTED: tl.constexpr):
    """Return scale x (score + offset_c - margin 1[c = label]) of class indices ``c`` below C."""
    if ADJUSTED:
        if offsets is not None:
            score += tl.load(offsets + c).to(tl.float32)
        score = scale * (score - tl.where(c == label, margin, 0.0))
    return score


@triton.jit
def exponential(difference):
    """Return exp(difference), like `tl.exp`, which the compiler makes slower."""
    return tl.exp2(difference * LOG2_E)


@triton.jit
def add_exponential(largest, total, score):
    """Return the largest score and the sum of exp(s - largest) over the scores s, with one more score.

    The largest starts at `LOWEST`, the sum at 0; scores of +inf are left to `finish_exponentials`.
    """
    # one exponential either way: of the score, or of the change of the largest
    change = tl.exp2(tl.abs(score - largest) * -LOG2_E)
    is_larger = score > largest
    total = tl.where(is_larger, total, 1.0) * change + tl.where(is_larger, 1.0, total)
    return tl.maximum(largest, score), total


@triton.jit
def add_score(
    score, c, largest, sum_exp, label_score, best, prediction, label, margin, offsets, scale, ADJUSTED: tl.constexpr,
    HITS: tl.constexpr,
):  # fmt: skip
    """Return the state of the samples after the scores of class ``c``.

    This is their largest adjusted score, the sum of exponentials, the score of the label, and for ``HITS`` the largest
    score and the prediction; ``best`` is used with ``ADJUSTED`` alone, without it the largest score is the same.
    """
    if HITS:
        # the lowest class on ties
        if ADJUSTED:
            prediction = tl.where(score > best, c, prediction)
            best = tl.maximum(best, score)
        else:
            prediction = tl.where(score > largest, c, prediction)
    score = adjust(score, c, label, margin, offsets, scale, ADJUSTED)
    label_score = tl.where(c == label, score, label_score)
    largest, sum_exp = add_exponential(largest, sum_exp, score)
    return largest, sum_exp, label_score, best, prediction


@triton.jit
def finish_exponentials(largest, total):
    """Return the sum of exponentials, NaN where a score is +inf or NaN, and its logarithm."""
    # a softmax with a score of +inf is inf / inf
    total = tl.where(largest == float('inf'), float('nan'), total)
    return total, tl.log(total)


@triton.jit
def is_special(largest, total):
    """Return whether a score is +inf or NaN, or none is above `LOWEST`: comparisons did not find the prediction."""
    # not by total > 0, which holds for NaN too
    return (total != total) | (largest <= LOWEST)


@triton.jit
def compare_special(score, c, best, prediction):
    """Return the best score and its class, where NaN is the largest and -inf a score like others, as in PyTorch."""
    is_best = (score > best) | ((score != score) & (best == best))
    prediction = tl.where(is_best, c, prediction)
    return tl.where(is_best, score, best), prediction


@triton.jit
def store_results(
    largest, log_sum, label_score, prediction, label, is_invalid, sample, inside, sample_weights, lse_out, losses_out,
    losses, counts, predicted, block, num_blocks, C: tl.constexpr, PREDICTIONS: tl.constexpr,
):  # fmt: skip
    """Store lse, the losses of the samples where ``losses_out`` is given, and the sums of the block."""
    tl.store(lse_out + sample, largest + log_sum, mask=inside)
    # the difference first: it is exact for the largest score, however large
    loss = log_sum - (label_score - largest)
    if sample_weights is not None:
        loss *= tl.load(sample_weights + sample, mask=label >= 0, other=0.0).to(tl.float32)
    loss = tl.where(label >= 0, loss, 0.0)
    if losses_out is not None:
        tl.store(losses_out + sample, loss, mask=inside)
    store_class_sums(
        loss, prediction == label, prediction, label, is_invalid, losses, counts, predicted, block, num_blocks, C,
        PREDICTIONS,
    )  # fmt: skip


@triton.jit
def store_class_sums(
    loss, is_hit, prediction, label, is_invalid, losses, counts, predicted, block, num_blocks, C: tl.constexpr,
    PREDICTIONS: tl.constexpr,
):  # fmt: skip
    """Store the sums of a block: losses (C, blocks) float32, counts (C + 1, blocks) int32, predicted (C, blocks) int32.

    Counts are support + 65536 x hits; the last row is that of invalid labels.
    """
    is_valid = label >= 0
    packed = tl.where(is_hit, 65537, 1)
    at = block.to(tl.int64)
    for c in range(0, C):
        # a label of -1 is no class
        is_class = label == c
        count = tl.sum(tl.where(is_class, packed, 0), axis=0)
        loss_sum = 0.0
        # neighbours mostly have the same few labels; this sum costs more than the rest of the loop
        if count > 0:
            loss_sum = tl.sum(tl.where(is_class, loss, 0.0), axis=0)
        tl.store(counts + at, count)
        tl.store(losses + at, loss_sum)
        if PREDICTIONS:
            tl.store(predicted + at, tl.sum((is_valid & (prediction == c)).to(tl.int32), axis=0))
        at += num_blocks
    tl.store(counts + at, tl.sum(is_invalid.to(tl.int32), axis=0))


@triton.jit
def add_up_blocks(
    losses, counts, predicted, loss_sums, count_sums, num_blocks, C: tl.constexpr, BLOCK: tl.constexpr,
    PREDICTIONS: tl.constexpr,
):  # fmt: skip
    """Add up the sums of the blocks: (C,) losses, and float64 counts (3 C + 1,): support, hits, predicted, invalid.

    One program per class, and one for the invalid labels.
    """
    c = tl.program_id(0)
    row = c.to(tl.int64) * num_blocks
    loss_sum = tl.zeros([BLOCK], tl.float64)
    support = tl.zeros([BLOCK], tl.int64)
    hits = tl.zeros([BLOCK], tl.int64)
    predictions = tl.zeros([BLOCK], tl.int64)
    for start in range(0, num_blocks, BLOCK):
        at = start + tl.arange(0, BLOCK)
        inside = at < num_blocks
        packed = tl.load(counts + row + at, mask=inside, other=0)
        if c == C:
            support += packed
        else:
            support += packed & 65535
            hits += packed >> 16
            loss_sum += tl.load(losses + row + at, mask=inside, other=0.0)
            if PREDICTIONS:
                predictions += tl.load(predicted + row + at, mask=inside, other=0)
    if c == C:
        tl.store(count_sums + 3 * C, tl.sum(support, axis=0))
    else:
        tl.store(loss_sums + c, tl.sum(loss_sum, axis=0).to(tl.float32))
        tl.store(count_sums + c, tl.sum(support, axis=0))
        tl.store(count_sums + C + c, tl.sum(hits, axis=0))
        tl.store(count_sums + 2 * C + c, tl.sum(predictions, axis=0))
