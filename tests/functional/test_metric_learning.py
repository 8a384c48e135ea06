import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mmrecall.functional import lifted_structure_loss, range_loss

SEEDS, SIZES, CLASSES, CHANNELS = st.integers(0, 10**6), st.integers(0, 12), st.integers(1, 12), st.integers(1, 4)


def batch(seed, size, classes, channels, on_a_grid=False):
    """Features in float64, with equal ones and equal distances on a grid, and labels with gaps."""
    generator = torch.Generator().manual_seed(seed)
    features = 2 * torch.randn(size, channels, generator=generator, dtype=torch.float64)
    features = features.round() if on_a_grid else features
    return features.requires_grad_(), 7 * torch.randint(classes, (size,), generator=generator) - 3


def squared(x, y):
    return ((x - y) ** 2).sum()


def pairs_of(vectors):
    return list(itertools.combinations(vectors, 2))


def members(features, labels):
    return [features[labels == label] for label in sorted(set(labels.tolist()))]


def range_loop(features, labels, k, margin, alpha, beta):
    """The equations of Zhang et al., class by class and pair by pair."""
    loss = 0 * features.sum()
    for own in members(features, labels):
        largest = sorted((squared(*pair) for pair in pairs_of(own)), key=lambda one: -one.item())[:k]
        if largest and all(one.item() > 0 for one in largest):
            loss = loss + alpha * len(largest) / sum(1 / one for one in largest)
    between = [squared(*pair) for pair in pairs_of([own.mean(0) for own in members(features, labels)])]
    if between:
        loss = loss + beta * (margin - min(between, key=lambda one: one.item())).clamp(min=0)
    return loss


def lifted_loop(features, labels, margin):
    """Equation 4 of Oh Song et al., pair by pair."""
    total, number = 0 * features.sum(), 0
    for i, j in itertools.combinations(range(len(labels)), 2):
        others = [n for n in range(len(labels)) if labels[n] != labels[i]]
        if labels[i] != labels[j]:
            continue
        number += 1
        if others:
            terms = sum((margin - squared(features[end], features[k]).sqrt()).exp() for end in (i, j) for k in others)
            total = total + (terms.log() + squared(features[i], features[j]).sqrt()).clamp(min=0) ** 2
    return total / (2 * max(number, 1))


def gradient(loss, features):
    return torch.autograd.grad(loss, features)[0]


@given(SEEDS, SIZES, CLASSES, CHANNELS, st.integers(1, 4), st.sampled_from([0.0, 1.0, 20.0]))
def test_the_range_loss_and_its_gradient_are_those_of_a_loop(seed, size, classes, channels, k, margin):
    features, labels = batch(seed, size, classes, channels)
    found = range_loss(features, labels, k=k, margin=margin, alpha=0.3, beta=0.6)
    expected = range_loop(features, labels, k, margin, 0.3, 0.6)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(gradient(found, features), gradient(expected, features))


@given(SEEDS, SIZES, CLASSES, CHANNELS, st.integers(1, 4))
def test_the_range_loss_is_that_of_a_loop_with_ties_and_equal_features(seed, size, classes, channels, k):
    features, labels = batch(seed, size, classes, channels, on_a_grid=True)
    found = range_loss(features, labels, k=k, margin=5.0)
    torch.testing.assert_close(found, range_loop(features, labels, k, 5.0, 1.0, 1.0))
    assert gradient(found, features).isfinite().all()


@given(SEEDS, SIZES, CLASSES, CHANNELS, st.sampled_from([0.0, 1.0, 5.0]))
def test_the_lifted_loss_and_its_gradient_are_those_of_a_loop(seed, size, classes, channels, margin):
    features, labels = batch(seed, size, classes, channels)
    found = lifted_structure_loss(features, labels, margin=margin)
    expected = lifted_loop(features, labels, margin)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(gradient(found, features), gradient(expected, features))


@given(SEEDS, SIZES, CLASSES, CHANNELS)
def test_the_lifted_loss_is_that_of_a_loop_with_equal_features(seed, size, classes, channels):
    features, labels = batch(seed, size, classes, channels, on_a_grid=True)
    found = lifted_structure_loss(features, labels)
    torch.testing.assert_close(found, lifted_loop(features, labels, 1.0))
    assert gradient(found, features).isfinite().all()


@given(SEEDS, st.integers(1, 12), CLASSES, CHANNELS, st.sampled_from([0.0, 1.0, 5.0]))
def test_the_lifted_loss_is_that_of_pytorch_metric_learning(seed, size, classes, channels, margin):
    losses = pytest.importorskip('pytorch_metric_learning.losses')
    distances = pytest.importorskip('pytorch_metric_learning.distances')
    euclidean = distances.LpDistance(normalize_embeddings=False)
    oracle = losses.LiftedStructureLoss(neg_margin=margin, pos_margin=0, distance=euclidean)
    features, labels = batch(seed, size, classes, channels)
    found, expected = lifted_structure_loss(features, labels, margin=margin), oracle(features, labels)
    torch.testing.assert_close(found, expected, check_dtype=False)
    torch.testing.assert_close(gradient(found, features), gradient(expected, features))


@pytest.mark.parametrize('loss', [range_loss, lifted_structure_loss])
@pytest.mark.parametrize('labels', [[0, 1, 0, 2, 1, 0], [0, 0, 0, 0, 0, 0], [0, 1, 2, 3, 4, 5]])
def test_gradients_are_the_slopes(loss, labels):
    features = torch.randn(6, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: loss(x, torch.tensor(labels), margin=9.0), features)


@pytest.mark.parametrize('loss', [range_loss, lifted_structure_loss])
@pytest.mark.parametrize('labels', [[], [3], [3, 3, 3, 3], [3, 5, 7, 9], [3, 3, 5, 5]])
def test_equal_features_have_a_finite_loss_and_no_gradient(loss, labels):
    features = torch.ones(len(labels), 2, requires_grad=True)
    value = loss(features, torch.tensor(labels, dtype=torch.long))
    assert value.isfinite()
    assert torch.equal(gradient(value, features), torch.zeros_like(features))


@pytest.mark.filterwarnings('ignore:Anomaly Detection')
@pytest.mark.parametrize('loss', [range_loss, lifted_structure_loss])
@pytest.mark.parametrize('labels', [[3, 3, 3, 3], [3, 5, 7, 9], [3, 3, 3, 5]])
def test_anomaly_detection_finds_nothing(loss, labels):
    features = torch.randn(4, 2, requires_grad=True)
    with torch.autograd.detect_anomaly(check_nan=True):
        loss(features, torch.tensor(labels)).backward()


def test_distances_near_zero_and_far_away_have_finite_gradients():
    for scale in (1e-30, 1e-15, 1e-3, 1e3, 1e15):
        features = (scale * torch.randn(8, 3)).requires_grad_()
        value = range_loss(features, torch.tensor([0, 0, 0, 0, 1, 1, 2, 3]))
        assert value.isfinite()
        assert gradient(value, features).isfinite().all(), scale


@pytest.mark.parametrize('loss', [range_loss, lifted_structure_loss])
def test_features_that_differ_little_far_from_zero_keep_their_distances(loss):
    features = torch.tensor([[0.0, 0.0], [0.5, 0.0], [0.0, 0.25], [1.0, 1.0]])
    labels = torch.tensor([0, 0, 1, 1])
    torch.testing.assert_close(loss(4096 + features, labels), loss(features, labels))


@pytest.mark.parametrize('loss', [range_loss, lifted_structure_loss])
@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_half_precision_features_are_computed_in_float32_also_under_autocast(loss, dtype):
    features, labels = torch.randn(12, 5).to(dtype), torch.randint(4, (12,))
    with torch.autocast('cpu', torch.bfloat16):
        found = loss(features, labels)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, loss(features.float(), labels), rtol=0, atol=0)


@pytest.mark.parametrize('loss', [range_loss, lifted_structure_loss])
def test_features_that_are_not_numbers_have_no_loss(loss):
    features = torch.randn(4, 2)
    features[1, 0] = math.nan
    assert loss(features, torch.tensor([0, 0, 1, 1])).isnan()


def test_the_margin_of_lius_code_is_an_option():
    features = torch.tensor([[0.0], [1.0], [3.0]])
    expected = (math.log(math.exp(5 - 3) + math.exp(5 - 2)) + 1) ** 2 / 2
    assert lifted_structure_loss(features, torch.tensor([5, 5, 8]), margin=5.0).item() == pytest.approx(expected)


@pytest.mark.parametrize('loss', [range_loss, lifted_structure_loss])
@pytest.mark.parametrize(
    ('features', 'labels', 'error', 'message'),
    [
        (torch.zeros(2, 3), torch.zeros(3, dtype=torch.long), ValueError, r'\(2, 3\) and labels of shape \(3,\)'),
        (torch.zeros(2, 3, 1), torch.zeros(2, dtype=torch.long), ValueError, r'\(2, 3, 1\)'),
        (torch.zeros(2, 3), torch.zeros(2, 3), TypeError, 'class indices'),
        (torch.zeros(2, 3), torch.zeros(2, dtype=torch.bool), TypeError, 'bool'),
        (torch.zeros(2, 3, dtype=torch.long), torch.zeros(2, dtype=torch.long), TypeError, 'floating point'),
        ([[0.0]], torch.zeros(1, dtype=torch.long), TypeError, 'got features of type list; expected a tensor'),
    ],
)
def test_what_is_no_batch_of_features_is_refused(loss, features, labels, error, message):
    with pytest.raises(error, match=message):
        loss(features, labels)


@pytest.mark.parametrize(
    ('options', 'error', 'message'),
    [
        (dict(k=0), ValueError, 'k=0'),
        (dict(k=1.5), TypeError, 'k=1.5'),
        (dict(margin=-1.0), ValueError, 'margin=-1'),
        (dict(alpha=math.nan), ValueError, 'alpha=nan'),
        (dict(beta='1'), TypeError, "beta='1'"),
    ],
)
def test_options_that_the_range_loss_cannot_take_are_named(options, error, message):
    with pytest.raises(error, match=message):
        range_loss(torch.zeros(2, 3), torch.zeros(2, dtype=torch.long), **options)


def test_a_negative_margin_of_the_lifted_loss_is_named():
    with pytest.raises(ValueError, match='margin=-1'):
        lifted_structure_loss(torch.zeros(2, 3), torch.zeros(2, dtype=torch.long), margin=-1)
