"""Class sums by strips of low-resolution logits give what the interpolated map gives, without the map."""

from math import nan

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd import forward_ad
from torch.utils.checkpoint import checkpoint

from mmrecall.analysis.benchmark.measure import peak_bytes
from mmrecall.functional import backends
from mmrecall.functional.backends import class_sums, cpu, reference, strips
from mmrecall.functional.batch import Batch, interpolated
from mmrecall.functional.logit_adjustment import LogitAdjustment

# images, classes, size of the logits, size of the labels
SIZES = [
    (2, 7, (5, 6), (20, 24)),
    (1, 19, (4, 9), (33, 70)),
    (3, 4, (8, 8), (8, 9)),
    (1, 3, (1, 1), (7, 9)),
    (2, 3, (1, 5), (1, 3)),
    (2, 3, (9, 11), (4, 5)),
    (1, 5, (7, 3), (7, 200)),
    (5, 4, (2, 2), (101, 3)),
    (1, 3, (5, 5), (1, 1)),
    (2, 2, (3, 40), (50, 2)),
    (4, 3, (30, 2), (3, 7)),
    (1, 3, (65, 33), (129, 65)),
]
ADJUSTMENTS = {
    'none': lambda classes: None,
    'offsets': lambda classes: LogitAdjustment(offsets=torch.linspace(-1, 1, classes)),
    'margins': lambda classes: LogitAdjustment(30.0, margins=torch.linspace(0.1, 0.5, classes)),
    'a class without samples': lambda classes: LogitAdjustment(
        0.5, torch.zeros(classes).index_fill(0, torch.tensor(1), -torch.inf), torch.linspace(0.1, 0.5, classes)
    ),
}
EXACT = dict(rtol=1e-10, atol=1e-10)


@pytest.fixture(autouse=True)
def _fused_passes_however_small(fused_however_small):
    """Strips as they are on a CPU, except where the reduction is 'none'."""


def made(images=2, classes=5, low=(4, 5), size=(13, 19), dtype=torch.float64, ignored=0.2, seed=0, **options):
    """A batch of low-resolution logits that need a gradient."""
    generator = torch.Generator().manual_seed(seed)
    logits = (3 * torch.randn((images, classes, *low), generator=generator, dtype=torch.float64)).to(dtype)
    target = torch.randint(classes, (images, *size), generator=generator)
    target[torch.rand(target.shape, generator=generator) < ignored] = 255
    return Batch(logits.requires_grad_(), target, 255, upsample='bilinear', **options)


def by_map(batch, adjustment=None, **counts):
    return reference.class_sums(interpolated(batch), adjustment, **counts)


def outcome(function, batch, adjustment=None):
    """Counts, losses, and the gradient of a sum with unequal weights."""
    leaf = batch.logits.detach().requires_grad_()
    sums = function(batch._replace(logits=leaf), adjustment, hits=True, predictions=True)
    weights = torch.linspace(0.5, 2.0, sums.losses.numel(), dtype=sums.losses.dtype).reshape(sums.losses.shape)
    (gradient,) = torch.autograd.grad((weights * sums.losses).sum(), leaf)
    return [sums.support, sums.true_positives, sums.predicted, sums.losses.detach(), gradient]


def assert_same(batch, adjustment=None, **tolerance):
    found, expected = outcome(class_sums, batch, adjustment), outcome(by_map, batch, adjustment)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, **(tolerance or EXACT))


@settings(max_examples=150)
@given(
    sizes=st.sampled_from(SIZES),
    align_corners=st.booleans(),
    scores=st.sampled_from([1, 100, 1000, 2**20]),
    ignored=st.sampled_from([0.0, 0.3, 1.0]),
    weighted=st.booleans(),
    adjustment=st.sampled_from(sorted(ADJUSTMENTS)),
    reduction=st.sampled_from(['mean', 'sum', 'none']),
    seed=st.integers(0, 1000),
)
def test_sums_counts_and_gradients_are_those_of_the_interpolated_map(
    sizes, align_corners, scores, ignored, weighted, adjustment, reduction, seed
):
    batch = made(*sizes, ignored=ignored, seed=seed, align_corners=align_corners, reduction=reduction)
    if weighted:
        batch = batch._replace(sample_weight=torch.rand(batch.target.shape).where(batch.target != 255, nan))
    some = ADJUSTMENTS[adjustment](sizes[1])
    if adjustment == 'a class without samples':
        batch = batch._replace(target=batch.target.masked_fill(batch.target == 1, 0))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(strips, '_STRIP', scores)
        assert_same(batch, some)


@settings(max_examples=60)
@given(
    size=st.tuples(st.integers(1, 60), st.integers(1, 60)),
    low=st.tuples(st.integers(1, 20), st.integers(1, 20)),
    images=st.integers(1, 5),
    align_corners=st.booleans(),
    scores=st.sampled_from([100, 1000]),
)
def test_any_size_is_interpolated_to_any_other(size, low, images, align_corners, scores):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(strips, '_STRIP', scores)
        assert_same(made(images, 3, low, size, align_corners=align_corners))


@pytest.mark.parametrize('align_corners', [False, True])
@pytest.mark.parametrize(('low', 'size'), [(1, 1), (1, 7), (7, 1), (5, 5), (4, 16), (5, 13), (13, 5), (33, 257)])
def test_positions_are_weighted_as_pytorch_does(low, size, align_corners):
    identity = torch.eye(low, dtype=torch.float64).reshape(1, low, low, 1)
    expected = F.interpolate(identity, (size, 1), mode='bilinear', align_corners=align_corners)[0, :, :, 0].T
    torch.testing.assert_close(strips.interpolation_weights(low, size, align_corners), expected, **EXACT)


@pytest.mark.parametrize('reduction', ['mean', 'none'])
@pytest.mark.parametrize('dtype', [torch.float32, torch.float16, torch.bfloat16])
def test_lower_precision_is_computed_in_float32(dtype, reduction, monkeypatch):
    monkeypatch.setattr(strips, '_STRIP', 500)
    batch = made(dtype=dtype, reduction=reduction)
    found = outcome(class_sums, batch)
    expected = outcome(by_map, batch._replace(logits=batch.logits.float()))
    assert found[4].dtype == dtype
    for one, other in zip(found[:4], expected[:4], strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)
    # one step of the type, where float32 sums in another order are rounded the other way
    coarse = dict(rtol=2 * torch.finfo(dtype).eps, atol=1e-5)
    torch.testing.assert_close(found[4].float(), expected[4], **coarse)


def test_autocast_changes_nothing():
    batch = made(dtype=torch.float32)
    expected = outcome(class_sums, batch)
    with torch.autocast('cpu', torch.bfloat16):
        found = outcome(class_sums, batch)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)


def test_a_lower_precision_of_matrix_products_changes_nothing():
    batch = made(classes=19, low=(32, 32), size=(128, 128), dtype=torch.float32)
    expected = outcome(by_map, batch._replace(logits=batch.logits.double()))
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision('medium')
    try:
        found = outcome(class_sums, batch)
        # not every machine rounds what it is allowed to
        assert next(strips._strips(batch)).columns.dtype == torch.float64
    finally:
        torch.set_float32_matmul_precision(before)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other.to(one.dtype), rtol=1e-5, atol=1e-4)


def test_labels_outside_the_classes_are_left_out():
    batch = made()
    batch.target[0, 0, :4] = torch.tensor([-7, 5, 99, -1])
    assert_same(batch)
    assert_same(batch._replace(target=batch.target.to(torch.int32)))


@pytest.mark.parametrize('value', [nan, torch.inf, -torch.inf])
def test_a_score_that_is_not_finite_changes_its_neighbours_alone(value):
    batch = made(low=(5, 5), size=(20, 20), reduction='none')
    with torch.no_grad():
        batch.logits[0, 2, 2, 2] = value
    losses = class_sums(batch).losses
    assert int((~losses.isfinite()).count_nonzero()) <= 8 * 8
    torch.testing.assert_close(losses, by_map(batch).losses, equal_nan=True)


def test_a_second_backward_pass_gives_the_same_gradient():
    batch = made()
    loss = class_sums(batch).losses.square().sum()
    (first,) = torch.autograd.grad(loss, batch.logits, retain_graph=True)
    (second,) = torch.autograd.grad(loss, batch.logits)
    torch.testing.assert_close(first, second, rtol=0, atol=0)


@pytest.mark.parametrize('reduction', ['sum', 'none'])
def test_gradients_of_gradients_are_right(reduction):
    batch = made(1, 3, (2, 3), (4, 5), reduction=reduction)
    batch = batch._replace(sample_weight=torch.rand(batch.target.shape, dtype=torch.float64))
    adjustment = LogitAdjustment(2.0, margins=torch.tensor([0.1, 0.5, 0.2]))

    def losses(logits):
        return class_sums(batch._replace(logits=logits), adjustment).losses

    assert torch.autograd.gradcheck(losses, batch.logits)
    assert torch.autograd.gradgradcheck(losses, batch.logits)


def test_batched_vector_gradients_equal_those_computed_one_by_one():
    batch = made()
    vectors = torch.randn(6, 5, dtype=torch.float64)
    losses = class_sums(batch).losses
    apart = [torch.autograd.grad(losses, batch.logits, vector, retain_graph=True)[0] for vector in vectors]
    together = torch.autograd.grad(losses, batch.logits, vectors, is_grads_batched=True)[0]
    torch.testing.assert_close(together, torch.stack(apart))


@pytest.mark.parametrize('use_reentrant', [False, True])
def test_it_may_be_checkpointed(use_reentrant):
    batch = made()
    (expected,) = torch.autograd.grad(by_map(batch).losses.sum(), batch.logits)
    checkpoint(
        lambda x: class_sums(batch._replace(logits=2 * x / 2)).losses.sum(), batch.logits, use_reentrant=use_reentrant
    ).backward()
    torch.testing.assert_close(batch.logits.grad, expected, **EXACT)


def test_saved_tensors_may_live_elsewhere():
    batch = made()
    with torch.autograd.graph.save_on_cpu():
        loss = class_sums(batch).losses.sum()
    expected = torch.autograd.grad(by_map(batch).losses.sum(), batch.logits)
    torch.testing.assert_close(torch.autograd.grad(loss, batch.logits), expected, **EXACT)


def test_logits_that_are_not_contiguous_are_read():
    batch = made()
    last = batch.logits.detach().contiguous(memory_format=torch.channels_last)
    turned = batch.logits.detach().mT.contiguous().mT
    for logits in (last, turned, batch.logits.detach()[:1].expand_as(batch.logits)):
        assert_same(batch._replace(logits=logits, target=batch.target.mT.contiguous().mT))


def test_no_gradient_is_kept_without_one_to_take():
    batch = made()
    with torch.no_grad():
        assert not class_sums(batch).losses.requires_grad
    assert not class_sums(batch._replace(logits=batch.logits.detach())).losses.requires_grad


def test_counts_are_none_unless_asked_for():
    sums = class_sums(made())
    assert sums.true_positives is None
    assert sums.predicted is None


def test_logits_of_the_size_of_the_labels_are_taken_as_they_are(monkeypatch):
    monkeypatch.setattr(strips, 'class_sums', None)
    batch = made(low=(6, 7), size=(6, 7))
    torch.testing.assert_close(class_sums(batch).losses, reference.class_sums(batch).losses)


def soft(batch):
    labels = torch.rand(len(batch.target), batch.logits.shape[1], *batch.target.shape[1:], dtype=torch.float64)
    return batch._replace(target=labels)


NOT_COVERED = {
    'soft labels': soft,
    'weights that want a gradient': lambda batch: batch._replace(
        sample_weight=torch.rand(batch.target.shape, dtype=torch.float64, requires_grad=True)
    ),
    'nothing': lambda batch: batch._replace(logits=batch.logits[:0], target=batch.target[:0]),
}


@pytest.mark.parametrize('name', NOT_COVERED)
def test_what_strips_do_not_cover_is_interpolated(name):
    batch = NOT_COVERED[name](made())
    assert not strips.covers(batch)
    assert_same(batch)


def test_functional_gradients_are_right():
    batch = made()
    found = torch.func.grad(lambda x: class_sums(batch._replace(logits=x)).losses.sum())(batch.logits.detach())
    (expected,) = torch.autograd.grad(by_map(batch).losses.sum(), batch.logits)
    torch.testing.assert_close(found, expected, **EXACT)


def test_forward_mode_gives_the_directional_derivative():
    batch = made()
    direction = torch.randn_like(batch.logits)
    with forward_ad.dual_level():
        dual = forward_ad.make_dual(batch.logits.detach(), direction)
        tangent = forward_ad.unpack_dual(class_sums(batch._replace(logits=dual)).losses.sum()).tangent
    (gradient,) = torch.autograd.grad(by_map(batch).losses.sum(), batch.logits)
    torch.testing.assert_close(tangent, (gradient * direction).sum())


def test_a_compiled_model_takes_the_strips_too(monkeypatch):
    batch = made()
    taken = []
    monkeypatch.setattr(backends, '_uncompiled', lambda compute: torch.compiler.disable(counted(compute, taken)))

    def scaled(logits):
        return class_sums(Batch(2 * logits, *batch[1:])).losses.square().sum()

    (found,) = torch.autograd.grad(torch.compile(scaled, backend='aot_eager')(batch.logits), batch.logits)
    assert taken == [strips.class_sums]
    torch.testing.assert_close(found, torch.autograd.grad(scaled(batch.logits), batch.logits)[0], **EXACT)


def counted(compute, taken):
    return lambda *arguments, **options: taken.append(compute) or compute(*arguments, **options)


def step(function, batch):
    return lambda: function(batch, hits=True, predictions=True).losses.sum().backward()


@pytest.mark.parametrize('adjustment', ['none', 'margins'])
def test_the_peak_of_memory_is_that_of_a_strip_however_tall_the_map(adjustment, monkeypatch):
    monkeypatch.setattr(strips, '_STRIP', 2**16)
    some = ADJUSTMENTS[adjustment](19)
    peaks, of_map = [], []
    for height in (512, 2048):
        batch = made(1, 19, (8, 16), (height, 128), dtype=torch.float32)
        for function, into in ((class_sums, peaks), (by_map, of_map)):
            into.append(peak_bytes(lambda f=function, b=batch: f(b, some, hits=True).losses.sum().backward()))
    # the interpolation weights of the rows are 8 numbers to a row
    assert peaks[1] - peaks[0] <= 4 * 8 * 8 * 2048
    assert peaks[1] <= 16 * 4 * 2**16
    # the same measure sees what the map costs
    assert of_map[1] > 3 * of_map[0] > 3 * 4 * 19 * 512 * 128


def test_losses_of_samples_need_one_map_of_a_number_a_pixel(monkeypatch):
    monkeypatch.setattr(strips, '_STRIP', 2**16)
    batch = made(1, 19, (8, 16), (2048, 128), dtype=torch.float32, reduction='none')
    peak = peak_bytes(step(class_sums, batch))
    assert peak <= 16 * 4 * 2**16 + 3 * 4 * 2048 * 128


def test_a_strip_holds_no_more_scores_than_a_block_of_the_fused_pass():
    assert strips._STRIP <= cpu._BLOCK
    for images, scores, low, height in ((8, 11 * 240, 12, 180), (4, 19 * 512, 64, 512), (8, 150 * 512, 64, 512)):
        some, rows = strips._strip_size(images, scores, low, height)
        assert strips._STRIP / 4 < some * rows * scores <= strips._STRIP
