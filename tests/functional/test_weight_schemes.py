import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mmrecall.functional import effective_number_weights, inverse_frequency_weights, median_frequency_weights

COUNTS = st.lists(st.integers(1, 10**9), min_size=2, max_size=8)
SCHEMES = [inverse_frequency_weights, median_frequency_weights, effective_number_weights]


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
        ([1, 2], TypeError, 'must be a tensor'),
    ],
)
def test_bad_counts_are_named(scheme, counts, error, message):
    with pytest.raises(error, match=message):
        scheme(counts)


def test_bad_options_are_named():
    with pytest.raises(ValueError, match=r'beta is 1.0'):
        effective_number_weights(torch.tensor([1, 2]), 1.0)
    with pytest.raises(ValueError, match='image_totals'):
        median_frequency_weights(torch.tensor([5, 2]), torch.tensor([4, 9]))
    with pytest.raises(ValueError, match='image_totals'):
        median_frequency_weights(torch.tensor([5, 2]), torch.tensor([9]))


def test_shares_instead_of_counts_are_named():
    shares = torch.tensor([0.5, 0.3, 0.1])
    with pytest.raises(ValueError, match=r'add up to 0\.9.*expected numbers of samples'):
        effective_number_weights(shares)
    with pytest.raises(ValueError, match='add up to 1'):
        effective_number_weights(torch.tensor([0.7, 0.2, 0.1]))
    assert effective_number_weights(shares, beta=0.5).isfinite().all()
    torch.testing.assert_close(effective_number_weights(torch.tensor([1.0, 0.0])), torch.tensor([2.0, 0.0]).double())
