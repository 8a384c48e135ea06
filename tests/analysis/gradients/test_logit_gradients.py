import math

import oracle
import pytest
import torch
import torch.nn.functional as F
from oracle import random_batch

from mmrecall.analysis.gradients import class_gradients, gradient_by_class
from mmrecall.functional import class_statistics, recall_cross_entropy


def summed(function, **options):
    """A loss of the two arguments that `gradient_by_class` passes, summed over the samples."""
    return lambda logits, target: function(logits, target, ignore_index=255, reduction='sum', **options)


def mean_probabilities(logits, target):
    """P_k^(c) as ``[c][k]``, and the number of samples of each c, by a loop."""
    classes, pairs = range(logits.shape[1]), oracle.labelled(logits, target, 255)
    rows = [[oracle.probabilities(row) for row, label in pairs if label == c] for c in classes]
    support = [len(row) for row in rows]
    return [[sum(p[k] for p in rows[c]) / support[c] for k in classes] for c in classes], support


@pytest.mark.parametrize('shape', [(40, 3), (2, 5, 6, 7)])
def test_recall_loss_has_the_two_terms_of_equation_8_for_any_number_of_classes(shape):
    logits, target = random_batch(shape, seed=4)
    found = class_gradients(gradient_by_class(summed(recall_cross_entropy), logits, target, ignore_index=255))
    mean, _ = mean_probabilities(logits, target)
    support, _, hits = oracle.counts(logits, target, 255)
    missed = [n - hit for n, hit in zip(support, hits, strict=True)]
    classes = range(shape[1])
    assert min(missed) > 0
    positive = [missed[k] * (1 - mean[k][k]) for k in classes]
    negative = [sum(missed[c] * mean[c][k] for c in classes if c != k) for k in classes]
    assert found.positive.tolist() == pytest.approx(positive)
    assert found.negative.tolist() == pytest.approx(negative)


def test_cross_entropy_has_the_number_of_samples_in_place_of_false_negatives():
    logits, target = random_batch((3, 4, 20), seed=1)
    gradient = gradient_by_class(summed(F.cross_entropy), logits, target, ignore_index=255)
    mean, support = mean_probabilities(logits, target)
    expected = [[support[c] * (mean[c][k] - (c == k)) for k in range(4)] for c in range(4)]
    torch.testing.assert_close(gradient, torch.tensor(expected).double())


def test_two_classes_have_the_false_positives_of_the_paper():
    logits, target = random_batch((400, 2), ignored=0, seed=3)
    found = class_gradients(gradient_by_class(summed(recall_cross_entropy), logits, target))
    statistics = class_statistics(logits, target)
    false_positives = (statistics.predicted - statistics.true_positives).double()
    mean, _ = mean_probabilities(logits, target)
    other = torch.tensor([mean[1][0], mean[0][1]]).double()
    torch.testing.assert_close(found.negative, false_positives * other)


def test_rows_of_a_sigmoid_loss_do_not_sum_to_zero():
    logits, target = random_batch((50, 3), ignored=0)
    gradient = gradient_by_class(
        lambda x, y: F.binary_cross_entropy_with_logits(x, F.one_hot(y, 3).double()), logits, target
    )
    assert gradient.sum(dim=1).abs().min() > 1e-3


def test_both_gradients_are_the_whole_gradient_of_a_logit():
    logits, target = random_batch((2, 4, 30))
    found = class_gradients(gradient_by_class(summed(F.cross_entropy), logits, target, ignore_index=255))
    leaf = logits.clone().requires_grad_()
    summed(F.cross_entropy)(leaf, target).backward()
    torch.testing.assert_close(found.negative - found.positive, leaf.grad.sum(dim=(0, 2)))


def test_a_batch_of_ignored_labels_has_no_gradient():
    logits = torch.randn(2, 3, 4)
    target = torch.full((2, 4), 255)
    gradient = gradient_by_class(summed(recall_cross_entropy), logits, target, ignore_index=255)
    assert gradient.tolist() == [[0] * 3] * 3


def test_a_class_without_samples_has_a_negative_gradient_alone():
    logits, target = torch.zeros(4, 3), torch.tensor([0, 0, 1, 1])
    found = class_gradients(gradient_by_class(F.cross_entropy, logits, target))
    assert found.positive[2] == 0
    assert found.negative[2] == pytest.approx(1 / 3)


def test_the_logits_stay_as_they_are_also_where_no_gradient_is_asked_for():
    logits, target = random_batch((8, 3), dtype=torch.float16)
    scale = torch.ones((), dtype=torch.float16, requires_grad=True)
    given = logits * scale
    given.retain_grad()
    with torch.no_grad():
        gradient = gradient_by_class(summed(F.cross_entropy), given, target, ignore_index=255)
    assert given.grad is None
    assert scale.grad is None
    assert gradient.dtype == torch.float64
    exact = gradient_by_class(summed(F.cross_entropy), given.detach().double(), target, ignore_index=255)
    torch.testing.assert_close(gradient, exact, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ('arguments', 'error', 'message'),
    [
        ((F.cross_entropy, torch.zeros(2, 3), torch.rand(2, 3)), TypeError, 'soft labels'),
        ((F.cross_entropy, torch.zeros(2, 3), torch.tensor([0, 3])), ValueError, r'outside \[0, 3\)'),
        ((F.cross_entropy, torch.zeros(2, 3), torch.tensor([0, 1, 1])), ValueError, 'target of shape'),
        ((lambda x, y: x.sum(1), torch.zeros(2, 3), torch.tensor([0, 1])), ValueError, r'got shape \(2,\)'),
        ((lambda x, y: x.sum().item(), torch.zeros(2, 3), torch.tensor([0, 1])), ValueError, 'got float'),
        ((lambda x, y: x.sum().detach(), torch.zeros(2, 3), torch.tensor([0, 1])), ValueError, 'with a gradient'),
    ],
)
def test_what_has_no_gradient_by_class_is_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        gradient_by_class(*arguments)


def test_the_gradients_of_classes_need_a_square():
    with pytest.raises(ValueError, match=r'shape \(2, 3\)'):
        class_gradients(torch.zeros(2, 3))
    assert math.isclose(class_gradients(-torch.eye(2)).positive.sum(), 2)


def test_thousands_of_classes_are_summed_as_by_a_loop():
    logits, target = random_batch((6, 2000), ignored=0, seed=5)
    target[1], target[2] = target[0], 255
    gradient = gradient_by_class(summed(F.cross_entropy), logits, target, ignore_index=255)
    expected = torch.zeros(2000, 2000, dtype=torch.float64)
    for row, label in oracle.labelled(logits, target, 255):
        expected[label] += torch.tensor(oracle.probabilities(row)).double()
        expected[label, label] -= 1
    torch.testing.assert_close(gradient, expected, rtol=1e-6, atol=1e-9)
