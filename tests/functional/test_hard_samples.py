import oracle
import pytest
import torch
import torch.nn.functional as F
from oracle import random_batch

from mmrecall.functional import softmax_focal_loss, top_k_cross_entropy


@pytest.mark.parametrize('gamma', [0.0, 0.5, 1.0, 2.0])
@pytest.mark.parametrize('ignored', [0.0, 0.3])
def test_focal_loss_equals_a_loop_over_the_formula(gamma, ignored):
    logits, target = random_batch((3, 4, 5, 2), ignored)
    expected = torch.tensor(oracle.focal_losses(logits, target, gamma, 255), dtype=torch.float64).reshape(target.shape)
    options = dict(ignore_index=255, gamma=gamma)
    torch.testing.assert_close(
        softmax_focal_loss(logits, target, reduction='none', **options), expected, rtol=1e-12, atol=1e-12
    )
    total = expected.sum().item()
    assert softmax_focal_loss(logits, target, reduction='sum', **options).item() == pytest.approx(total, rel=1e-12)
    valid = (target != 255).sum().item()
    assert softmax_focal_loss(logits, target, **options).item() == pytest.approx(total / valid, rel=1e-12)
    everything = softmax_focal_loss(logits, target, normalizer='all', **options).item()
    assert everything == pytest.approx(total / target.numel(), rel=1e-12)


@pytest.mark.parametrize('gamma', [1.0, 2.0])
def test_focal_loss_of_two_classes_is_torchvisions_sigmoid_form(gamma):
    sigmoid_focal_loss = pytest.importorskip('torchvision.ops').sigmoid_focal_loss
    logits, target = random_batch((6, 2, 7), ignored=0)
    expected = sigmoid_focal_loss(logits[:, 1] - logits[:, 0], target.double(), alpha=-1, gamma=gamma, reduction='mean')
    torch.testing.assert_close(softmax_focal_loss(logits, target, gamma), expected)


@pytest.mark.parametrize('ignored', [0.0, 0.3])
def test_focal_loss_with_gamma_zero_is_cross_entropy(ignored):
    logits, target = random_batch(ignored=ignored)
    ours = softmax_focal_loss(logits, target, 0.0, ignore_index=255)
    torch.testing.assert_close(ours, F.cross_entropy(logits, target, ignore_index=255), rtol=1e-14, atol=0)


def test_focal_loss_of_one_hot_soft_labels_is_that_of_integer_labels():
    logits, target = random_batch((4, 3, 5), 0.3)
    soft = F.one_hot(target.where(target != 255, 3), 4)[..., :3].movedim(-1, 1).double()
    for reduction in ('mean', 'none'):
        torch.testing.assert_close(
            softmax_focal_loss(logits, soft, reduction=reduction),
            softmax_focal_loss(logits, target, ignore_index=255, reduction=reduction),
        )


@pytest.mark.parametrize('gamma', [0.0, 0.5, 1.0, 2.0])
def test_focal_gradients_stay_finite_where_p_is_one_or_zero(gamma):
    logits = torch.tensor([[1e4, -1e4], [1e4, -1e4], [0.0, 0.0]], requires_grad=True)
    loss = softmax_focal_loss(logits, torch.tensor([0, 1, 0]), gamma)
    loss.backward()
    assert loss.isfinite()
    assert logits.grad.isfinite().all()
    assert logits.grad[0].tolist() == [0, 0]


@pytest.mark.parametrize('ignored', [0.0, 0.3])
@pytest.mark.parametrize('keep_ratio', [0.1, 0.29, 0.7, 1.0])
def test_top_k_equals_a_sorted_list(keep_ratio, ignored):
    logits, target = random_batch((5, 4, 5, 4), ignored)
    expected = oracle.hardest(logits, target, keep_ratio, 255)
    options = dict(keep_ratio=keep_ratio, ignore_index=255)
    losses = top_k_cross_entropy(logits, target, reduction='none', **options)
    assert sorted(losses[losses > 0].tolist(), reverse=True) == pytest.approx(expected, rel=1e-12)
    assert top_k_cross_entropy(logits, target, **options).item() == pytest.approx(
        sum(expected) / len(expected), rel=1e-12
    )
    assert top_k_cross_entropy(logits, target, reduction='sum', **options).item() == pytest.approx(
        sum(expected), rel=1e-12
    )


@pytest.mark.parametrize('ignored', [0.0, 0.3])
def test_top_k_equals_torch_topk(ignored):
    logits, target = random_batch(ignored=ignored, shape=(5, 4, 6))
    losses = F.cross_entropy(logits, target, ignore_index=255, reduction='none')[target != 255]
    expected = losses.topk(int(0.7 * len(losses))).values.mean()
    torch.testing.assert_close(top_k_cross_entropy(logits, target, ignore_index=255), expected)


@pytest.mark.parametrize('ignored', [0.0, 0.3])
def test_keep_ratio_one_is_cross_entropy(ignored):
    logits, target = random_batch(ignored=ignored)
    ours = top_k_cross_entropy(logits, target, 1.0, ignore_index=255)
    torch.testing.assert_close(ours, F.cross_entropy(logits, target, ignore_index=255), rtol=1e-14, atol=0)


def test_twenty_nine_percent_of_a_hundred_are_twenty_nine():
    logits, target = random_batch((100, 3), 0)
    assert (top_k_cross_entropy(logits, target, 0.29, reduction='none') > 0).sum() == 29


def test_ties_keep_exactly_k():
    losses = top_k_cross_entropy(torch.zeros(10, 3), torch.zeros(10).long(), 0.5, reduction='none')
    assert (losses > 0).sum() == 5


def test_sample_weights_scale_what_is_kept_and_do_not_choose():
    logits, target = random_batch((5, 4, 6), 0)
    weight = torch.rand(target.shape, dtype=torch.float64)
    plain = top_k_cross_entropy(logits, target, reduction='none')
    torch.testing.assert_close(
        top_k_cross_entropy(logits, target, reduction='none', sample_weight=weight), plain * weight
    )


def test_soft_labels_and_a_score_of_minus_infinity_give_a_finite_gradient():
    logits = torch.tensor([[1.0, 0.0, float('-inf')]], requires_grad=True)
    softmax_focal_loss(logits, torch.tensor([[0.5, 0.5, 0.0]]), 2.0).backward()
    assert logits.grad.isfinite().all()


@pytest.mark.parametrize('weight', [None, torch.ones(3)])
def test_nan_in_a_valid_sample_reaches_the_loss(weight):
    logits = torch.randn(3, 4)
    logits[1, 2] = float('nan')
    target = torch.tensor([0, 1, 2])
    assert softmax_focal_loss(logits, target, sample_weight=weight).isnan()
    assert top_k_cross_entropy(logits, target, 1.0, sample_weight=weight).isnan()


@pytest.mark.parametrize(
    ('function', 'options', 'message'),
    [
        (softmax_focal_loss, dict(gamma=-1), 'gamma=-1'),
        (softmax_focal_loss, dict(gamma=float('nan')), 'gamma=nan'),
        (softmax_focal_loss, dict(gamma=float('inf')), 'gamma=inf'),
        (softmax_focal_loss, dict(normalizer='weight'), "normalizer='weight'"),
        (top_k_cross_entropy, dict(keep_ratio=0), 'keep_ratio=0'),
        (top_k_cross_entropy, dict(keep_ratio=1.5), 'keep_ratio=1.5'),
        (top_k_cross_entropy, dict(reduction='avg'), "reduction='avg'"),
    ],
)
def test_bad_options_are_named(function, options, message):
    with pytest.raises(ValueError, match=message):
        function(torch.zeros(2, 3), torch.tensor([0, 1]), **options)
