import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from mmrecall.functional import tau_normalize

WEIGHTS = arrays.arrays(np.float64, (4, 3), elements=st.floats(-1e3, 1e3))


@given(WEIGHTS, st.floats(0, 2))
def test_rows_are_those_of_a_loop(weight, tau):
    found = tau_normalize(torch.from_numpy(weight), tau)
    for row, normalized in zip(weight, found.numpy(), strict=True):
        length = sum(value**2 for value in row) ** 0.5
        expected = row / length**tau if length > 0 else row
        np.testing.assert_allclose(normalized, expected, rtol=1e-9, atol=1e-300)


def test_tau_0_changes_nothing_and_tau_1_gives_rows_of_unit_length():
    weight = torch.randn(5, 7)
    assert torch.equal(tau_normalize(weight, 0.0), weight)
    torch.testing.assert_close(tau_normalize(weight, 1.0).norm(dim=1), torch.ones(5))


def test_a_row_of_zeros_stays_one():
    assert torch.equal(tau_normalize(torch.zeros(2, 3), 1.0), torch.zeros(2, 3))


def test_the_lengths_of_half_precision_rows_do_not_overflow():
    weight = torch.full((1, 4), 200.0, dtype=torch.float16)
    assert torch.equal(tau_normalize(weight, 1.0), torch.full((1, 4), 0.5, dtype=torch.float16))


@pytest.mark.parametrize('tau', [-0.1, float('nan'), float('inf')])
def test_a_tau_that_is_none_is_refused(tau):
    with pytest.raises(ValueError, match='got tau='):
        tau_normalize(torch.ones(2, 2), tau)


def test_another_shape_is_named():
    with pytest.raises(ValueError, match=r'\(2, 3, 1, 1\)'):
        tau_normalize(torch.ones(2, 3, 1, 1), 1.0)
