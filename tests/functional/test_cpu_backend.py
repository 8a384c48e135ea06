"""The fused pass over the logits on a CPU gives what the steps of the reference give."""

from functools import partial
from math import nan

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd import forward_ad
from torch.utils.checkpoint import checkpoint

from mmrecall.analysis.benchmark.measure import peak_bytes
from mmrecall.functional import recall_cross_entropy
from mmrecall.functional.backends import class_sums, cpu, reference
from mmrecall.functional.batch import Batch
from mmrecall.functional.logit_adjustment import LogitAdjustment
from mmrecall.losses import (
    BalancedLogitVariationLoss,
    LDAMLoss,
    LogitAdjustedLoss,
    RecallLoss,
    WeightedCrossEntropyLoss,
)

LAYOUTS = {
    'contiguous': lambda logits: logits,
    'channels last': lambda logits: logits.contiguous(memory_format=torch.channels_last),
    'every other column': lambda logits: logits.repeat_interleave(2, dim=-1)[..., ::2],
    'classes last in memory': lambda logits: logits.movedim(1, -1).contiguous().movedim(-1, 1),
    'every image the same': lambda logits: logits[:1].expand_as(logits),
    'images last in memory': lambda logits: logits.movedim(0, -1).contiguous().movedim(-1, 0),
    'a part of more': lambda logits: torch.cat([logits, logits], dim=1)[:, : logits.shape[1]],
    'places transposed in memory': lambda logits: logits.transpose(-1, -2).contiguous().transpose(-1, -2),
}


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch):
    """Several blocks an image, of unequal size."""
    monkeypatch.setattr(cpu, '_BLOCK', 40)
    monkeypatch.setattr(cpu, '_SMALL', 1)


def made(shape, dtype=torch.float64, ignored=0.2, scale=3.0, seed=0):
    """Logits that need a gradient, and labels of which some are left out."""
    generator = torch.Generator().manual_seed(seed)
    logits = (scale * torch.randn(shape, generator=generator, dtype=torch.float64)).to(dtype)
    samples = (shape[0], *shape[2:])
    target = torch.randint(shape[1], samples, generator=generator)
    target[torch.rand(samples, generator=generator) < ignored] = 255
    return logits.requires_grad_(), target


def outcome(function, logits, target, sample_weight=None, ignore_index=255, adjustment=None):
    """Support, true positives, losses, and the gradient of a sum with unequal weights."""
    leaf = logits.detach().requires_grad_()
    sums = function(Batch(leaf, target, ignore_index, sample_weight), adjustment, hits=True)
    weights = torch.linspace(0.5, 2.0, logits.shape[1], dtype=sums.losses.dtype)
    (gradient,) = torch.autograd.grad((weights * sums.losses).sum(), leaf)
    return [sums.support, sums.true_positives, sums.losses.detach(), gradient]


def assert_same(logits, target, sample_weight=None, ignore_index=255, adjustment=None, **tolerance):
    assert cpu.covers(Batch(logits, target, sample_weight=sample_weight))
    found = outcome(cpu.class_sums, logits, target, sample_weight, ignore_index, adjustment)
    expected = outcome(reference.class_sums, logits, target, sample_weight, ignore_index, adjustment)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, equal_nan=True, **tolerance)


SHAPES = [(5, 3), (1, 2), (2, 3, 1, 5), (2, 3, 7), (2, 4, 5, 6), (1, 19, 4, 4), (2, 3, 2, 3, 4), (3, 50)]
EXACT = dict(rtol=1e-10, atol=1e-10)


@settings(max_examples=150)
@given(
    shape=st.sampled_from(SHAPES),
    layout=st.sampled_from(sorted(LAYOUTS)),
    ignored=st.sampled_from([0.0, 0.3, 1.0]),
    scale=st.sampled_from([0.1, 5.0, 2000.0]),
    weighted=st.booleans(),
    ignore_index=st.sampled_from([255, -100, 0]),
    seed=st.integers(0, 1000),
)
def test_values_counts_and_gradients_are_those_of_the_steps(
    shape, layout, ignored, scale, weighted, ignore_index, seed
):
    logits, target = made(shape, ignored=ignored, scale=scale, seed=seed)
    target = target.masked_fill(target == 255, ignore_index)
    if layout != 'channels last' or len(shape) == 4:
        logits = LAYOUTS[layout](logits)
    weight = torch.rand(target.shape, dtype=torch.float64).where(target != ignore_index, nan) if weighted else None
    assert_same(logits, target, weight, ignore_index, **EXACT)


@settings(max_examples=100)
@given(
    shape=st.sampled_from(SHAPES),
    layout=st.sampled_from(sorted(LAYOUTS)),
    scale=st.sampled_from([1.0, 0.1, 30.0]),
    kind=st.sampled_from(['margins', 'offsets', 'both', 'a class without samples']),
    size=st.sampled_from([1.0, 500.0]),
    seed=st.integers(0, 1000),
)
def test_adjusted_logits_come_out_as_from_the_steps(shape, layout, scale, kind, size, seed):
    logits, target = made(shape, ignored=0.3, scale=size, seed=seed)
    if layout != 'channels last' or len(shape) == 4:
        logits = LAYOUTS[layout](logits)
    offsets, margins = (torch.rand(shape[1], dtype=torch.float64) - 0.5 for _ in range(2))
    if kind == 'a class without samples':
        offsets[0] = -float('inf')
    adjustment = LogitAdjustment(
        scale, offsets=None if kind == 'margins' else offsets, margins=margins if kind in ('margins', 'both') else None
    )
    assert_same(logits, target, adjustment=adjustment, **EXACT)


def test_an_adjustment_has_gradients_of_gradients_and_a_second_backward_pass():
    logits, target = made((2, 3, 2, 3), ignored=0.3)
    adjustment = LogitAdjustment(2.0, margins=torch.tensor([0.1, 0.5, 0.2]))

    def loss_sum(x):
        return cpu.class_sums(Batch(x, target, 255), adjustment).losses

    assert torch.autograd.gradgradcheck(loss_sum, logits)
    loss = loss_sum(logits).sum()
    (first,) = torch.autograd.grad(loss, logits, retain_graph=True)
    kept = first.clone()
    torch.testing.assert_close(torch.autograd.grad(loss, logits)[0], kept, **EXACT)


@settings(max_examples=150)
@given(
    shape=st.sampled_from(SHAPES),
    layout=st.sampled_from(sorted(LAYOUTS)),
    ignored=st.sampled_from([0.0, 0.3]),
    scale=st.sampled_from([0.1, 3.0, 12.0, 100.0]),
    seed=st.integers(0, 1000),
)
def test_float32_agrees_to_a_hundred_thousandth(shape, layout, ignored, scale, seed):
    logits, target = made(shape, torch.float32, ignored, scale, seed)
    if layout != 'channels last' or len(shape) == 4:
        logits = LAYOUTS[layout](logits)
    # the steps' own float32 differs from float64 by as much as this where a loss or a probability is tiny
    assert_same(logits, target, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
@pytest.mark.parametrize('shape', SHAPES)
def test_half_precision_is_computed_in_float32(shape, dtype):
    logits, target = made(shape, dtype)
    found = outcome(cpu.class_sums, logits, target)
    expected = outcome(reference.class_sums, logits.float(), target)
    assert found[2].dtype == torch.float32
    assert found[3].dtype == dtype
    for one, other in zip(found[:3], expected[:3], strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(found[3], expected[3].to(dtype))


INTEGERS = [getattr(torch, name) for name in ('uint8', 'int16', 'int32', 'uint16', 'uint32') if hasattr(torch, name)]


@pytest.mark.parametrize('dtype', INTEGERS)
def test_labels_of_any_integer_type_are_read(dtype):
    logits, target = made((2, 5, 6, 7))
    target = target.clamp(max=100 if dtype != torch.uint8 else 255)
    ignore_index = 255 if dtype == torch.uint8 else 100
    assert_same(logits, target.to(dtype), ignore_index=ignore_index, **EXACT)


def test_labels_outside_the_classes_are_left_out():
    logits, target = made((2, 5, 6, 7))
    target[0, 0, :4] = torch.tensor([-7, 5, 99, -1])
    assert_same(logits, target, **EXACT)


def test_the_lowest_class_wins_a_tie():
    logits = torch.zeros(1, 4, 2, 2, dtype=torch.float64)
    logits[0, :, 0, 0] = torch.tensor([1.0, 7.0, 7.0, 0.0])
    for label in range(4):
        target = torch.full((1, 2, 2), label)
        assert_same(logits.requires_grad_(), target, **EXACT)
        hits = cpu.class_sums(Batch(logits, target, 255), hits=True).true_positives.tolist()
        assert hits == [[3, 0, 0, 0], [0, 1, 0, 0], [0] * 4, [0] * 4][label]


@settings(max_examples=50)
@given(st.integers(0, 10_000))
def test_scores_with_many_ties_count_alike(seed):
    logits = torch.randint(0, 3, (2, 5, 4, 4), generator=torch.Generator().manual_seed(seed)).double()
    target = torch.randint(0, 5, (2, 4, 4), generator=torch.Generator().manual_seed(seed + 1))
    assert_same(logits.requires_grad_(), target, **EXACT)
    adjustment = LogitAdjustment(2.0, torch.tensor([1.0, 0.0, 2.0, 0.0, 1.0]), torch.tensor([0.0, 1.0, 2.0, 1.0, 0.0]))
    assert_same(logits, target, adjustment=adjustment, **EXACT)


@pytest.mark.parametrize('value', [float('nan'), float('inf'), -float('inf'), 1e4, -1e4])
def test_extreme_scores_come_out_as_from_the_steps(value):
    logits, target = made((2, 5, 6, 7))
    with torch.no_grad():
        logits[0, 2, 0, :3] = value
        logits[1, :, 3, 3] = value
        logits[1, 1, 4, 4] = value
    target[1, 4, 4] = 1
    assert_same(logits, target, **EXACT)


def test_large_scores_keep_small_losses():
    # float32 logits of 50 are safe to exponentiate, but their logarithm has lost the digits of a loss of 1e-4
    logits = torch.tensor([[50.0, 40.8], [-55.0, -64.0]], dtype=torch.float32)
    target = torch.tensor([0, 0])
    expected = reference.class_sums(Batch(logits.double(), target, 255)).losses
    found = cpu.class_sums(Batch(logits, target, 255)).losses
    torch.testing.assert_close(found.double(), expected, rtol=1e-3, atol=0)


def test_no_gradient_is_kept_without_one_to_take():
    logits, target = made((2, 5, 6, 7))
    with torch.no_grad():
        silent = cpu.class_sums(Batch(logits, target, 255))
    assert not silent.losses.requires_grad
    constant = cpu.class_sums(Batch(logits.detach(), target, 255))
    assert not constant.losses.requires_grad
    torch.testing.assert_close(silent.losses, reference.class_sums(Batch(logits, target, 255)).losses.detach())


def test_a_second_backward_pass_gives_the_same_gradient():
    logits, target = made((2, 5, 6, 7))
    loss = cpu.class_sums(Batch(logits, target, 255)).losses.sum()
    (first,) = torch.autograd.grad(loss, logits, retain_graph=True)
    kept = first.clone()
    (second,) = torch.autograd.grad(loss, logits, retain_graph=True)
    torch.testing.assert_close(first, kept, rtol=0, atol=0)
    torch.testing.assert_close(second, kept, **EXACT)
    loss.backward()
    loss_again = cpu.class_sums(Batch(logits, target, 255)).losses.sum()
    loss_again.backward()
    torch.testing.assert_close(logits.grad, 2 * kept, **EXACT)


def test_two_losses_of_one_result_add_their_gradients():
    logits, target = made((2, 5, 6, 7))
    loss_sum = cpu.class_sums(Batch(logits, target, 255)).losses
    (loss_sum.sum() + (loss_sum * torch.arange(5)).sum()).backward()
    leaf = logits.detach().requires_grad_()
    expected = reference.class_sums(Batch(leaf, target, 255)).losses
    (expected.sum() + (expected * torch.arange(5)).sum()).backward()
    torch.testing.assert_close(logits.grad, leaf.grad, **EXACT)


def test_gradients_of_gradients_are_right():
    logits, target = made((2, 3, 2, 3), ignored=0.3)
    weight = torch.rand(target.shape, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda x: cpu.class_sums(Batch(x, target, 255, weight)).losses, logits)
    assert torch.autograd.gradgradcheck(lambda x: cpu.class_sums(Batch(x, target, 255, weight)).losses, logits)


@pytest.mark.parametrize('use_reentrant', [False, True])
def test_it_may_be_checkpointed(use_reentrant):
    logits, target = made((2, 5, 6, 7))
    expected = outcome(reference.class_sums, logits, target)[3]

    def weighted(x):
        return (cpu.class_sums(Batch(2 * x / 2, target, 255)).losses * torch.linspace(0.5, 2.0, 5)).sum()

    checkpoint(weighted, logits, use_reentrant=use_reentrant).backward()
    torch.testing.assert_close(logits.grad, expected, **EXACT)


def test_saved_tensors_may_live_elsewhere():
    logits, target = made((2, 5, 6, 7))
    with torch.autograd.graph.save_on_cpu():
        loss = cpu.class_sums(Batch(logits, target, 255)).losses.sum()
    (first,) = torch.autograd.grad(loss, logits, retain_graph=True)
    (second,) = torch.autograd.grad(loss, logits)
    torch.testing.assert_close(first, second, **EXACT)
    torch.testing.assert_close(
        first, torch.autograd.grad(reference.class_sums(Batch(logits, target, 255)).losses.sum(), logits)[0], **EXACT
    )


def test_functional_gradients_are_right():
    logits, target = made((2, 5, 6, 7))
    found = torch.func.grad(lambda x: class_sums(Batch(x, target, 255)).losses.sum())(logits.detach())
    expected = torch.func.grad(lambda x: reference.class_sums(Batch(x, target, 255)).losses.sum())(logits.detach())
    torch.testing.assert_close(found, expected, **EXACT)


def test_a_compiled_model_takes_the_fused_pass_too(monkeypatch):
    logits, target = made((2, 5, 6, 7))
    calls = []
    exponentiate = cpu._exponentiate
    monkeypatch.setattr(cpu, '_BLOCK', logits.numel())
    monkeypatch.setattr(cpu, '_exponentiate', lambda *arguments: calls.append(1) or exponentiate(*arguments))

    def scaled(x):
        return (class_sums(Batch(2 * x, target, 255)).losses * torch.linspace(0.5, 2.0, 5)).sum()

    (found,) = torch.autograd.grad(torch.compile(scaled, backend='aot_eager')(logits), logits)
    assert calls == [1]
    torch.testing.assert_close(found, torch.autograd.grad(scaled(logits), logits)[0], **EXACT)


@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
def test_autocast_changes_nothing(dtype):
    logits, target = made((2, 5, 6, 7), dtype)
    expected = outcome(cpu.class_sums, logits, target)
    with torch.autocast('cpu', torch.bfloat16):
        found = outcome(cpu.class_sums, logits, target)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)


def test_the_gradient_has_the_layout_of_the_logits():
    logits = made((2, 5, 6, 7))[0].detach().contiguous(memory_format=torch.channels_last).requires_grad_()
    cpu.class_sums(Batch(logits, torch.zeros(2, 6, 7, dtype=torch.long), 255)).losses.sum().backward()
    assert logits.grad.is_contiguous(memory_format=torch.channels_last)


def test_sums_may_be_changed_in_place():
    logits, target = made((2, 5, 6, 7))
    loss_sum = cpu.class_sums(Batch(logits, target, 255)).losses
    loss_sum *= 2
    expected = 2 * reference.class_sums(Batch(logits, target, 255)).losses
    torch.testing.assert_close(loss_sum, expected, **EXACT)
    torch.testing.assert_close(
        torch.autograd.grad(loss_sum.sum(), logits), torch.autograd.grad(expected.sum(), logits), **EXACT
    )


def test_very_many_classes_keep_their_loss_finite():
    logits = torch.full((1, 300_000), 38.12)
    logits[0, 0] = -38.12
    found = cpu.class_sums(Batch(logits, torch.tensor([0]), 255)).losses
    torch.testing.assert_close(found, reference.class_sums(Batch(logits, torch.tensor([0]), 255)).losses)


def test_logits_and_labels_stay_as_they_are():
    logits, target = made((2, 5, 6, 7))
    before, labels = logits.detach().clone(), target.clone()
    cpu.class_sums(Batch(logits, target, 255)).losses.sum().backward()
    assert torch.equal(logits.detach(), before)
    assert torch.equal(target, labels)


@pytest.mark.parametrize(
    ('logits', 'target', 'weight'),
    [
        (torch.zeros(2, 3, 4), torch.rand(2, 3, 4), None),
        (torch.zeros(0, 3, 4), torch.zeros(0, 4, dtype=torch.long), None),
        (torch.zeros(2, 3), torch.zeros(2, dtype=torch.long), torch.ones(2, requires_grad=True)),
        (torch.zeros(2, 3, device='meta'), torch.zeros(2, dtype=torch.long, device='meta'), None),
    ],
    ids=['soft labels', 'nothing', 'weights that want a gradient', 'another device'],
)
def test_what_it_does_not_cover_takes_the_steps(logits, target, weight):
    assert not cpu.covers(Batch(logits, target, sample_weight=weight))


def test_predictions_are_counted_when_asked():
    logits, target = made((2, 5, 6, 7))
    adjustment = LogitAdjustment(2.0, offsets=torch.randn(5), margins=torch.rand(5))
    for some in (None, adjustment):
        found = cpu.class_sums(Batch(logits, target, 255), some, predictions=True)
        expected = reference.class_sums(Batch(logits, target, 255), some, predictions=True)
        assert torch.equal(found.predicted, expected.predicted)
    assert cpu.class_sums(Batch(logits, target, 255)).predicted is None


MEMORY = {
    'recall_cross_entropy': lambda: partial(recall_cross_entropy, ignore_index=255),
    'RecallLoss': lambda: RecallLoss(ignore_index=255),
    'RecallLoss(alpha=0.9)': lambda: RecallLoss(alpha=0.9, num_classes=19, ignore_index=255),
    'WeightedCrossEntropyLoss': lambda: WeightedCrossEntropyLoss(class_weight=[0.5] * 19, ignore_index=255),
    'LDAMLoss': lambda: LDAMLoss(class_counts=list(range(1, 20)), scale=30.0, ignore_index=255),
    'LogitAdjustedLoss': lambda: LogitAdjustedLoss(class_counts=list(range(1, 20)), ignore_index=255),
    'plain': lambda: lambda logits, target: reference.class_sums(Batch(logits, target, 255)).losses.sum(),
}


@pytest.mark.parametrize('name', MEMORY)
def test_a_step_holds_little_more_than_the_gradient(name, monkeypatch):
    monkeypatch.setattr(cpu, '_BLOCK', 2**16)
    logits, target = made((4, 19, 128, 256), torch.float32)
    loss = MEMORY[name]()
    # what is made once is not the step's
    loss(logits, target)
    peak = peak_bytes(lambda: loss(logits, target).backward())
    # the same measure sees what the steps cost
    assert (peak <= 1.25 * logits.numel() * logits.element_size()) == (name != 'plain')


def test_noise_in_the_logits_is_one_map_more(monkeypatch):
    monkeypatch.setattr(cpu, '_BLOCK', 2**16)
    logits, target = made((4, 19, 128, 256), torch.float32)
    loss = BalancedLogitVariationLoss(class_counts=list(range(1, 20)), ignore_index=255)
    loss(logits, target)
    peak = peak_bytes(lambda: loss(logits, target).backward())
    size = logits.numel() * logits.element_size()
    assert 2 * size <= peak <= 2.25 * size


def test_forward_mode_gives_the_directional_derivative():
    logits, target = made((4, 3, 5))
    direction = torch.randn(logits.shape, dtype=logits.dtype)
    with forward_ad.dual_level():
        dual = forward_ad.make_dual(logits.detach(), direction)
        tangent = forward_ad.unpack_dual(recall_cross_entropy(dual, target, ignore_index=255)).tangent
    (gradient,) = torch.autograd.grad(recall_cross_entropy(logits, target, ignore_index=255), logits)
    torch.testing.assert_close(tangent, (gradient * direction).sum())


def test_batched_vector_gradients_equal_those_computed_one_by_one():
    logits, target = made((4, 3, 5))
    vectors = torch.randn(6, 3, dtype=logits.dtype)

    def losses():
        return class_sums(Batch(logits, target, 255)).losses

    together = torch.autograd.grad(losses(), logits, vectors, is_grads_batched=True)[0]
    apart = torch.stack([torch.autograd.grad(losses(), logits, vector)[0] for vector in vectors])
    torch.testing.assert_close(together, apart)
