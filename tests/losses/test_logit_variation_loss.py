"""Noise of balanced logit variation in training and outside of it, on one rank and on two."""

import pytest
import torch
import torch.nn.functional as F
from oracle import random_batch

from mmrecall.functional import balanced_logit_variation_loss, logit_variation_scales
from mmrecall.functional.batch import Batch
from mmrecall.functional.long_tail import with_variation
from mmrecall.losses import BalancedLogitVariationLoss

COUNTS = [700, 90, 40, 5]


def test_a_training_step_is_the_function_with_the_random_state_of_pytorch():
    logits, target = random_batch()
    torch.manual_seed(7)
    found = BalancedLogitVariationLoss(COUNTS)(logits, target, ignore_index=255)
    generator = torch.Generator().manual_seed(7)
    expected = balanced_logit_variation_loss(
        logits, target, torch.tensor(COUNTS), ignore_index=255, generator=generator
    )
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=0)


def test_every_step_draws_anew():
    logits, target = random_batch()
    loss = BalancedLogitVariationLoss(COUNTS, ignore_index=255)
    assert loss(logits, target) != loss(logits, target)


@pytest.mark.parametrize('how', ['in eval mode', 'without gradients'])
def test_outside_training_it_is_cross_entropy_and_draws_nothing(how):
    logits, target = random_batch()
    loss = BalancedLogitVariationLoss(COUNTS, ignore_index=255).train(how == 'without gradients')
    before = torch.get_rng_state()
    with torch.set_grad_enabled(how == 'in eval mode'):
        found = loss(logits, target)
    torch.testing.assert_close(found, F.cross_entropy(logits, target, ignore_index=255), rtol=1e-14, atol=0)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_search_for_classes_that_are_not_finite_draws_nothing():
    logits, target = random_batch((6, 4), 0)
    before = torch.get_rng_state()
    assert not BalancedLogitVariationLoss(COUNTS).nonfinite_classes(logits, target).any()
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize('training', [True, False])
def test_counts_that_are_not_known_yet_are_refused(training):
    loss = BalancedLogitVariationLoss('auto', num_classes=4).train(training)
    with pytest.raises(ValueError, match='has not been counted yet'):
        loss(*random_batch((6, 4), 0))


def part(rank):
    return random_batch((2 + rank, 4, 5, 3), seed=rank)


def rank_trains(rank, world_size):
    logits, target = part(rank)
    torch.manual_seed(rank)
    loss = BalancedLogitVariationLoss(COUNTS, ignore_index=255)(logits.requires_grad_(), target)
    loss.backward()
    return loss.item(), logits.grad.flatten().tolist()


def test_each_rank_draws_the_noise_of_its_own_samples_and_the_mean_is_that_of_all(two_ranks):
    noisy, labels = [], []
    for rank in range(2):
        logits, target = part(rank)
        torch.manual_seed(rank)
        batch = with_variation(Batch(logits, target), logit_variation_scales(torch.tensor(COUNTS)), 4.0)
        noisy.append(batch.logits.requires_grad_())
        labels.append(target)
    expected = F.cross_entropy(torch.cat(noisy), torch.cat(labels), ignore_index=255)
    expected.backward()
    answers = two_ranks.run(rank_trains)
    assert sum(value for value, _ in answers) / 2 == pytest.approx(expected.item())
    for (_, gradient), leaf in zip(answers, noisy, strict=True):
        # DistributedDataParallel averages over the ranks
        assert [number / 2 for number in gradient] == pytest.approx(leaf.grad.flatten().tolist())
