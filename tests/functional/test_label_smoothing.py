"""label_smoothing and alpha by class, compared with PyTorch."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import random_batch

from mmrecall.functional import class_statistics, recall_cross_entropy, recall_weights, weighted_cross_entropy
from mmrecall.losses import RecallLoss, SoftmaxFocalLoss, WeightedCrossEntropyLoss


@settings(max_examples=30)
@given(
    shape=st.sampled_from([(7, 3), (2, 4, 5), (2, 5, 4, 6)]),
    smoothing=st.floats(0, 1),
    reduction=st.sampled_from(['mean', 'sum', 'none']),
    seed=st.integers(0, 10**6),
)
def test_smoothed_labels_are_those_of_pytorch(shape, smoothing, reduction, seed):
    logits, target = random_batch(shape, seed=seed)
    weight = torch.rand(shape[1], dtype=torch.float64) + 0.1
    options = dict(ignore_index=255, label_smoothing=smoothing, reduction=reduction)
    if (target == 255).all():
        return
    found = weighted_cross_entropy(logits.requires_grad_(), target, weight, **options)
    expected = F.cross_entropy(logits, target, weight, **options)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(*(torch.autograd.grad(one.sum(), logits)[0] for one in (found, expected)))
    plain = weighted_cross_entropy(logits, target, **options)
    torch.testing.assert_close(plain, F.cross_entropy(logits, target, **options))


def test_smoothed_soft_labels_are_those_of_pytorch():
    logits = torch.randn(6, 4, 3, dtype=torch.float64)
    target = torch.rand(6, 4, 3, dtype=torch.float64).softmax(1)
    weight = torch.rand(4, dtype=torch.float64)
    expected = F.cross_entropy(logits, target, weight, label_smoothing=0.3)
    found = weighted_cross_entropy(logits, target, weight, normalizer='valid', label_smoothing=0.3)
    torch.testing.assert_close(found, expected)


def test_the_recall_loss_weighs_smoothed_labels_by_the_recall_of_the_labels():
    logits, target = random_batch()
    weight = recall_weights(class_statistics(logits, target, 255))
    expected = F.cross_entropy(logits, target, weight, ignore_index=255, label_smoothing=0.2, reduction='sum')
    found = recall_cross_entropy(logits, target, ignore_index=255, label_smoothing=0.2, reduction='sum')
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize('cls', [RecallLoss, WeightedCrossEntropyLoss])
def test_smoothed_labels_of_low_resolution_logits_are_those_of_interpolated_ones(cls):
    _, target = random_batch((2, 4, 8, 6))
    low = torch.randn(2, 4, 4, 3, dtype=torch.float64)
    full = F.interpolate(low, (8, 6), mode='bilinear', align_corners=True)
    loss = cls(label_smoothing=0.1, ignore_index=255)
    torch.testing.assert_close(loss(low, target, upsample='bilinear', align_corners=True), loss(full, target))


def test_alpha_by_class_multiplies_the_focal_loss_of_a_class():
    logits, target = random_batch()
    alpha = torch.tensor([0.5, 2.0, 0.0, 1.0])
    plain = SoftmaxFocalLoss(reduction='none')(logits, target, ignore_index=255)
    found = SoftmaxFocalLoss(alpha=alpha.tolist(), reduction='none')(logits, target, ignore_index=255)
    torch.testing.assert_close(found, plain * F.pad(alpha, (0, 252)).double()[target])
    soft = F.one_hot(target.clamp(max=3), 4).double().movedim(-1, 1) * (target != 255).unsqueeze(1)
    found = SoftmaxFocalLoss(alpha=alpha.tolist(), reduction='sum')(logits, soft)
    torch.testing.assert_close(found, (plain * F.pad(alpha, (0, 252)).double()[target]).sum())


def test_one_number_is_the_factor_of_class_1_and_its_rest_that_of_class_0():
    logits, target = random_batch((9, 2), 0)
    expected = SoftmaxFocalLoss(alpha=[0.75, 0.25])(logits, target)
    torch.testing.assert_close(SoftmaxFocalLoss(alpha=0.25)(logits, target), expected)
    with pytest.raises(ValueError, match='3 channels; expected a list of 3'):
        SoftmaxFocalLoss(alpha=0.25)(torch.zeros(2, 3), torch.tensor([0, 1]))
