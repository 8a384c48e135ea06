"""The kernels of dense logits, in Triton's interpreter, give what the reference gives in float64."""

from functools import partial
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
    assert_same,
    assert_same_counts,
    by_kernels,
    by_reference,
    made,
    outcome,
)

from mmrecall.functional.backends import gpu, reference
from mmrecall.functional.backends.gpu import dense
from mmrecall.functional.backends.gpu.dense import DenseTiles, RowTiles
from mmrecall.functional.batch import Batch
from mmrecall.functional.logit_adjustment import LogitAdjustment

pytestmark = pytest.mark.filterwarnings('ignore::RuntimeWarning')

LAYOUTS = {
    'contiguous': lambda logits: logits,
    'classes last in memory': lambda logits: logits.movedim(1, -1).contiguous().movedim(-1, 1),
    'every other column': lambda logits: logits.repeat_interleave(2, dim=-1)[..., ::2],
    'every image the same': lambda logits: logits[:1].expand_as(logits),
    'images last in memory': lambda logits: logits.movedim(0, -1).contiguous().movedim(-1, 0),
    'a part of more': lambda logits: torch.cat([logits, logits], dim=1)[:, : logits.shape[1]],
    'places transposed in memory': lambda logits: logits.transpose(-1, -2).contiguous().transpose(-1, -2),
    'the same column everywhere': lambda logits: logits[..., :1].expand_as(logits),
}
SHAPES = [(5, 3), (1, 2), (2, 3, 1, 5), (2, 3, 7), (2, 4, 5, 6), (1, 19, 4, 4), (2, 3, 2, 3, 4), (3, 21), (2, 5, 16)]


@pytest.fixture
def small_tiles(monkeypatch):
    """Blocks of which the small shapes fill several, with and without a remainder."""
    tiles = DenseTiles(block=16, warps=1, backward_block=32, backward_warps=1)
    monkeypatch.setattr(dense, 'DENSE_TILES', [tiles, tiles])


@pytest.fixture
def rows(monkeypatch):
    """The row kernels for few classes, in several tiles of classes and blocks of samples."""
    tiles = RowTiles(scores=32, backward_scores=16, many=3, classes=8, samples=4, per_block=8)
    monkeypatch.setattr(dense, 'ROW_TILES', tiles)
    monkeypatch.setattr(dense, 'ROW_CLASSES', 2)


@pytest.fixture
def narrow_rows(rows, monkeypatch):
    """The row kernels in tiles of two classes."""
    monkeypatch.setattr(dense, 'ROW_TILES', RowTiles(scores=2, backward_scores=2, classes=2, samples=4))


drawn = partial(
    given,
    shape=st.sampled_from(SHAPES),
    dtype=st.sampled_from(sorted(ROUNDING, key=str)),
    label_dtype=st.sampled_from(LABELS),
    layout=st.sampled_from(sorted(LAYOUTS)),
    ignored=st.sampled_from([0.0, 0.3, 1.0]),
    ignore_index=st.sampled_from([IGNORED, 0, 1]),
    weights=st.sampled_from([None, torch.float32, torch.float64, torch.bfloat16]),
    adjusted=st.sampled_from(ADJUSTMENTS),
    reduction=st.sampled_from(['mean', 'none']),
    seed=st.integers(0, 1000),
)


def check_drawn(shape, dtype, label_dtype, layout, ignored, ignore_index, weights, adjusted, reduction, seed):
    logits, target = made(shape, None, dtype, label_dtype, ignored, seed)
    torch.manual_seed(seed)
    weight = None
    if weights is not None:
        # the weight of an ignored sample may be NaN
        is_ignored = (target == IGNORED) & (ignore_index == IGNORED)
        weight = torch.rand(target.shape).to(weights).masked_fill(is_ignored, nan)
    batch = Batch(LAYOUTS[layout](logits), target, ignore_index, weight, reduction)
    assert_same(batch, adjustment_of(adjusted, shape[1]))


@pytest.mark.usefixtures('small_tiles')
@settings(max_examples=40)
@drawn()
def test_values_counts_and_gradients_are_those_of_the_reference(**case):
    check_drawn(**case)


@pytest.mark.usefixtures('rows')
@settings(max_examples=40)
@drawn()
def test_the_row_kernels_give_them_too(**case):
    check_drawn(**{**case, 'layout': 'classes last in memory'})


# of the last, the row kernels take several steps
@pytest.mark.parametrize('shape', [(2, 19, 8, 16), (2, 3, 130), (40, 70), (1, 80, 2, 2), (2, 4200)])
def test_blocks_of_the_real_size_give_them_too(shape):
    logits, target = made(shape)
    assert_same(Batch(logits, target, IGNORED, torch.rand(target.shape)))


SPECIAL = [
    [0.0, 0.0, 0.0],
    [1.0, 3.0, 3.0],
    [-inf, 0.0, 1.0],
    [0.0, -inf, -inf],
    [-inf, -inf, -inf],
    [inf, 0.0, 1.0],
    [0.0, inf, inf],
    [nan, 0.0, 1.0],
    [0.0, 2.0, nan],
    [2.0, nan, nan],
    [inf, nan, 0.0],
    [-inf, nan, inf],
    [88.0, -88.0, 0.0],
    [3e38, -3e38, 0.0],
    [-3.4028234663852886e38, -inf, 0.0],
    [-inf, 1e-30, 1.0],
    [1e-40, 2e-40, 0.0],
]


@pytest.mark.parametrize('kernels', ['small_tiles', 'rows', 'narrow_rows'])
@pytest.mark.parametrize('adjustment', [None, LogitAdjustment(2.0, torch.tensor([0.0, -inf, 1.0]))])
@pytest.mark.parametrize('label', range(3))
def test_ties_infinities_and_nan_are_those_of_cross_entropy(kernels, adjustment, label, request):
    request.getfixturevalue(kernels)
    logits = torch.tensor(SPECIAL)
    batch = Batch(logits, torch.full((len(SPECIAL),), label), reduction='none')
    found, gradient = outcome(by_kernels, batch, adjustment)
    expected, expected_gradient = outcome(by_reference, batch, adjustment)
    assert_same_counts(found, expected)
    torch.testing.assert_close(found.losses, expected.losses, equal_nan=True)
    torch.testing.assert_close(gradient, expected_gradient, equal_nan=True)


@pytest.mark.parametrize('kernels', ['small_tiles', 'rows'])
@pytest.mark.parametrize('row', SPECIAL)
def test_a_loss_of_infinity_or_nan_stays_in_the_sum_of_its_class(kernels, row, request):
    request.getfixturevalue(kernels)
    logits, target = torch.tensor([row, [0.0, 1.0, 2.0]]), torch.tensor([1, 2])
    found, expected = (class_sums(Batch(logits, target)).losses for class_sums in (by_kernels, by_reference))
    torch.testing.assert_close(found, expected, equal_nan=True)


@pytest.mark.parametrize('kernels', ['small_tiles', 'rows'])
def test_the_lowest_finite_score_is_above_minus_infinity(kernels, request):
    request.getfixturevalue(kernels)
    lowest = torch.finfo(torch.float32).min
    batch = Batch(torch.tensor([[-inf, lowest, lowest]]), torch.tensor([1]))
    sums = gpu.class_sums(batch, hits=True)
    assert sums.true_positives.tolist() == [0, 1, 0]
    torch.testing.assert_close(sums.losses, reference.class_sums(batch).losses)


def test_a_label_of_minus_infinity_has_an_infinite_loss_like_in_pytorch():
    logits = torch.tensor([[0.0, -inf]], requires_grad=True)
    sums = gpu.class_sums(Batch(logits, torch.tensor([1])))
    assert sums.losses[1] == F.cross_entropy(logits, torch.tensor([1])) == inf
    (gradient,) = torch.autograd.grad(sums.losses[1], logits)
    assert gradient.tolist() == [[1.0, -1.0]]


@pytest.mark.parametrize('kernels', ['small_tiles', 'rows'])
def test_ignored_samples_have_no_loss_and_no_gradient_whatever_they_hold(kernels, request):
    request.getfixturevalue(kernels)
    logits, target = made((8, 3), ignored=0.0)
    target[::2] = 255
    logits[0], logits[2], logits[4] = nan, inf, -inf
    weight = torch.ones(8)
    weight[::2] = nan
    leaf = logits.requires_grad_()
    sums = gpu.class_sums(Batch(leaf, target, 255, weight), hits=True)
    assert sums.losses.isfinite().all()
    assert sums.support.sum() == 4
    (gradient,) = torch.autograd.grad(sums.losses.sum(), leaf)
    assert gradient[::2].eq(0).all()
    assert gradient[1::2].ne(0).all()


def test_ignored_samples_have_no_gradient_for_an_incoming_nan():
    logits, target = made((2, 3), ignored=0.0)
    target[0] = 255
    losses = gpu.class_sums(Batch(logits.requires_grad_(), target, 255, reduction='none')).losses
    (gradient,) = torch.autograd.grad(losses, logits, torch.tensor([nan, 1.0]))
    assert gradient[0].eq(0).all()


@pytest.mark.parametrize('kernels', ['small_tiles', 'rows'])
def test_invalid_labels_are_counted_and_left_out(kernels, request):
    request.getfixturevalue(kernels)
    logits, _ = made((7, 3))
    target = torch.tensor([0, 3, -1, 255, 2**32 + 1, -(2**62), 2])
    sums = gpu.class_sums(Batch(logits, target, 255))
    assert sums.invalid_labels == 4
    assert sums.support.tolist() == [1, 0, 1]
    assert sums.invalid_labels.ndim == 0


def test_hits_are_those_of_logits_without_adjustment():
    logits, target = torch.tensor([[1.0, 0.0]]), torch.tensor([0])
    adjustment = LogitAdjustment(offsets=torch.tensor([0.0, 5.0]))
    sums = gpu.class_sums(Batch(logits, target), adjustment, hits=True, predictions=True)
    assert sums.true_positives.tolist() == sums.predicted.tolist() == [1, 0]


def test_counts_that_were_not_requested_are_none():
    logits, target = made((4, 3))
    sums = gpu.class_sums(Batch(logits, target, IGNORED))
    assert sums.true_positives is sums.predicted is None
    assert sums.support.sum() == (target != IGNORED).sum()


@pytest.mark.parametrize('shape', [(0, 3), (2, 3, 0, 4), (0, 70)])
@pytest.mark.parametrize('reduction', ['sum', 'none'])
def test_an_empty_batch_has_sums_of_zero(shape, reduction):
    logits, target = made(shape)
    assert_same(Batch(logits, target, IGNORED, reduction=reduction))


@pytest.mark.parametrize('dtype', [torch.int64, torch.bool])
def test_weights_of_other_types_are_taken(dtype):
    logits, target = made((6, 3))
    assert_same(Batch(logits, target, IGNORED, torch.tensor([1, 0, 1, 1, 0, 1]).to(dtype)))


def test_targets_and_weights_with_gaps_are_taken():
    logits, target = made((2, 3, 4, 5))
    assert_same(Batch(logits, target.mT.contiguous().mT, IGNORED, torch.rand(2, 4, 10)[..., ::2]))


def test_logits_may_lie_more_than_2_to_the_31_numbers_apart():
    """Of memory that is never touched but at its ends."""
    storage = torch.empty(2**31 + 64, dtype=torch.float16)
    logits = storage.as_strided((2, 3, 5), (2**31, 5, 1))
    values, target = made((2, 3, 5), dtype=torch.float16)
    logits.copy_(values)
    assert_same(Batch(logits, target, IGNORED))
    classes = storage.as_strided((1, 2, 5), (0, 2**31 + 5, 1))
    assert_same(Batch(classes.copy_(values[:1, :2]), target[:1].clamp(max=1)))


def test_the_gradient_lies_in_memory_like_the_logits():
    logits, target = made((2, 3, 4, 5))
    logits = logits.contiguous(memory_format=torch.channels_last).requires_grad_()
    (gradient,) = torch.autograd.grad(gpu.class_sums(Batch(logits, target, IGNORED)).losses.sum(), logits)
    assert gradient.stride() == logits.stride()


def test_a_sample_has_the_gradient_of_softmax_minus_one_hot():
    logits = torch.tensor([[1.0, 2.0, 0.5]], requires_grad=True)
    losses = gpu.class_sums(Batch(logits, torch.tensor([1]))).losses
    (gradient,) = torch.autograd.grad(losses, logits, torch.tensor([9.0, 2.0, 9.0]))
    expected = 2 * (logits.detach().softmax(1) - torch.tensor([[0.0, 1.0, 0.0]]))
    torch.testing.assert_close(gradient, expected)
