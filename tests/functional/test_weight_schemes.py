import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mmrecall.functional import (
    effective_number_weights,
    enet_weights,
    inverse_frequency_weights,
    median_frequency_weights,
    tempered_weights,
)

COUNTS = st.lists(st.integers(1, 10**9), min_size=2, max_size=8)
SCHEMES = [inverse_frequency_weights, median_frequency_weights, effective_number_weights, enet_weights]


@given(counts=COUNTS)
def test_inverse_frequency_times_count_is_the_same_for_every_class(counts):
    weights = inverse_frequency_weights(torch.tensor(counts)).numpy()
    products = weights * counts
    np.testing.assert_allclose(products, products[0])
    assert weights.sum() == pytest.approx(len(counts))


@given(counts=COUNTS, factors=st.lists(st.integers(1, 1000), min_size=8, max_size=8))
def test_median_frequency_is_one_over_the_share_in_the_images_with_the_class(counts, factors):
    totals = np.array(counts) * np.array(factors[: len(counts)])
    products = median_frequency_weights(torch.tensor(counts), torch.tensor(totals)).numpy() * counts / totals
    np.testing.assert_allclose(products, products[0])


def test_median_frequency_equals_eigen_and_fergus_normalised():
    # their formula by hand: frequencies 0.9, 0.09, 0.2, of which the median is 0.2
    expected = np.array([0.2 / 0.9, 0.2 / 0.09, 1.0])
    weights = median_frequency_weights(torch.tensor([900, 90, 10]), torch.tensor([1000, 1000, 50]))
    np.testing.assert_allclose(weights, expected * 3 / expected.sum())


def test_median_frequency_without_image_totals_is_inverse_frequency():
    counts = torch.tensor([700, 20, 5, 1])
    torch.testing.assert_close(median_frequency_weights(counts), inverse_frequency_weights(counts))


@given(counts=st.lists(st.integers(1, 3000), min_size=2, max_size=8), beta=st.sampled_from([0.0, 0.9, 0.999, 0.9999]))
def test_effective_number_equals_the_sum_of_powers(counts, beta):
    # Cui et al., equation 2 in its proof: E_n = sum of beta^j for j < n
    expected = np.array([1 / np.sum(beta ** np.arange(n)) for n in counts])
    weights = effective_number_weights(torch.tensor(counts), beta)
    np.testing.assert_allclose(weights, expected * len(counts) / expected.sum(), rtol=1e-9)


def test_the_default_beta_is_n_minus_one_over_n():
    counts = torch.tensor([5000, 300, 20])
    torch.testing.assert_close(effective_number_weights(counts), effective_number_weights(counts, 5319 / 5320))


def test_beta_09999_on_pixel_counts_weighs_all_classes_alike():
    weights = effective_number_weights(torch.tensor([20_000_000, 4_000_000, 200_000]), 0.9999)
    np.testing.assert_allclose(weights, 1, atol=1e-7)


def test_the_default_beta_is_exact_for_a_billion_pixels():
    counts = [900_000_000, 99_999_000, 1000]
    exact = [-np.expm1(np.longdouble(n) * np.log1p(np.longdouble(-1) / sum(counts))) for n in counts]
    expected = np.array([1 / e for e in exact], dtype=np.float64)
    np.testing.assert_allclose(effective_number_weights(torch.tensor(counts)), 3 * expected / expected.sum())


@given(counts=COUNTS)
def test_inverse_frequency_is_proportional_to_balanced_weights_of_scikit_learn(counts):
    class_weight = pytest.importorskip('sklearn.utils.class_weight')
    classes = np.arange(len(counts))
    # a label a class, counted so often
    balanced = class_weight.compute_class_weight(
        'balanced', classes=classes, y=np.repeat(classes, np.minimum(counts, 1000))
    )
    weights = inverse_frequency_weights(torch.tensor(counts).clamp(max=1000))
    np.testing.assert_allclose(weights, balanced * len(counts) / balanced.sum())


@given(counts=COUNTS)
def test_enet_weights_equal_the_formula_by_a_loop(counts):
    total = sum(counts)
    expected = [1 / math.log(1.02 + count / total) for count in counts]
    weights = enet_weights(torch.tensor(counts))
    np.testing.assert_allclose(weights, [weight * len(counts) / sum(expected) for weight in expected])
    # its bounds, which the authors give as 1 and 50
    assert (weights.max() / weights.min()).item() < 50.5 / 1.42


@given(counts=COUNTS, power=st.floats(0, 1))
def test_tempered_inverse_frequency_equals_the_formula_by_a_loop(counts, power):
    expected = [(1 / count) ** power for count in counts]
    weights = tempered_weights(inverse_frequency_weights(torch.tensor(counts)), power)
    np.testing.assert_allclose(weights, [weight * len(counts) / sum(expected) for weight in expected])


@pytest.mark.parametrize('scheme', SCHEMES)
def test_power_one_is_the_scheme_and_power_zero_is_one_weight_for_all_classes_with_samples(scheme):
    weights = scheme(torch.tensor([700, 0, 90, 40]))
    assert torch.equal(tempered_weights(weights, 1.0), weights)
    torch.testing.assert_close(tempered_weights(weights, 0), torch.tensor([4 / 3, 0, 4 / 3, 4 / 3]).double())
    torch.testing.assert_close(tempered_weights(scheme(torch.tensor([70, 9, 4])), 0.0), torch.ones(3).double())


@pytest.mark.parametrize('scheme', SCHEMES)
@given(counts=COUNTS, powers=st.tuples(st.floats(0, 1), st.floats(0, 1)))
def test_the_larger_the_power_the_further_are_weights_from_one_another(scheme, counts, powers):
    weights = scheme(torch.tensor(counts))
    flat, steep = (tempered_weights(weights, power) for power in sorted(powers))
    for one in (flat, steep):
        assert one.sum() == pytest.approx(len(counts))
        # the order of the classes stays
        assert (one[weights.argsort()].diff() >= -1e-9).all()
    assert flat.max() / flat.min() <= steep.max() / steep.min() * (1 + 1e-9)
    assert flat.max() <= steep.max() + 1e-9
    assert flat.min() >= steep.min() - 1e-9


@pytest.mark.parametrize('scheme', SCHEMES)
@given(
    counts=st.lists(st.integers(0, 10**9), min_size=2, max_size=8).filter(any),
    power=st.floats(0, 1),
    bounds=st.tuples(st.floats(0, 3), st.floats(0.01, 3)).map(sorted),
)
def test_bounds_hold_for_every_class_and_change_no_weight_between_them(scheme, counts, power, bounds):
    weights = tempered_weights(scheme(torch.tensor(counts)), power)
    lowest, highest = bounds
    bounded = tempered_weights(scheme(torch.tensor(counts)), power, lowest, highest)
    assert bounded.tolist() == [min(max(weight, lowest), highest) for weight in weights.tolist()]
    assert tempered_weights(weights, max_weight=highest).max() <= highest
    # a class without samples gets the smallest weight
    assert tempered_weights(weights, min_weight=lowest).min() >= lowest


@pytest.mark.parametrize('scheme', SCHEMES)
def test_a_class_without_samples_weighs_nothing_and_the_sum_stays_c(scheme):
    weights = scheme(torch.tensor([90, 0, 10]))
    assert weights[1] == 0
    assert weights.sum() == pytest.approx(3)


@pytest.mark.parametrize('scheme', SCHEMES)
@pytest.mark.parametrize(
    ('counts', 'error', 'message'),
    [
        (torch.tensor([1, -2]), ValueError, 'at least 0'),
        (torch.tensor([0, 0]), ValueError, 'not all 0'),
        (torch.tensor([1.0, float('nan')]), ValueError, 'finite'),
        (torch.tensor([[1, 2]]), ValueError, 'one number per class'),
        ([1, 2], TypeError, 'expected a tensor'),
    ],
)
def test_bad_counts_are_named(scheme, counts, error, message):
    with pytest.raises(error, match=message):
        scheme(counts)


def test_bad_options_are_named():
    with pytest.raises(ValueError, match=r'beta=1.0'):
        effective_number_weights(torch.tensor([1, 2]), 1.0)
    with pytest.raises(ValueError, match='image_totals'):
        median_frequency_weights(torch.tensor([5, 2]), torch.tensor([4, 9]))
    with pytest.raises(ValueError, match='image_totals'):
        median_frequency_weights(torch.tensor([5, 2]), torch.tensor([9]))


@pytest.mark.parametrize(
    ('weights', 'options', 'error', 'message'),
    [
        ([1, 2], {}, TypeError, 'got weights of type list; expected a tensor'),
        (torch.tensor([0, 0]), {}, ValueError, r'got weights \[0, 0\].*not all 0'),
        (torch.tensor([1.0, math.inf]), {}, ValueError, r'got weights \[1.0, inf\].*finite'),
        (torch.ones(2, 2), {}, ValueError, r'got weights \[\[1.0.*one number per class'),
        (torch.ones(2), dict(power=1.5), ValueError, r'power=1.5; expected a number from 0 \(ones\) to 1'),
        (torch.ones(2), dict(power=-0.5), ValueError, 'power=-0.5'),
        (torch.ones(2), dict(power='0.5'), TypeError, "power='0.5'; expected a number"),
        (torch.ones(2), dict(min_weight=-1), ValueError, 'min_weight=-1; expected a number of at least 0'),
        (torch.ones(2), dict(max_weight=0), ValueError, 'max_weight=0; expected a number above 0'),
        (torch.ones(2), dict(min_weight=2, max_weight=1), ValueError, 'got min_weight=2 and max_weight=1; set min_w'),
    ],
)
def test_bad_weights_powers_and_bounds_are_named(weights, options, error, message):
    with pytest.raises(error, match=message):
        tempered_weights(weights, **options)


def test_shares_instead_of_counts_are_named():
    shares = torch.tensor([0.5, 0.3, 0.1])
    with pytest.raises(ValueError, match=r'add up to 0\.9.*expected numbers of samples'):
        effective_number_weights(shares)
    with pytest.raises(ValueError, match='add up to 1'):
        effective_number_weights(torch.tensor([0.7, 0.2, 0.1]))
    assert effective_number_weights(shares, beta=0.5).isfinite().all()
    torch.testing.assert_close(effective_number_weights(torch.tensor([1.0, 0.0])), torch.tensor([2.0, 0.0]).double())
