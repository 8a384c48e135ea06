"""The kernels of low-resolution logits, in Triton's interpreter, give what interpolation and the reference give."""

from math import inf, nan

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd import forward_ad

from mmrecall.functional.backends import gpu, reference
from mmrecall.functional.backends.gpu import low_resolution
from mmrecall.functional.backends.gpu.low_resolution import LowResolutionTiles
from mmrecall.functional.batch import Batch, interpolated
from mmrecall.functional.logit_adjustment import LogitAdjustment

pytestmark = pytest.mark.filterwarnings('ignore::RuntimeWarning')

LABELS = [torch.int8, torch.uint8, torch.int16, torch.int32, torch.int64]
TOLERANCES = {torch.float32: 1e-5, torch.float16: 2e-3, torch.bfloat16: 1e-2}
IGNORED = 127


@pytest.fixture
def small_tiles(monkeypatch):
    """Blocks of which small maps fill several, with and without a remainder."""
    tiles = LowResolutionTiles(block=32, warps=1, classes=4, quads=2, backward_warps=1)
    monkeypatch.setattr(low_resolution, 'TILES', [(2**31, tiles)])


def made(low, full, num_images=1, num_classes=3, dtype=torch.float32, label_dtype=torch.int64, ignored=0.2, seed=0):
    """Low-resolution logits, and labels, of which some are ignored."""
    generator = torch.Generator(torch.get_default_device()).manual_seed(seed)
    logits = (3 * torch.randn(num_images, num_classes, *low, generator=generator)).to(dtype)
    target = torch.randint(num_classes, (num_images, *full), generator=generator)
    target[torch.rand(target.shape, generator=generator) < ignored] = IGNORED
    return logits, target.to(label_dtype)


def without_near_ties(logits, target, align_corners):
    """Labels without those of pixels whose two largest scores are equal up to rounding."""
    scores = interpolated(Batch(logits.double(), target, upsample='bilinear', align_corners=align_corners)).logits
    first, second = scores.topk(2, dim=1).values.unbind(1)
    return target.masked_fill(first - second < 1e-4, IGNORED)


def batch_of(logits, target, weight=None, reduction='sum', align_corners=False, ignore_index=IGNORED):
    return Batch(logits, target, ignore_index, weight, reduction, None, 'bilinear', align_corners)


def by_kernels(batch, adjustment=None):
    assert gpu.covers(batch)
    return gpu.class_sums(batch, adjustment, hits=True, predictions=True)


def by_reference(batch, adjustment=None):
    return reference.class_sums(interpolated(batch), adjustment, hits=True, predictions=True)


def outcome(class_sums, batch, adjustment):
    """Class sums, and their gradient for unequal incoming ones."""
    leaf = batch.logits.detach().requires_grad_()
    sums = class_sums(Batch(leaf, *batch[1:]), adjustment)
    incoming = torch.linspace(0.5, 2, sums.losses.numel(), dtype=torch.float64).reshape(sums.losses.shape)
    (gradient,) = torch.autograd.grad(sums.losses, leaf, incoming.to(sums.losses.dtype))
    return sums, gradient


def assert_same(batch, adjustment=None):
    found, gradient = outcome(by_kernels, batch, adjustment)
    expected, expected_gradient = outcome(by_reference, Batch(batch.logits.double(), *batch[1:]), adjustment)
    for name in ('support', 'true_positives', 'predicted'):
        assert torch.equal(getattr(found, name), getattr(expected, name)), name
    assert found.losses.dtype == torch.float32
    assert gradient.dtype == batch.logits.dtype
    assert_close(found.losses, expected.losses, 1e-5)
    assert_close(gradient, expected_gradient, TOLERANCES[batch.logits.dtype])


def assert_close(found, expected, tolerance):
    """Compare relatively to the largest."""
    assert found.shape == expected.shape
    expected = expected.detach()
    finite = expected[expected.isfinite()]
    largest = float(finite.abs().max()) if finite.numel() else 0.0
    atol = tolerance * max(largest, 0.1)
    torch.testing.assert_close(found.double(), expected.double(), rtol=tolerance, atol=atol, equal_nan=True)


sizes = st.tuples(st.integers(1, 4), st.integers(1, 6)).filter(lambda sizes: sizes[1] <= 4 * sizes[0])


@pytest.mark.usefixtures('small_tiles')
@settings(max_examples=30)
@given(
    rows=sizes,
    columns=sizes,
    num_images=st.integers(1, 2),
    num_classes=st.sampled_from([2, 3, 4, 5, 7]),
    align_corners=st.booleans(),
    dtype=st.sampled_from(sorted(TOLERANCES, key=str)),
    label_dtype=st.sampled_from(LABELS),
    ignored=st.sampled_from([0.0, 0.3, 1.0]),
    weights=st.sampled_from([None, torch.float32, torch.float64, torch.bfloat16, torch.int64]),
    adjusted=st.sampled_from(['no', 'scale', 'offsets', 'margins', 'all', 'a class without samples']),
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
    logits, target = made(low, full, num_images, num_classes, dtype, label_dtype, ignored, seed)
    target = without_near_ties(logits, target, align_corners)
    if is_strided:
        logits = logits.contiguous(memory_format=torch.channels_last)
        target = target.mT.contiguous().mT
    torch.manual_seed(seed)
    weight = None if weights is None else (3 * torch.rand(target.shape)).to(weights)
    if weight is not None and weight.is_floating_point():
        # the weight of an ignored pixel may be NaN
        weight = weight.masked_fill(target == IGNORED, nan)
    offsets, margins = torch.randn(num_classes, dtype=torch.float64), torch.rand(num_classes)
    if adjusted == 'a class without samples':
        offsets[0] = -inf
        target = target.masked_fill(target == 0, IGNORED)
    adjustment = {
        'no': None,
        'scale': LogitAdjustment(3.0),
        'offsets': LogitAdjustment(1.0, offsets),
        'margins': LogitAdjustment(2.0, None, margins),
    }.get(adjusted, LogitAdjustment(0.5, offsets, margins))
    assert_same(batch_of(logits, target, weight, reduction, align_corners), adjustment)


@pytest.mark.parametrize('align_corners', [False, True])
@pytest.mark.parametrize(
    ('low', 'full'),
    [((1, 1), (3, 5)), ((1, 1), (1, 2)), ((4, 5), (1, 1)), ((3, 4), (1, 6)), ((5, 4), (3, 2)), ((7, 1), (2, 3)),
     ((2, 3), (2, 9)), ((3, 2), (7, 2)), ((2, 2), (17, 3)), ((1, 3), (5, 3))],
)  # fmt: skip
@pytest.mark.usefixtures('small_tiles')
def test_single_positions_shrinking_and_equal_sides_are_those_of_interpolated_logits(low, full, align_corners):
    logits, target = made(low, full, ignored=0.0)
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


@pytest.mark.parametrize(('low', 'full'), [((2, 33), (6, 132)), ((3, 9), (10, 25))])
@pytest.mark.parametrize('align_corners', [False, True])
def test_blocks_of_the_real_size_give_them_too(low, full, align_corners):
    logits, target = made(low, full, num_classes=5)
    assert_same(batch_of(logits, without_near_ties(logits, target, align_corners), align_corners=align_corners))


def test_many_classes_give_them_too():
    logits, target = made((1, 2), (2, 3), num_classes=40)
    assert_same(batch_of(logits, without_near_ties(logits, target, False)))


@pytest.mark.parametrize('value', [-inf, inf, nan])
@pytest.mark.parametrize('align_corners', [False, True])
@pytest.mark.usefixtures('small_tiles')
def test_infinities_and_nan_spread_as_by_interpolation(value, align_corners):
    for seed in range(3):
        # an ignored pixel of NaN has a gradient of NaN in PyTorch
        logits, target = made((3, 3), (6, 6), ignored=0.0, seed=seed)
        logits[0, seed, 1, seed] = value
        batch = batch_of(logits, target, reduction='none', align_corners=align_corners)
        found, gradient = outcome(by_kernels, batch, None)
        # in float64, because a position that is no whole number by rounding alone has one more neighbour
        expected, expected_gradient = outcome(by_reference, Batch(logits.double(), *batch[1:]), None)
        assert expected.losses.isfinite().any()
        assert_close(found.losses, expected.losses, 1e-5)
        assert_close(gradient, expected_gradient, 1e-5)
        assert torch.equal(found.predicted, expected.predicted)


def test_a_class_that_is_minus_infinity_everywhere_has_no_gradient():
    logits, target = made((2, 2), (4, 4), num_classes=4)
    logits[:, 3] = -inf
    target[target == 3] = IGNORED
    assert_same(batch_of(logits, target))


@pytest.mark.usefixtures('small_tiles')
def test_ignored_pixels_have_no_loss_and_no_gradient_whatever_they_hold():
    logits, target = made((2, 4), (4, 8), ignored=0.0)
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
    logits, _ = made((1, 2), (1, 7))
    target = torch.tensor([[[0, 3, -1, IGNORED, 2**32 + 1, -(2**62), 2]]])
    sums = by_kernels(batch_of(logits, target))
    assert sums.invalid_labels == 4
    assert sums.support.tolist() == [1, 0, 1]


def test_counts_that_were_not_requested_are_none():
    logits, target = made((1, 2), (2, 2))
    sums = gpu.class_sums(batch_of(logits, target))
    assert sums.true_positives is sums.predicted is None
    assert sums.support.sum() == (target != IGNORED).sum()


@pytest.mark.parametrize('reduction', ['sum', 'none'])
def test_an_empty_batch_has_sums_of_zero(reduction):
    logits, target = made((2, 2), (4, 4), num_images=0)
    found, gradient = outcome(by_kernels, batch_of(logits, target, reduction=reduction), None)
    assert found.losses.sum() == found.support.sum() == found.invalid_labels == 0
    assert gradient.shape == logits.shape


def test_a_map_enlarged_from_one_position_has_the_gradient_of_all_its_pixels():
    logits = torch.tensor([1.0, 2.0, 0.5]).reshape(1, 3, 1, 1).requires_grad_()
    target = torch.full((1, 4, 4), 1)
    (gradient,) = torch.autograd.grad(by_kernels(batch_of(logits, target)).losses.sum(), logits)
    expected = 16 * (logits.detach().softmax(1) - F.one_hot(torch.tensor(1), 3).reshape(1, 3, 1, 1))
    torch.testing.assert_close(gradient, expected)


ADJUSTMENT = LogitAdjustment(2.0, torch.tensor([0.1, 0.0, -0.3]), torch.tensor([0.2, 0.1, 0.3]))


@pytest.fixture(params=['sum', 'none'])
def losses(request):
    """Logits, and their losses by both ways."""
    logits, target = made((2, 2), (3, 4))
    weight = torch.rand(target.shape)

    def compute(class_sums=by_kernels, x=logits):
        return class_sums(batch_of(x, target, weight, request.param), ADJUSTMENT).losses

    return logits.requires_grad_(), compute


def test_a_gradient_can_be_differentiated_like_that_of_the_reference(losses):
    logits, compute = losses
    results = []
    for class_sums in (by_kernels, by_reference):
        (gradient,) = torch.autograd.grad(compute(class_sums).square().sum(), logits, create_graph=True)
        results.append(torch.autograd.grad(gradient.square().sum(), logits)[0])
    torch.testing.assert_close(*results, rtol=1e-4, atol=1e-5)


def test_several_incoming_gradients_at_once_give_what_one_by_one_gives(losses):
    logits, compute = losses
    found = compute()
    incoming = torch.rand(3, *found.shape)
    (batched,) = torch.autograd.grad(found, logits, incoming, is_grads_batched=True, retain_graph=True)
    for number, one in enumerate(incoming):
        (gradient,) = torch.autograd.grad(found, logits, one, retain_graph=True)
        torch.testing.assert_close(batched[number], gradient)


def test_one_graph_holds_loss_and_gradient_under_the_compiler(losses):
    logits, compute = losses

    def weighted(x):
        found = compute(x=x)
        return (torch.arange(found.numel(), device=found.device).reshape(found.shape) * found).sum()

    torch._dynamo.reset()
    compiled = torch.compile(weighted, fullgraph=True, backend='aot_eager')
    found, expected = compiled(logits), weighted(logits)
    assert torch.equal(found, expected)
    assert torch.equal(torch.autograd.grad(found, logits)[0], torch.autograd.grad(expected, logits)[0])


@pytest.mark.parametrize('each', [False, True])
def test_the_operators_keep_the_contract_of_pytorch(each):
    logits, target = made((2, 2), (3, 4))
    logits = logits.contiguous(memory_format=torch.channels_last)
    tensors = (logits, target, torch.rand(target.shape), *ADJUSTMENT[1:])
    options = (IGNORED, 2.0, False, each)
    forward = torch.ops.mmrecall.low_resolution_forward.default
    checks = torch.library.opcheck(forward, (*tensors, *options, True, True))
    assert set(checks.values()) == {'SUCCESS'}
    loss_sums, _, sample_losses, lse = forward(*tensors, *options, True, True)
    backward = torch.ops.mmrecall.low_resolution_backward.default
    incoming = torch.ones_like(sample_losses if each else loss_sums)
    checks = torch.library.opcheck(backward, (*tensors, lse, incoming, *options))
    assert set(checks.values()) == {'SUCCESS'}


def test_what_the_kernels_do_not_take_is_not_covered():
    logits, target = made((2, 2), (3, 4))
    weight = torch.rand(target.shape)
    assert gpu.covers(batch_of(logits, target))
    assert not gpu.covers(batch_of(logits.double(), target))
    assert not gpu.covers(batch_of(logits, torch.rand(1, 3, 3, 4)))
    assert not gpu.covers(batch_of(logits, target, weight.requires_grad_()))
    assert not gpu.covers(batch_of(logits.to('meta'), target.to('meta')))
    huge = torch.zeros(1, dtype=torch.int64).expand(1, 2**16, 2**16)
    assert not gpu.covers(batch_of(logits, huge))
    with forward_ad.dual_level():
        assert not gpu.covers(batch_of(logits, target))
