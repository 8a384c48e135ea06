"""Balanced logit variation against loops over the formula of Wang et al. (CVPR 2023), and its noise against scipy."""

import oracle
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from oracle import random_batch
from scipy.integrate import quad
from scipy.stats import norm

from mmrecall.functional import balanced_logit_variation_loss, logit_variation_scales
from mmrecall.functional.batch import Batch
from mmrecall.functional.long_tail import with_variation

COUNTS = [500, 60, 7, 13]


def generator(seed=3):
    return torch.Generator().manual_seed(seed)


def noise(shape, sigma, counts, seed=3, dtype=torch.float32):
    """Return the noise that is added to the logits."""
    batch = Batch(torch.zeros(shape, dtype=dtype), torch.zeros(shape[0], *shape[2:], dtype=torch.long))
    return with_variation(batch, logit_variation_scales(torch.tensor(counts)), sigma, generator(seed)).logits


@pytest.mark.parametrize('ignored', [0.0, 0.3])
@pytest.mark.parametrize('sigma', [0.2, 1.0, 4.0])
def test_it_equals_the_formula_by_a_loop_with_the_same_noise(sigma, ignored):
    logits, target = random_batch(ignored=ignored)
    draws = sigma * torch.randn(logits.shape, dtype=torch.float64, generator=generator())
    losses = oracle.logit_variation_losses(logits, target, COUNTS, draws, 255)
    expected = torch.tensor(losses, dtype=torch.float64)
    call = logits, target, torch.tensor(COUNTS), sigma
    found = balanced_logit_variation_loss(*call, ignore_index=255, reduction='none', generator=generator())
    torch.testing.assert_close(found.flatten(), expected, rtol=1e-12, atol=1e-12)
    mean = balanced_logit_variation_loss(*call, ignore_index=255, generator=generator())
    assert mean.item() == pytest.approx(expected.sum().item() / (target != 255).sum().item(), rel=1e-12)


@pytest.mark.parametrize('ignored', [0.0, 0.3])
def test_sigma_zero_is_cross_entropy(ignored):
    logits, target = random_batch(ignored=ignored)
    ours = balanced_logit_variation_loss(logits, target, torch.tensor([5, 0, 1, 2]), 0.0, ignore_index=255)
    torch.testing.assert_close(ours, F.cross_entropy(logits, target, ignore_index=255), rtol=1e-14, atol=0)


@pytest.mark.parametrize('sigma', [0.5, 4.0])
def test_the_mean_of_the_noise_and_its_clamped_share_are_those_of_scipy(sigma):
    found = noise((100_000, 4), sigma, COUNTS).double()
    scales = logit_variation_scales(torch.tensor(COUNTS))
    # the mean of min(|delta|, 1) is the integral of P(|delta| > t) over t from 0 to 1
    expected = quad(lambda t: 2 * norm.sf(t / sigma), 0, 1)[0]
    errors = (found.mean(0) / scales - expected) / (found.std(0) / scales / found.shape[0] ** 0.5)
    assert errors.abs().max() < 4
    clamped = (found == found.amax(0)).double().mean().item()
    share = 2 * norm.sf(1 / sigma)
    assert clamped == pytest.approx(share, abs=4 * (share * (1 - share) / found.numel()) ** 0.5)


def test_at_sigma_four_four_of_five_draws_are_clamped():
    assert 2 * norm.sf(1 / 4) == pytest.approx(0.8, abs=0.005)


@given(st.lists(st.integers(0, 10**9), min_size=2, max_size=9).filter(any))
def test_the_rarer_a_class_the_larger_its_noise_and_one_is_the_largest(counts):
    scales = logit_variation_scales(torch.tensor(counts))
    assert bool(((scales >= 0) & (scales <= 1)).all())
    seen = [count for count in counts if count]
    # of a single class with samples the noise is 0
    assert scales[torch.tensor(counts) == min(seen)].min().item() == (1.0 if len(seen) > 1 else 0.0)
    ordered = scales[torch.tensor(counts).argsort(descending=True)]
    assert bool((ordered.diff() >= -1e-12).all())


@given(st.lists(st.integers(1, 10**6), min_size=2, max_size=9), st.floats(1e-6, 1e6))
def test_shares_and_counts_give_the_same_noise(counts, factor):
    counts = torch.tensor(counts, dtype=torch.float64)
    torch.testing.assert_close(logit_variation_scales(counts), logit_variation_scales(factor * counts))


def test_a_class_without_samples_has_the_noise_of_the_rarest():
    scales = logit_variation_scales(torch.tensor([90, 0, 10]))
    assert scales[1:].tolist() == [1.0, 1.0]
    torch.testing.assert_close(scales[[0, 2]], logit_variation_scales(torch.tensor([90, 10])))
    logits, target = random_batch((6, 3), 0)
    loss = balanced_logit_variation_loss(logits.requires_grad_(), target, torch.tensor([90, 0, 10]))
    loss.backward()
    assert loss.isfinite()
    assert logits.grad.isfinite().all()


def test_every_logit_of_every_sample_has_its_own_draw():
    found = noise((2, 4, 5, 3), 1e-3, COUNTS, dtype=torch.float64)
    assert found.unique().numel() == found.numel()


def test_the_generator_alone_decides():
    logits, target = random_batch(ignored=0)
    before = torch.get_rng_state()
    one, same, other = (
        balanced_logit_variation_loss(logits, target, torch.tensor(COUNTS), generator=generator(seed))
        for seed in (3, 3, 4)
    )
    assert torch.equal(one, same)
    assert one != other
    assert torch.equal(torch.get_rng_state(), before)


def test_the_logits_stay_as_they_are():
    logits, target = random_batch(ignored=0)
    before = logits.clone()
    balanced_logit_variation_loss(logits, target, torch.tensor(COUNTS))
    assert torch.equal(logits, before)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_the_noise_of_half_logits_is_that_of_float32(dtype):
    logits, target = random_batch(ignored=0.2, dtype=dtype)
    found, expected = (
        balanced_logit_variation_loss(
            scores, target, torch.tensor(COUNTS), 1.0, ignore_index=255, generator=generator()
        )
        for scores in (logits, logits.float())
    )
    assert found.dtype == torch.float32
    assert torch.equal(found, expected)


def test_the_gradient_is_that_of_the_noisy_logits():
    logits, target = random_batch((2, 4, 5), seed=2)

    def loss(scores):
        return balanced_logit_variation_loss(
            scores, target, torch.tensor(COUNTS), ignore_index=255, generator=generator()
        )

    assert torch.autograd.gradcheck(loss, logits.requires_grad_())
    torch.testing.assert_close(torch.func.grad(loss)(logits.detach()), torch.autograd.grad(loss(logits), logits)[0])


def test_low_resolution_logits_have_the_noise_of_every_pixel_of_the_labels():
    logits, (_, target) = torch.randn(2, 4, 3, 4, dtype=torch.float64), random_batch((2, 4, 9, 14))
    call = dict(class_counts=torch.tensor(COUNTS), ignore_index=255)
    found = balanced_logit_variation_loss(logits, target, **call, upsample='bilinear', generator=generator())
    large = F.interpolate(logits, (9, 14), mode='bilinear', align_corners=False)
    torch.testing.assert_close(found, balanced_logit_variation_loss(large, target, **call, generator=generator()))
