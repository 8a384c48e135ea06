import oracle
import pytest
import torch
import torch.nn.functional as F
from oracle import random_batch

from mmrecall.functional import (
    balanced_logit_variation_loss,
    balanced_softmax_loss,
    ldam_loss,
    ldam_margins,
    logit_adjusted_loss,
)

COUNTS = [500, 60, 7, 13]


@pytest.mark.parametrize('ignored', [0.0, 0.3])
@pytest.mark.parametrize(('max_margin', 'scale'), [(0.5, 1.0), (0.5, 30.0), (0.2, 3.0)])
def test_ldam_equals_equation_12_by_a_loop(max_margin, scale, ignored):
    logits, target = random_batch(ignored=ignored)
    expected = torch.tensor(oracle.ldam_losses(logits, target, COUNTS, max_margin, scale, 255), dtype=torch.float64)
    options = dict(class_counts=torch.tensor(COUNTS), max_margin=max_margin, scale=scale, ignore_index=255)
    losses = ldam_loss(logits, target, reduction='none', **options)
    torch.testing.assert_close(losses.flatten(), expected, rtol=1e-12, atol=1e-12)
    mean = ldam_loss(logits, target, **options)
    assert mean.item() == pytest.approx(expected.sum().item() / (target != 255).sum().item(), rel=1e-12)


@pytest.mark.parametrize('ignored', [0.0, 0.3])
def test_ldam_without_margin_at_scale_one_is_cross_entropy(ignored):
    logits, target = random_batch(ignored=ignored)
    ours = ldam_loss(logits, target, torch.tensor(COUNTS), max_margin=0, scale=1, ignore_index=255)
    torch.testing.assert_close(ours, F.cross_entropy(logits, target, ignore_index=255), rtol=1e-14, atol=0)


def test_the_rarest_class_has_the_largest_margin_and_a_sixteenth_of_it_half():
    assert ldam_margins(torch.tensor([1600, 100, 0]), 0.4).tolist() == pytest.approx([0.2, 0.4, 0.4])


def test_ldam_weights_are_those_of_the_weighted_mean():
    logits, target = random_batch(ignored=0)
    weight = torch.tensor([0.1, 1.0, 2.0, 3.0], dtype=torch.float64)
    losses = ldam_loss(logits, target, torch.tensor(COUNTS), reduction='none')
    expected = (losses * weight[target]).sum() / weight[target].sum()
    ours = ldam_loss(logits, target, torch.tensor(COUNTS), class_weight=weight)
    torch.testing.assert_close(ours, expected)


@pytest.mark.parametrize('ignored', [0.0, 0.3])
@pytest.mark.parametrize('tau', [0.0, 0.5, 1.0, 2.0])
def test_logit_adjustment_equals_menon_by_a_loop(tau, ignored):
    logits, target = random_batch(ignored=ignored)
    expected = torch.tensor(oracle.balanced_losses(logits, target, COUNTS, tau, 255), dtype=torch.float64)
    losses = logit_adjusted_loss(logits, target, torch.tensor(COUNTS), tau, ignore_index=255, reduction='none')
    torch.testing.assert_close(losses.flatten(), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize('ignored', [0.0, 0.3])
def test_tau_zero_is_cross_entropy(ignored):
    logits, target = random_batch(ignored=ignored)
    ours = logit_adjusted_loss(logits, target, torch.tensor([5, 0, 1, 2]), 0.0, ignore_index=255)
    torch.testing.assert_close(ours, F.cross_entropy(logits, target, ignore_index=255), rtol=1e-14, atol=0)


@pytest.mark.parametrize('ignored', [0.0, 0.3])
def test_balanced_softmax_is_logit_adjustment_with_tau_one(ignored):
    logits, target = random_batch(ignored=ignored)
    ours = balanced_softmax_loss(logits, target, torch.tensor(COUNTS), ignore_index=255)
    expected = sum(oracle.balanced_losses(logits, target, COUNTS, 1, 255)) / (target != 255).sum().item()
    assert ours.item() == pytest.approx(expected)


def test_a_class_without_samples_gets_no_probability():
    logits = torch.randn(5, 3, requires_grad=True)
    target = torch.tensor([0, 1, 1, 0, 1])
    loss = balanced_softmax_loss(logits, target, torch.tensor([3, 4, 0]))
    loss.backward()
    weighted = logits.detach()[:, :2] + torch.tensor([3.0, 4.0]).log()
    torch.testing.assert_close(loss.detach(), F.cross_entropy(weighted, target))
    assert logits.grad[:, 2].tolist() == [0] * 5


@pytest.mark.parametrize(
    ('function', 'options', 'message'),
    [
        (ldam_loss, dict(max_margin=-1), 'max_margin=-1'),
        (ldam_loss, dict(scale=0), 'scale=0'),
        (logit_adjusted_loss, dict(tau=-1), 'tau=-1'),
        (ldam_loss, dict(class_counts=torch.tensor([1, 2])), '2 class counts'),
        (balanced_softmax_loss, dict(class_counts=torch.tensor([1, 2])), '2 class counts'),
        (balanced_softmax_loss, dict(class_counts=torch.tensor([0, 0, 0])), 'not all 0'),
        (balanced_logit_variation_loss, dict(sigma=-1), 'sigma=-1'),
        (balanced_logit_variation_loss, dict(class_counts=torch.tensor([1, 2])), '2 class counts'),
        (balanced_logit_variation_loss, dict(class_counts=torch.tensor([0, 0, 0])), 'not all 0'),
    ],
)
def test_bad_options_are_named(function, options, message):
    with pytest.raises(ValueError, match=message):
        function(torch.zeros(2, 3), torch.tensor([0, 1]), **{'class_counts': torch.tensor([1, 2, 3]), **options})


def test_ldam_of_soft_labels_is_refused():
    with pytest.raises(TypeError, match='class indices'):
        ldam_loss(torch.zeros(2, 3), torch.ones(2, 3), torch.tensor([1, 2, 3]))


@pytest.mark.parametrize(
    'function', [ldam_loss, logit_adjusted_loss, balanced_softmax_loss, balanced_logit_variation_loss]
)
@pytest.mark.parametrize(
    ('logits', 'target', 'error', 'message'),
    [
        (torch.zeros(2, 3).long(), torch.tensor([0, 1]), TypeError, 'expected floating point'),
        (torch.zeros(2, 3), torch.tensor([0, 1, 2]), ValueError, r'target of shape \(3,\)'),
        ([[0.0, 1.0, 2.0]], torch.tensor([0]), TypeError, 'got logits of type .*; expected a tensor'),
        (torch.zeros(2, 3), torch.tensor([0, 7]), ValueError, '7'),
    ],
)
def test_bad_input_is_named(function, logits, target, error, message):
    with pytest.raises(error, match=message):
        function(logits, target, torch.tensor([1, 2, 3]))
