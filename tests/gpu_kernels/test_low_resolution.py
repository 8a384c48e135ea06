"""The kernels of low-resolution logits, in Triton's interpreter, give what interpolation and the reference give."""

from math import inf, nan

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_cases import (
    ADJUSTMENTS,
    IGNORED,
    LABELS,
    ROUNDING,
    adjustment_of,
    assert_close,
    assert_same,
    by_kernels,
    by_reference,
    made,
    outcome,
)

from mmrecall.functional.backends import gpu
from mmrecall.functional.backends.gpu import low_resolution
from mmrecall.functional.backends.gpu.low_resolution import LowResolutionTiles
from mmrecall.functional.batch import Batch, interpolated

pytestmark = pytest.mark.filterwarnings('ignore::RuntimeWarning')


@pytest.fixture
def small_tiles(monkeypatch):
    """Blocks of which small maps fill several, with and without a remainder."""
    monkeypatch.setattr(low_resolution, 'TILES', LowResolutionTiles(block=32, warps=1, classes=4, quads=2))


def without_near_ties(logits, target, align_corners):
    """Labels without those of pixels whose two largest scores are equal up to rounding."""
    scores = interpolated(Batch(logits.double(), target, upsample='bilinear', align_corners=align_corners)).logits
    first, second = scores.topk(2, dim=1).values.unbind(1)
    return target.masked_fill(first - second < 1e-4, IGNORED)


def batch_of(logits, target, weight=None, reduction='sum', align_corners=False, ignore_index=IGNORED):
    return Batch(logits, target, ignore_index, weight, reduction, None, 'bilinear', align_corners)


sizes = st.tuples(st.integers(1, 4), st.integers(1, 6)).filter(lambda sizes: sizes[1] <= 4 * sizes[0])


@pytest.mark.usefixtures('small_tiles')
@settings(max_examples=30)
@given(
    rows=sizes,
    columns=sizes,
    num_images=st.integers(1, 2),
    num_classes=st.sampled_from([2, 3, 4, 5, 7]),
    align_corners=st.booleans(),
    dtype=st.sampled_from(sorted(ROUNDING, key=str)),
    label_dtype=st.sampled_from(LABELS),
    ignored=st.sampled_from([0.0, 0.3, 1.0]),
    weights=st.sampled_from([None, torch.float32, torch.float64, torch.bfloat16, torch.int64]),
    adjusted=st.sampled_from(ADJUSTMENTS),
    reduction=st.sampled_from(['sum', 'none']),
    is_strided=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_values_counts_and_gradients_are_those_of_interpolated_logits(
    rows, columns, num_images, num_classes, align_corners, dtype, label_dtype, ignored, weights, adjusted, reduction,
    is_strided, seed,
):  # fmt: skip
    low, full = zip(rows, columns, strict=True)
    if low == full:
        full = (full[0], full[1] + 1)
    logits, target = made((num_images, num_classes, *low), full, dtype, label_dtype, ignored, seed)
    target = without_near_ties(logits, target, align_corners)
    if is_strided:
        logits = logits.contiguous(memory_format=torch.channels_last)
        target = target.mT.contiguous().mT
    torch.manual_seed(seed)
    weight = None if weights is None else (3 * torch.rand(target.shape)).to(weights)
    if weight is not None and weight.is_floating_point():
        # the weight of an ignored pixel may be NaN
        weight = weight.masked_fill(target == IGNORED, nan)
    if adjusted == 'a class without samples':
        target = target.masked_fill(target == 0, IGNORED)
    batch = batch_of(logits, target, weight, reduction, align_corners)
    assert_same(batch, adjustment_of(adjusted, num_classes))


@pytest.mark.parametrize('align_corners', [False, True])
@pytest.mark.parametrize(
    ('low', 'full'),
    [((1, 1), (3, 5)), ((1, 1), (1, 2)), ((4, 5), (1, 1)), ((3, 4), (1, 6)), ((5, 4), (3, 2)), ((7, 1), (2, 3)),
     ((2, 3), (2, 9)), ((3, 2), (7, 2)), ((2, 2), (17, 3)), ((1, 3), (5, 3))],
)  # fmt: skip
@pytest.mark.usefixtures('small_tiles')
def test_single_positions_shrinking_and_equal_sides_are_those_of_interpolated_logits(low, full, align_corners):
    logits, target = made((1, 3, *low), full, ignored=0.0)
    assert_same(batch_of(logits, without_near_ties(logits, target, align_corners), align_corners=align_corners))


@pytest.mark.parametrize('align_corners', [False, True])
def test_every_output_pixel_is_in_the_quad_of_its_source(align_corners):
    """In Python's integers, for all sizes up to 24."""
    for low in range(1, 25):
        for full in range(1, 25):
            a, b, d = low_resolution.axis(low, full, align_corners)
            sources = [max(o * a + b, 0) // d for o in range(full)]
            firsts = [0, *(min((i * d - b + a - 1) // max(a, 1), full) for i in range(1, low)), full]
            assert [sum(first <= o for first in firsts[:-1]) - 1 for o in range(full)] == sources, (low, full)
            assert max(sources) <= low - 1


@pytest.mark.parametrize(('low', 'full', 'align_corners'), [((2, 33), (6, 132), False), ((3, 9), (10, 25), True)])
def test_blocks_of_the_real_size_give_them_too(low, full, align_corners):
    logits, target = made((1, 5, *low), full)
    assert_same(batch_of(logits, without_near_ties(logits, target, align_corners), align_corners=align_corners))


@pytest.mark.parametrize('value', [-inf, inf, nan])
@pytest.mark.parametrize('align_corners', [False, True])
@pytest.mark.usefixtures('small_tiles')
def test_infinities_and_nan_spread_as_by_interpolation(value, align_corners):
    for seed in range(3):
        # an ignored pixel of NaN has a gradient of NaN in PyTorch
        logits, target = made((1, 3, 3, 3), (6, 6), ignored=0.0, seed=seed)
        logits[0, seed, 1, seed] = value
        batch = batch_of(logits, target, reduction='none', align_corners=align_corners)
        found, gradient = outcome(by_kernels, batch)
        # in float64, because a position that is no whole number by rounding alone has one more neighbour
        expected, expected_gradient = outcome(by_reference, Batch(logits.double(), *batch[1:]))
        assert expected.losses.isfinite().any()
        assert_close(found.losses, expected.losses, 1e-5)
        assert_close(gradient, expected_gradient, 1e-5)
        assert torch.equal(found.predicted, expected.predicted)


def test_a_class_that_is_minus_infinity_everywhere_has_no_gradient():
    logits, target = made((1, 4, 2, 2), (4, 4))
    logits[:, 3] = -inf
    target[target == 3] = IGNORED
    assert_same(batch_of(logits, target))


@pytest.mark.usefixtures('small_tiles')
def test_ignored_pixels_have_no_loss_and_no_gradient_whatever_they_hold():
    logits, target = made((1, 3, 2, 4), (4, 8), ignored=0.0)
    # the left half is ignored, and what only its pixels are mixed of
    target[..., :4] = IGNORED
    logits[..., 0] = nan
    weight = torch.ones(target.shape).masked_fill(target == IGNORED, nan)
    leaf = logits.requires_grad_()
    losses = by_kernels(batch_of(leaf, target, weight, 'none')).losses
    (gradient,) = torch.autograd.grad(losses, leaf, losses.new_ones(()).expand_as(losses))
    assert losses[..., :4].eq(0).all()
    assert gradient[..., 0].eq(0).all()
    assert gradient[..., 1:].ne(0).all()


def test_invalid_labels_are_counted_and_left_out():
    logits, _ = made((1, 3, 1, 2), (1, 7))
    target = torch.tensor([[[0, 3, -1, IGNORED, 2**32 + 1, -(2**62), 2]]])
    sums = by_kernels(batch_of(logits, target))
    assert sums.invalid_labels == 4
    assert sums.support.tolist() == [1, 0, 1]


def test_counts_that_were_not_requested_are_none():
    logits, target = made((1, 3, 1, 2), (2, 2))
    sums = gpu.class_sums(batch_of(logits, target))
    assert sums.true_positives is sums.predicted is None
    assert sums.support.sum() == (target != IGNORED).sum()


@pytest.mark.parametrize('reduction', ['sum', 'none'])
def test_an_empty_batch_has_sums_of_zero(reduction):
    logits, target = made((0, 3, 2, 2), (4, 4))
    assert_same(batch_of(logits, target, reduction=reduction))


def test_a_map_enlarged_from_one_position_has_the_gradient_of_all_its_pixels():
    logits = torch.tensor([1.0, 2.0, 0.5]).reshape(1, 3, 1, 1).requires_grad_()
    target = torch.full((1, 4, 4), 1)
    (gradient,) = torch.autograd.grad(by_kernels(batch_of(logits, target)).losses.sum(), logits)
    expected = 16 * (logits.detach().softmax(1) - F.one_hot(torch.tensor(1), 3).reshape(1, 3, 1, 1))
    torch.testing.assert_close(gradient, expected)


def test_what_the_kernels_do_not_take_is_not_covered():
    logits, target = made((1, 3, 2, 2), (3, 4))
    assert gpu.covers(batch_of(logits, target))
    assert not gpu.covers(batch_of(logits, torch.rand(1, 3, 3, 4)))
    huge = torch.zeros(1, dtype=torch.int64).expand(1, 2**16, 2**16)
    assert not gpu.covers(batch_of(logits, huge))
