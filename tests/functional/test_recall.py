import math

import oracle
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import random_batch

from mmrecall.functional import ClassStatistics, class_statistics, recall_cross_entropy, recall_weights
from mmrecall.functional.recall import METRICS


def gradient_of(function, logits):
    logits = logits.clone().requires_grad_()
    function(logits).backward()
    return logits.grad


@pytest.mark.parametrize('metric', METRICS)
@pytest.mark.parametrize('seed', [0, 1])
def test_weights_equal_table_1(metric, seed):
    logits, target = random_batch(seed=seed)
    counts = oracle.counts(logits, target, 255)
    expected = torch.tensor(oracle.weights(*counts, metric=metric)).double()
    torch.testing.assert_close(
        recall_weights(class_statistics(logits, target, 255), metric), expected, rtol=1e-6, atol=1e-12
    )


def test_tversky_weights_are_those_of_false_positives_then_false_negatives():
    counts = ClassStatistics(torch.tensor([10]), torch.tensor([8]), torch.tensor([6]))
    weight = recall_weights(counts, 'tversky', tversky_weights=(0.25, 2.0))
    assert weight.item() == pytest.approx(1 - 6 / (6 + 0.25 * 2 + 2 * 4))


def test_a_class_that_is_never_predicted_has_weight_one_by_precision():
    counts = ClassStatistics(torch.tensor([4, 4]), torch.tensor([8, 0]), torch.tensor([4, 0]))
    assert recall_weights(counts, 'precision').tolist() == [0.5, 1.0]


def test_a_class_without_samples_has_weight_zero():
    counts = ClassStatistics(torch.tensor([4, 0]), torch.tensor([2, 2]), torch.tensor([2, 0]))
    for metric in METRICS:
        assert recall_weights(counts, metric)[1] == 0


def test_fn_floor_of_one_keeps_one_over_n_for_a_perfect_class():
    counts = ClassStatistics(torch.tensor([8, 5, 0]), torch.tensor([8, 5, 0]), torch.tensor([8, 3, 0]))
    torch.testing.assert_close(recall_weights(counts, fn_floor=1), torch.tensor([1 / 8, 2 / 5, 0]).double())


@pytest.mark.parametrize('normalizer', ['valid', 'all', 'weight'])
@pytest.mark.parametrize('reduction', ['mean', 'sum'])
@pytest.mark.parametrize('metric', ['recall', 'precision', 'iou'])
@pytest.mark.parametrize('ignored', [0.0, 0.3])
def test_loss_equals_equation_5_by_a_loop(normalizer, reduction, metric, ignored):
    logits, target = random_batch((3, 4, 5, 2), ignored)
    sample_weight = torch.rand(target.shape, dtype=torch.float64)
    options = dict(
        ignore_index=255, sample_weight=sample_weight, normalizer=normalizer, reduction=reduction, metric=metric
    )
    class_weight = [0.5, 1.0, 2.0, 0.0]
    loss = recall_cross_entropy(logits, target, class_weight=torch.tensor(class_weight).double(), **options)
    assert loss.item() == pytest.approx(oracle.recall_loss(logits, target, class_weight=class_weight, **options))


def test_reduction_none_equals_a_loop_and_sums_to_sum():
    logits, target = random_batch()
    losses = recall_cross_entropy(logits, target, ignore_index=255, reduction='none')
    assert losses.shape == target.shape
    expected = torch.tensor(oracle.recall_loss(logits, target, 255, reduction='none')).reshape(target.shape)
    torch.testing.assert_close(losses, expected.double(), rtol=1e-6, atol=1e-7)
    torch.testing.assert_close(losses.sum(), recall_cross_entropy(logits, target, ignore_index=255, reduction='sum'))


@pytest.mark.parametrize('fn_floor', [0.0, 1.0])
def test_batch_form_is_weighted_cross_entropy_with_hand_computed_weights(fn_floor):
    logits, target = random_batch()
    weights = oracle.weights(*oracle.counts(logits, target, 255), fn_floor=fn_floor)
    weights = torch.tensor(weights, dtype=torch.float64)

    def ours(x):
        return recall_cross_entropy(x, target, ignore_index=255, fn_floor=fn_floor, normalizer='weight')

    def theirs(x):
        return F.cross_entropy(x, target, weight=weights, ignore_index=255)

    torch.testing.assert_close(ours(logits), theirs(logits))
    torch.testing.assert_close(gradient_of(ours, logits), gradient_of(theirs, logits))


def test_soft_labels_equal_pytorchs_cross_entropy_with_probabilities():
    logits, _ = random_batch((4, 3, 5), 0)
    soft = torch.rand(4, 3, 5, dtype=torch.float64).softmax(1)
    recall = torch.tensor([0.2, 0.9, 0.5], dtype=torch.float64)
    expected = F.cross_entropy(logits, soft, weight=1 - recall)
    torch.testing.assert_close(recall_cross_entropy(logits, soft, recall=recall), expected)
    per_sample = F.cross_entropy(logits, soft, weight=1 - recall, reduction='none')
    torch.testing.assert_close(recall_cross_entropy(logits, soft, recall=recall, reduction='none'), per_sample)


def test_two_class_gradient_is_equation_8():
    logits, target = random_batch((1, 2, 400), ignored=0, seed=3)
    gradient = gradient_of(lambda x: recall_cross_entropy(x, target, reduction='sum'), logits)[0, 0].sum()
    rows, labels = oracle.samples(logits, target)
    first = [math.exp(oracle.log_probability(row, 0)) for row in rows]
    predictions = [oracle.prediction(row) for row in rows]
    fn1 = sum(label == 0 and guess == 1 for label, guess in zip(labels, predictions, strict=True))
    fp1 = sum(label == 1 and guess == 0 for label, guess in zip(labels, predictions, strict=True))
    mean_of = [sum(p for p, label in zip(first, labels, strict=True) if label == c) / labels.count(c) for c in (0, 1)]
    assert min(fn1, fp1) > 0
    assert gradient.item() == pytest.approx(fn1 * (mean_of[0] - 1) + fp1 * mean_of[1])


def test_zero_logits_give_a_gradient():
    target = torch.tensor([0, 1, 2, 2])
    gradient = gradient_of(lambda x: recall_cross_entropy(x, target), torch.zeros(4, 3))
    assert gradient[0].tolist() == [0, 0, 0]  # class 0 wins every tie, its recall is 1
    assert (gradient[1:].abs().sum(1) > 0).all()


def test_weights_carry_no_gradient_and_gradcheck_holds():
    logits, target = random_batch((2, 3, 6), seed=1)
    logits.requires_grad_()
    assert torch.autograd.gradcheck(lambda x: recall_cross_entropy(x, target, ignore_index=255), logits)
    assert not recall_weights(class_statistics(logits, target, 255)).requires_grad


def test_given_recall_replaces_that_of_the_batch():
    logits, target = random_batch()
    recall = [0.1, 0.5, 1.0, 0.0]
    loss = recall_cross_entropy(logits, target, ignore_index=255, recall=torch.tensor(recall).double())
    assert loss.item() == pytest.approx(oracle.recall_loss(logits, target, 255, recall=recall))


def test_every_prediction_right_gives_zero_loss_and_zero_gradient():
    target = torch.tensor([0, 1, 2])
    logits = 10 * torch.eye(3)
    for normalizer in ('valid', 'all', 'weight'):
        loss = recall_cross_entropy(logits, target, normalizer=normalizer)
        assert loss == 0
        gradient = gradient_of(lambda x, n=normalizer: recall_cross_entropy(x, target, normalizer=n), logits)
        assert gradient.abs().sum() == 0


@pytest.mark.parametrize('normalizer', ['valid', 'all', 'weight'])
def test_no_valid_sample_gives_zero_with_a_graph(normalizer):
    logits = torch.randn(2, 3, 4, requires_grad=True)
    loss = recall_cross_entropy(logits, torch.full((2, 4), 255), ignore_index=255, normalizer=normalizer)
    loss.backward()
    assert loss == 0
    assert logits.grad.abs().sum() == 0


@pytest.mark.parametrize('normalizer', ['valid', 'all', 'weight'])
def test_an_empty_batch_gives_zero_with_a_graph(normalizer):
    for shape in [(0, 3), (2, 3, 0, 4)]:
        for target in (torch.zeros(shape[0], *shape[2:], dtype=torch.long), torch.zeros(shape)):
            logits = torch.zeros(shape, requires_grad=True)
            loss = recall_cross_entropy(logits, target, normalizer=normalizer)
            loss.backward()
            assert loss == 0


def test_one_class_only_works():
    logits, _ = random_batch((2, 3, 8))
    target = torch.ones(2, 8, dtype=torch.long)
    loss = recall_cross_entropy(logits, target)
    assert loss.item() == pytest.approx(oracle.recall_loss(logits, target))


def test_autocast_in_bfloat16_equals_float32():
    logits, target = random_batch((2, 4, 60), dtype=torch.bfloat16)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        loss = recall_cross_entropy(logits, target, ignore_index=255)
    assert loss.dtype == torch.float32
    assert loss == recall_cross_entropy(logits.float(), target, ignore_index=255)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(reduction='avg'), "reduction='avg'"),
        (dict(normalizer='pixels'), "normalizer='pixels'"),
        (dict(metric='accuracy'), "metric='accuracy'"),
        (dict(fn_floor=-1), 'fn_floor=-1'),
        (dict(metric='iou', fn_floor=1), 'with metric='),
        (dict(recall=torch.zeros(5)), 'recall of shape'),
        (dict(recall=torch.zeros(3), metric='iou'), 'got recall together with metric='),
        (dict(class_weight=torch.ones(2)), 'class_weight of shape'),
        (dict(class_weight=-torch.ones(3)), r'class_weight with 3 wrong .*-1; expected numbers of at least 0'),
        (dict(recall=torch.full((3,), 1.5)), r'recall with 3 wrong .*1\.5; expected numbers between 0 and 1'),
    ],
)
def test_bad_options_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        recall_cross_entropy(torch.zeros(2, 3), torch.tensor([0, 1]), **options)


@settings(max_examples=80)
@given(
    sizes=st.lists(st.integers(1, 4), max_size=2),
    batch=st.integers(1, 4),
    num_classes=st.integers(2, 5),
    ignored=st.sampled_from([0.0, 0.3, 1.0]),
    dtype=st.sampled_from([torch.float16, torch.float32, torch.float64]),
    normalizer=st.sampled_from(['valid', 'all', 'weight']),
    metric=st.sampled_from(METRICS),
    seed=st.integers(0, 2**16),
)
def test_loss_equals_the_loop_for_any_shape(sizes, batch, num_classes, ignored, dtype, normalizer, metric, seed):
    logits, target = random_batch((batch, num_classes, *sizes), ignored, dtype=dtype, seed=seed)
    loss = recall_cross_entropy(logits, target, ignore_index=255, normalizer=normalizer, metric=metric)
    expected = oracle.recall_loss(logits, target, 255, normalizer=normalizer, metric=metric)
    assert loss.item() == pytest.approx(expected, rel=1e-5, abs=1e-6)
    assert loss >= 0
