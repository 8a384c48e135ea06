# mypy: ignore-errors
# Triton's functions carry no types.
"""Kernels of logits that are interpolated on the fly: no map of the size of the labels holds scores.

An output pixel o of an axis lies at position (o A + B) / D of the low-resolution logits, and not below 0. A, B and D
are integers (`low_resolution.axis`), so that its neighbours are exact: the lower one is a quotient, and the
remainder over D is the part of the way to the upper one.

A quad (i, j) is what lies between the positions i and i + 1 of one axis and j and j + 1 of the other, the last position
being its own neighbour. The backward pass adds up, for every quad, the gradients of its four corners over the output
pixels in it; `fold_corners` adds up the four quads around every position. Formulas of loss and gradient are those of
dense logits.
"""

import triton
import triton.language as tl

from .parts import (
    LOWEST,
    add_score,
    compare_special,
    exponential,
    finish_exponentials,
    is_special,
    load_factors,
    load_labels,
    load_margins,
    store_results,
)

GEOMETRY = ('h', 'w', 'A_y', 'B_y', 'D_y', 'A_x', 'B_x', 'D_x')


@triton.jit
def find_source(pixel, A, B, D, size):
    """Return the lower and upper positions between which output pixels lie, and the fraction of the way."""
    numerator = tl.maximum(pixel * A + B, 0)
    lower = numerator // D
    return lower, tl.minimum(lower + 1, size - 1), (numerator - lower * D) * (1.0 / D)


@triton.jit
def find_first_pixel(position, A, B, D, size, num_pixels):
    """Return the first output pixel whose source is at or after a position, ``num_pixels`` for position ``size``."""
    position = tl.minimum(position, size)
    # A is 0 for one position alone, which is the first
    first = tl.minimum((position * D - B + A - 1) // tl.maximum(A, 1), num_pixels)
    return tl.where(position == 0, 0, tl.where(position == size, num_pixels, first))


@triton.jit
def mix(x00, x01, x10, x11, w00, w01, w10, w11):
    """Return the weighted sum of four scores, in float32."""
    upper = w00 * x00.to(tl.float32) + w01 * x01.to(tl.float32)
    return upper + (w10 * x10.to(tl.float32) + w11 * x11.to(tl.float32))


# specialised, every combination of sizes that are 1 or multiples of 16 would be compiled on its own
@triton.jit(do_not_specialize=(*GEOMETRY, 'blocks_per_image', 'ignore_index', 'num_blocks'))
def low_resolution_forward(
    logits, labels, sample_weights, offsets, margins, lse_out, losses_out, losses, counts, predicted, h, w, H, W, A_y,
    B_y, D_y, A_x, B_x, D_x, blocks_per_image, ignore_index, scale, num_blocks, C: tl.constexpr, BLOCK: tl.constexpr,
    ADJUSTED: tl.constexpr, HITS: tl.constexpr, PREDICTIONS: tl.constexpr,
):  # fmt: skip
    """Store lse, the losses of the samples where ``losses_out`` is given, and the sums of the block.

    ``predicted`` may be None without ``PREDICTIONS``, which need ``HITS``. ``sample_weights``, ``offsets`` and
    ``margins`` may be None.
    """
    block = tl.program_id(0)
    image = (block // blocks_per_image).to(tl.int64)
    pixel = (block % blocks_per_image) * BLOCK + tl.arange(0, BLOCK)
    inside = pixel < H * W
    sample = image * (H * W) + pixel
    label, is_invalid = load_labels(labels, sample, inside, ignore_index, C)
    margin = load_margins(margins, label)
    # threads without a pixel read what the last one reads, so that loading scores needs no mask
    pixel = tl.minimum(pixel, H * W - 1)
    i0, i1, along_y = find_source(pixel // W, A_y, B_y, D_y, h)
    j0, j1, along_x = find_source(pixel % W, A_x, B_x, D_x, w)
    at00, at01, at10, at11 = i0 * w + j0, i0 * w + j1, i1 * w + j0, i1 * w + j1
    w00, w01 = (1 - along_y) * (1 - along_x), (1 - along_y) * along_x
    w10, w11 = along_y * (1 - along_x), along_y * along_x
    first_class = logits + image * C * h * w
    largest = tl.full([BLOCK], LOWEST, tl.float32)
    sum_exp = tl.zeros([BLOCK], tl.float32)
    label_score = tl.zeros([BLOCK], tl.float32)
    best = largest
    prediction = tl.zeros([BLOCK], tl.int32)
    scores = first_class
    for c in range(0, C):
        x00, x01 = tl.load(scores + at00), tl.load(scores + at01)
        x10, x11 = tl.load(scores + at10), tl.load(scores + at11)
        score = mix(x00, x01, x10, x11, w00, w01, w10, w11)
        scores += h * w
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
            scores = first_class
            for c in range(0, C):
                x00, x01 = tl.load(scores + at00), tl.load(scores + at01)
                x10, x11 = tl.load(scores + at10), tl.load(scores + at11)
                score = mix(x00, x01, x10, x11, w00, w01, w10, w11)
                scores += h * w
                best, prediction = compare_special(score, c, best, prediction)
    store_results(
        largest, log_sum, label_score, prediction, label, is_invalid, sample, inside, sample_weights, lse_out,
        losses_out, losses, counts, predicted, block, num_blocks, C, PREDICTIONS,
    )  # fmt: skip


@triton.jit(do_not_specialize=(*GEOMETRY, 'H', 'W', 'tiles', 'chunks', 'ignore_index', 'total'))
def low_resolution_backward(
    logits, labels, sample_weights, offsets, margins, lse, incoming, corners, h, w, H, W, A_y, B_y, D_y, A_x, B_x, D_x,
    tiles, chunks, ignore_index, scale, total, C: tl.constexpr, CLASSES: tl.constexpr, QUADS: tl.constexpr,
    ADJUSTED: tl.constexpr, EACH: tl.constexpr,
):  # fmt: skip
    """Store the gradients of the four corners of the quads, (4, N, C, h, w), of one row of quads and a few classes.

    ``incoming`` has a factor for every class, or with ``EACH`` for every sample.
    """
    # the classes first: their programs read the same labels at the same time
    program = tl.program_id(0)
    c = (program % chunks) * CLASSES + tl.arange(0, CLASSES)[:, None]
    program = program // chunks
    j = (program % tiles) * QUADS + tl.arange(0, QUADS)
    program = program // tiles
    i = program % h
    image = (program // h).to(tl.int64)
    exists = (c < C) & (j < w)[None, :]
    # clamping also hides from the compiler that addresses are consecutive: else it would give several to each thread,
    # and the labels to all threads
    at = (image * C + tl.minimum(c, C - 1)) * h * w + i * w + tl.minimum(j, w - 1)[None, :]
    down = tl.where(i + 1 < h, w, 0)
    right = tl.where(j + 1 < w, 1, 0)[None, :]
    x00 = tl.load(logits + at, mask=exists, other=0.0).to(tl.float32)
    x01 = tl.load(logits + at + right, mask=exists, other=0.0).to(tl.float32)
    x10 = tl.load(logits + at + down, mask=exists, other=0.0).to(tl.float32)
    x11 = tl.load(logits + at + down + right, mask=exists, other=0.0).to(tl.float32)
    offset = tl.zeros([CLASSES, 1], tl.float32)
    if offsets is not None:
        offset = tl.load(offsets + c, mask=c < C, other=0.0).to(tl.float32)
    grad00 = tl.zeros([CLASSES, QUADS], tl.float32)
    grad01 = tl.zeros([CLASSES, QUADS], tl.float32)
    grad10 = tl.zeros([CLASSES, QUADS], tl.float32)
    grad11 = tl.zeros([CLASSES, QUADS], tl.float32)
    first_x = find_first_pixel(j, A_x, B_x, D_x, w, W)
    end_x = find_first_pixel(j + 1, A_x, B_x, D_x, w, W)
    steps = tl.max(end_x - first_x, axis=0)
    for y in range(find_first_pixel(i, A_y, B_y, D_y, h, H), find_first_pixel(i + 1, A_y, B_y, D_y, h, H)):
        along_y = (tl.maximum(y * A_y + B_y, 0) - i * D_y) * (1.0 / D_y)
        x_left = (1 - along_y) * x00 + along_y * x10
        x_right = (1 - along_y) * x01 + along_y * x11
        grad_left = tl.zeros([CLASSES, QUADS], tl.float32)
        grad_right = tl.zeros([CLASSES, QUADS], tl.float32)
        row = image * H * W + y * W
        for step in range(0, steps):
            x = first_x + step
            inside = x < end_x
            label, _ = load_labels(labels, row + x, inside, ignore_index, C)
            factor = load_factors(incoming, sample_weights, row + x, label, scale, ADJUSTED, EACH)
            log_sum = tl.load(lse + row + x, mask=inside, other=0.0)
            along_x = (tl.maximum(x * A_x + B_x, 0) - j * D_x) * (1.0 / D_x)
            score = (1 - along_x)[None, :] * x_left + along_x[None, :] * x_right
            is_label = c == label[None, :]
            if ADJUSTED:
                margin = load_margins(margins, label)
                score = scale * (score + offset - tl.where(is_label, margin[None, :], 0.0))
            value = exponential(score - log_sum[None, :]) - tl.where(is_label, 1.0, 0.0)
            # 0 for an ignored sample, whatever its logits
            value = tl.where((label >= 0)[None, :], factor[None, :] * value, 0.0)
            grad_left += (1 - along_x)[None, :] * value
            grad_right += along_x[None, :] * value
        grad00 += (1 - along_y) * grad_left
        grad01 += (1 - along_y) * grad_right
        grad10 += along_y * grad_left
        grad11 += along_y * grad_right
    tl.store(corners + at, grad00, mask=exists)
    corners += total
    tl.store(corners + at, grad01, mask=exists)
    corners += total
    tl.store(corners + at, grad10, mask=exists)
    corners += total
    tl.store(corners + at, grad11, mask=exists)


@triton.jit(do_not_specialize=('h', 'num_rows'))
def fold_corners(corners, gradient, h, w, num_rows, total, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    """Store the gradient of every position: the sum over the quads around it, of each of which it is a corner."""
    tiles = tl.cdiv(w, COLUMNS)
    row = tl.program_id(0) // tiles * ROWS + tl.arange(0, ROWS)[:, None]
    j = tl.program_id(0) % tiles * COLUMNS + tl.arange(0, COLUMNS)[None, :]
    i = row % h
    at = row.to(tl.int64) * w + j
    inside = (row < num_rows) & (j < w)
    has_upper, has_left = inside & (i > 0), inside & (j > 0)
    # the last row and column are their own neighbours
    is_last_row, is_last_column = inside & (i == h - 1), inside & (j == w - 1)
    value = tl.load(corners + at, mask=inside, other=0.0)
    corners += total
    value += tl.load(corners + at - 1, mask=has_left, other=0.0)
    value += tl.load(corners + at, mask=is_last_column, other=0.0)
    corners += total
    value += tl.load(corners + at - w, mask=has_upper, other=0.0)
    value += tl.load(corners + at, mask=is_last_row, other=0.0)
    corners += total
    value += tl.load(corners + at - w - 1, mask=has_upper & has_left, other=0.0)
    value += tl.load(corners + at - w, mask=has_upper & is_last_column, other=0.0)
    value += tl.load(corners + at - 1, mask=is_last_row & has_left, other=0.0)
    value += tl.load(corners + at, mask=is_last_row & is_last_column, other=0.0)
    tl.store(gradient + at, value.to(gradient.dtype.element_ty), mask=inside)
