import pytest
import torch
import torch.nn.functional as F
from oracle import random_batch

from mmrecall.functional import recall_cross_entropy, weighted_cross_entropy
from mmrecall.functional.batch import Batch
from mmrecall.functional.weighted import compute, update

WEIGHT = torch.tensor([0.5, 2.0, 0.0, 1.25], dtype=torch.float64)


@pytest.mark.parametrize('ignored', [0.0, 0.3])
@pytest.mark.parametrize('reduction', ['mean', 'sum', 'none'])
def test_equals_pytorchs_weighted_cross_entropy(ignored, reduction):
    logits, target = random_batch(ignored=ignored)
    ours = weighted_cross_entropy(logits, target, WEIGHT, ignore_index=255, reduction=reduction)
    torch.testing.assert_close(ours, F.cross_entropy(logits, target, WEIGHT, ignore_index=255, reduction=reduction))


@pytest.mark.parametrize('ignored', [0.0, 0.3])
def test_without_weights_it_is_plain_cross_entropy(ignored):
    logits, target = random_batch(ignored=ignored)
    for normalizer in ('valid', 'weight'):
        ours = weighted_cross_entropy(logits, target, ignore_index=255, normalizer=normalizer)
        torch.testing.assert_close(ours, F.cross_entropy(logits, target, ignore_index=255))


def test_soft_labels_equal_pytorchs_with_probabilities():
    logits, _ = random_batch((4, 4, 5), 0)
    soft = torch.rand(4, 4, 5, dtype=torch.float64).softmax(1)
    # of soft labels PyTorch's mean is that over the samples, whatever they weigh
    ours = weighted_cross_entropy(logits, soft, WEIGHT, normalizer='valid')
    torch.testing.assert_close(ours, F.cross_entropy(logits, soft, WEIGHT))


def test_all_divides_by_ignored_samples_too():
    logits, target = random_batch(ignored=0.3)
    total = F.cross_entropy(logits, target, WEIGHT, ignore_index=255, reduction='sum')
    ours = weighted_cross_entropy(logits, target, WEIGHT, ignore_index=255, normalizer='all')
    torch.testing.assert_close(ours, total / target.numel())


def test_weights_of_another_length_or_sign_are_named():
    logits, target = torch.zeros(2, 3), torch.tensor([0, 1])
    with pytest.raises(ValueError, match='class_weight of shape'):
        weighted_cross_entropy(logits, target, torch.ones(4))
    with pytest.raises(ValueError, match=r'class_weight with 3 wrong .*-1; expected numbers of at least 0'):
        weighted_cross_entropy(logits, target, -torch.ones(3))


@pytest.mark.parametrize('loss', [weighted_cross_entropy, recall_cross_entropy])
def test_a_nan_weight_of_an_ignored_sample_with_soft_labels_has_no_effect(loss):
    logits = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    soft = torch.tensor([[0.5, 0.5, 0.0], [0.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.2, 0.3, 0.5]])
    weight = torch.tensor([1.0, float('nan'), 2.0, 1.0])
    kept = torch.tensor([0, 2, 3])
    value = loss(logits, soft, sample_weight=weight)
    expected = loss(logits[kept], soft[kept], sample_weight=weight[kept])
    torch.testing.assert_close(value, expected)
    torch.testing.assert_close(*(torch.autograd.grad(one, logits)[0] for one in (value, expected)))


@pytest.mark.parametrize('reduction', ['mean', 'sum', 'none'])
@pytest.mark.parametrize('soft', [True, False])
def test_float64_sample_weights_leave_the_type_of_the_loss(reduction, soft):
    logits, target = torch.randn(4, 3), torch.tensor([0, 1, 2, 1])
    target = F.one_hot(target, 3).float() if soft else target
    weight = torch.ones(4, dtype=torch.float64)
    assert weighted_cross_entropy(logits, target, sample_weight=weight, reduction=reduction).dtype == torch.float32


@pytest.mark.parametrize('zero', [0.0, -0.0])
def test_a_divisor_of_zero_gives_zero(zero):
    logits, target = random_batch()
    batch = Batch(logits, target, 255, avg_factor=zero)
    assert compute(update(batch, 'all'), WEIGHT, batch, 'all') == 0
