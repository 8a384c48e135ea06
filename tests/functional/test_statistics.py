import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import counts, log_probability, random_batch, samples

from mmrecall.functional import class_losses, class_statistics
from mmrecall.functional.backends import class_sums
from mmrecall.functional.batch import Batch
from mmrecall.functional.logit_adjustment import LogitAdjustment
from mmrecall.functional.statistics import sum_and_count


def one_hot(target, num_classes, ignore_index):
    """Soft labels of integer ones; an ignored sample has no mass."""
    safe = target.masked_fill(target == ignore_index, 0)
    soft = F.one_hot(safe, num_classes).movedim(-1, 1).double()
    return soft * (target != ignore_index).unsqueeze(1)


@pytest.mark.parametrize('shape', [(7, 3), (4, 5, 6), (2, 4, 5, 3), (2, 3, 2, 3, 2)])
@pytest.mark.parametrize('ignored', [0.0, 0.3])
def test_counts_and_sums_equal_a_loop(shape, ignored):
    logits, target = random_batch(shape, ignored)
    statistics, loss_sum = class_losses(logits, target, ignore_index=255)
    assert [count.tolist() for count in statistics] == list(counts(logits, target, 255))
    expected = [0.0] * shape[1]
    for row, label in zip(*samples(logits, target), strict=True):
        if label != 255:
            expected[label] -= log_probability(row, label)
    torch.testing.assert_close(loss_sum, torch.tensor(expected, dtype=torch.float64))
    assert [count.tolist() for count in class_statistics(logits, target, 255)] == [c.tolist() for c in statistics]


def test_gradient_is_weight_of_the_label_times_softmax_minus_onehot():
    logits, target = random_batch((3, 4, 5), 0.2)
    logits.requires_grad_()
    incoming = torch.rand(4, dtype=torch.float64)
    class_losses(logits, target, ignore_index=255)[1].backward(incoming)
    valid = (target != 255).unsqueeze(1)
    label = target.masked_fill(target == 255, 0)
    expected = incoming[label].unsqueeze(1) * (logits.softmax(1) - one_hot(target, 4, 255)) * valid
    torch.testing.assert_close(logits.grad, expected.detach())


def test_gradcheck_with_ignored_samples_and_sample_weights():
    logits, target = random_batch((2, 3, 4), 0.3)
    weight = torch.rand(2, 4, dtype=torch.float64)
    logits.requires_grad_()
    assert torch.autograd.gradcheck(
        lambda x: class_losses(x, target, ignore_index=255, sample_weight=weight)[1], logits
    )


def test_soft_labels_gradcheck():
    logits, _ = random_batch((2, 3, 4), 0)
    soft = torch.rand(2, 3, 4, dtype=torch.float64) / 3
    logits.requires_grad_()
    assert torch.autograd.gradcheck(lambda x: class_losses(x, soft)[1], logits)


@pytest.mark.parametrize('ignored', [0.0, 0.4])
def test_one_hot_soft_labels_equal_integer_ones(ignored):
    logits, target = random_batch((3, 4, 5), ignored)
    weight = torch.rand(3, 5, dtype=torch.float64)
    hard, hard_sum = class_losses(logits, target, ignore_index=255, sample_weight=weight)
    soft, soft_sum = class_losses(logits, one_hot(target, 4, 255), sample_weight=weight)
    for one, other in zip(hard, soft, strict=True):
        torch.testing.assert_close(one.double(), other)
    torch.testing.assert_close(hard_sum, soft_sum)


def test_a_soft_true_positive_is_the_mass_of_the_predicted_class():
    logits = torch.tensor([[5.0, 0.0, 0.0], [0.0, 5.0, 0.0]])
    soft = torch.tensor([[0.7, 0.3, 0.0], [0.6, 0.3, 0.1]])
    statistics = class_statistics(logits, soft)
    torch.testing.assert_close(statistics.support, torch.tensor([1.3, 0.6, 0.1]).double())
    torch.testing.assert_close(statistics.true_positives, torch.tensor([0.7, 0.3, 0.0]).double())
    torch.testing.assert_close(statistics.predicted, torch.tensor([1.0, 1.0, 0.0]).double())


def test_a_class_without_mass_may_have_probability_zero():
    logits = torch.tensor([[0.0, 1.0, float('-inf')]], requires_grad=True)
    loss_sum = class_losses(logits, torch.tensor([[0.5, 0.5, 0.0]]))[1]
    loss_sum.sum().backward()
    assert loss_sum.isfinite().all()
    assert logits.grad.isfinite().all()


def test_ties_go_to_the_lowest_index():
    statistics = class_statistics(torch.zeros(6, 3), torch.tensor([0, 0, 1, 1, 2, 2]))
    assert statistics.predicted.tolist() == [6, 0, 0]


def test_twenty_million_pixels_are_counted_exactly():
    size = 20_000_001
    logits = torch.zeros(1, 2, size, dtype=torch.float16)
    target = torch.zeros(1, size, dtype=torch.uint8)
    statistics = class_statistics(logits, target)
    assert [count.tolist() for count in statistics] == [[size, 0], [size, 0], [size, 0]]


def test_the_sum_over_many_samples_keeps_float32_accuracy():
    logits = torch.zeros(1, 2, 4_000_000)
    loss_sum = class_losses(logits, torch.zeros(1, 4_000_000, dtype=torch.long))[1]
    torch.testing.assert_close(loss_sum[0].double() / 4_000_000, torch.tensor(2.0).log().double(), rtol=1e-6, atol=0)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(dtype):
    logits, target = random_batch((2, 4, 50), dtype=dtype)
    statistics, loss_sum = class_losses(logits, target, ignore_index=255)
    reference, reference_sum = class_losses(logits.float(), target, ignore_index=255)
    assert loss_sum.dtype == torch.float32
    assert torch.equal(loss_sum, reference_sum)
    assert torch.equal(statistics.support, reference.support)


@pytest.mark.parametrize('dtype', [torch.uint8, torch.int16, torch.int32, torch.int64])
def test_every_integer_type_of_labels_counts_alike(dtype):
    logits, target = random_batch((2, 4, 50), ignored=0)
    assert class_statistics(logits, target.to(dtype)).support.tolist() == class_statistics(logits, target)[0].tolist()


def test_logits_of_ten_thousand_stay_finite():
    logits = torch.tensor([[1e4, -1e4], [-1e4, 1e4]], requires_grad=True)
    loss_sum = class_losses(logits, torch.tensor([1, 1]))[1]
    loss_sum.sum().backward()
    assert loss_sum.tolist() == [0.0, 2e4]
    assert logits.grad.isfinite().all()


def test_sample_weights_scale_the_loss_and_never_the_counts():
    logits, target = random_batch()
    weight = torch.full(target.shape, 3.0, dtype=torch.float64)
    weight[target == 255] = float('nan')
    plain, plain_sum = class_losses(logits, target, ignore_index=255)
    weighted, weighted_sum = class_losses(logits, target, ignore_index=255, sample_weight=weight)
    assert [count.tolist() for count in plain] == [count.tolist() for count in weighted]
    torch.testing.assert_close(weighted_sum, 3 * plain_sum)


def test_a_sample_without_mass_is_ignored_whatever_it_weighs():
    logits, target = random_batch((3, 4, 5), 0.4)
    weight = torch.rand(3, 5, dtype=torch.float64).masked_fill(target == 255, float('nan'))
    hard = class_losses(logits, target, ignore_index=255, sample_weight=weight)[1]
    torch.testing.assert_close(class_losses(logits, one_hot(target, 4, 255), sample_weight=weight)[1], hard)


@pytest.mark.parametrize('bad', [-1.0, float('nan'), float('inf')])
def test_soft_labels_that_will_be_refused_are_left_out_until_then(bad):
    logits = torch.randn(2, 3, requires_grad=True)
    sums = class_sums(Batch(logits, torch.tensor([[0.5, bad, 0.0], [0.0, 0.0, 1.0]]), 255))
    sums.losses.sum().backward()
    assert sums.support.tolist() == [0.5, 0, 1]
    assert logits.grad.isfinite().all()


@pytest.mark.parametrize('shape', [(0, 3), (0, 3, 4, 4), (2, 3, 0, 4)])
def test_an_empty_batch_counts_nothing(shape):
    logits = torch.zeros(shape, requires_grad=True)
    statistics, loss_sum = class_losses(logits, torch.zeros(shape[0], *shape[2:], dtype=torch.long))
    loss_sum.sum().backward()
    assert statistics.support.sum() == 0
    assert loss_sum.tolist() == [0, 0, 0]


BAD = {
    'label too high': (torch.zeros(2, 3), torch.tensor([0, 7]), ValueError, r'1 label.*\[0, 3\).*from 7 to 7'),
    'label negative': (torch.zeros(2, 3), torch.tensor([-1, 0]), ValueError, 'from -1 to -1.*reduce_zero_label'),
    'integer logits': (torch.zeros(2, 3, dtype=torch.long), torch.tensor([0, 1]), TypeError, 'logits.*torch.int64'),
    'boolean labels': (torch.zeros(2, 3), torch.tensor([True, False]), TypeError, 'target.*torch.bool'),
    'labels with a channel': (torch.zeros(2, 3, 4), torch.zeros(2, 1, 4).long(), ValueError, r'\(2, 1, 4\)'),
    'logits without classes': (torch.zeros(3), torch.tensor([0, 1, 2]), ValueError, r'logits.*\(N, C, \.\.\.\)'),
    'one channel': (torch.zeros(2, 1, 4), torch.zeros(2, 4).long(), ValueError, 'two channels'),
    'soft labels of integer shape': (torch.zeros(2, 3), torch.zeros(2), ValueError, 'soft labels'),
    'negative soft label': (torch.zeros(1, 2), torch.tensor([[1.0, -0.5]]), ValueError, '-0.5'),
    'NaN soft label': (torch.zeros(1, 2), torch.tensor([[1.0, float('nan')]]), ValueError, 'nan'),
    'infinite soft label': (torch.zeros(1, 2), torch.tensor([[1.0, float('inf')]]), ValueError, 'inf'),
    'several classes at once': (
        torch.zeros(2, 4),
        torch.tensor([[1.0, 0.0, 1.0, 0.0], [0.0, 1.0, 0.0, 0.0]]),
        ValueError,
        r'1 sample\(s\) in target whose soft labels have a sum above 1, the largest 2; .*multi-label',
    ),
    'numpy logits': (
        torch.zeros(2, 3).numpy(),
        torch.tensor([0, 1]),
        TypeError,
        'got logits of type .*; expected a tensor',
    ),
}


@pytest.mark.parametrize('case', BAD)
def test_bad_input_is_named(case):
    logits, target, error, message = BAD[case]
    for function in (class_losses, class_statistics):
        with pytest.raises(error, match=message):
            function(logits, target)


def test_sample_weights_of_another_shape_are_named():
    with pytest.raises(ValueError, match=r'sample_weight of shape \(3,\).*\(2,\)'):
        class_losses(torch.zeros(2, 3), torch.tensor([0, 1]), sample_weight=torch.ones(3))


@settings(max_examples=60)
@given(
    sizes=st.lists(st.integers(1, 5), min_size=0, max_size=3),
    batch=st.integers(0, 4),
    num_classes=st.integers(2, 6),
    ignored=st.sampled_from([0.0, 0.3, 1.0]),
    dtype=st.sampled_from([torch.float16, torch.bfloat16, torch.float32, torch.float64]),
    channels_last=st.booleans(),
    seed=st.integers(0, 2**16),
)
def test_counts_and_sums_equal_a_loop_for_any_shape(sizes, batch, num_classes, ignored, dtype, channels_last, seed):
    logits, target = random_batch((batch, num_classes, *sizes), ignored, dtype=dtype, seed=seed)
    if channels_last:
        logits = logits.movedim(1, -1).contiguous().movedim(-1, 1)
    statistics, loss_sum = class_losses(logits, target, ignore_index=255)
    assert [count.tolist() for count in statistics] == list(counts(logits, target, 255))
    expected = [0.0] * num_classes
    for row, label in zip(*samples(logits, target), strict=True):
        if label != 255:
            expected[label] -= log_probability(row, label)
    torch.testing.assert_close(loss_sum.double(), torch.tensor(expected).double(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_rounded_shares_of_a_mix_of_images_are_no_more_than_one(dtype):
    shares = torch.rand(2000, 7, dtype=torch.float64)
    soft = (shares / shares.sum(dim=1, keepdim=True)).to(dtype)
    class_statistics(torch.zeros(2000, 7), soft)


@pytest.mark.parametrize('num_samples', [0, 1, 5, 70_000, 3_000_001])
def test_one_scatter_counts_exactly_and_sums_like_float64(num_samples):
    generator = torch.Generator().manual_seed(0)
    bins = torch.randint(4, (num_samples,), generator=generator)
    is_hit = torch.rand(num_samples, generator=generator) < 0.3
    losses = torch.rand(num_samples, generator=generator).requires_grad_()
    support, hits, sums = sum_and_count(bins, losses, is_hit, 3)
    weights = losses.detach().double().numpy()
    np.testing.assert_array_equal(support, np.bincount(bins, minlength=4)[:3])
    np.testing.assert_array_equal(hits, np.bincount(bins[is_hit], minlength=4)[:3])
    np.testing.assert_allclose(sums.detach(), np.bincount(bins, weights, minlength=4)[:3], rtol=2e-7)
    (gradient,) = torch.autograd.grad((sums * torch.tensor([1.0, 2.0, 3.0])).sum(), losses)
    assert torch.equal(gradient, torch.tensor([1.0, 2.0, 3.0, 0.0])[bins])


@pytest.mark.parametrize('shape', [(2, 3, 5), (2, 3, 110, 110)], ids=['steps', 'fused pass'])
def test_hits_are_those_of_the_logits_without_adjustment(shape):
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(shape, generator=generator)
    target = torch.randint(3, (shape[0], *shape[2:]), generator=generator)
    adjustment = LogitAdjustment(2.0, offsets=torch.tensor([9.0, 0.0, -9.0]), margins=torch.tensor([0.5, 4.0, 1.0]))
    sums = class_sums(Batch(logits, target, 255), adjustment, hits=True, predictions=True)
    expected = class_statistics(logits, target, 255)
    assert torch.equal(sums.true_positives, expected.true_positives)
    assert torch.equal(sums.predicted, expected.predicted)
