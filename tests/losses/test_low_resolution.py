"""With ``upsample`` every loss of low-resolution logits equals the loss of the logits that F.interpolate enlarges."""

import copy

import pytest
import torch
import torch.nn.functional as F
from every_loss import CLASSES, COUNTS, LOSSES, WITHOUT_SOFT_LABELS, make

from mmrecall import functional
from mmrecall.functional import class_losses, class_statistics
from mmrecall.losses import RecallLoss, WeightedCrossEntropyLoss

SIZE = (9, 14)


def low_resolution_batch(seed=0, soft=False, images=2):
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(images, CLASSES, 3, 4, generator=generator, dtype=torch.float64)
    if soft:
        return logits.requires_grad_(), torch.rand(images, CLASSES, *SIZE, generator=generator).softmax(1)
    target = torch.randint(CLASSES, (images, *SIZE), generator=generator)
    target[torch.rand(target.shape, generator=generator) < 0.2] = 255
    return logits.requires_grad_(), target


def enlarged(logits, align_corners=False):
    return F.interpolate(logits, SIZE, mode='bilinear', align_corners=align_corners)


def assert_same(found, expected, logits):
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)
    direction = torch.randn_like(expected)
    gradients = [torch.autograd.grad(one, logits, direction, retain_graph=True)[0] for one in (found, expected)]
    torch.testing.assert_close(*gradients, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize('reduction', ['mean', 'none'])
@pytest.mark.parametrize('name', LOSSES)
def test_a_loss_equals_that_of_interpolated_logits(name, reduction):
    logits, target = low_resolution_batch()
    weight = torch.rand(target.shape, dtype=torch.float64)
    found = make(name, upsample='bilinear', reduction=reduction)(logits, target, weight, ignore_index=255)
    expected = make(name, reduction=reduction)(enlarged(logits), target, weight, ignore_index=255)
    assert_same(found, expected, logits)


@pytest.mark.parametrize('name', ['recall', 'running recall', 'weighted', 'logit adjusted', 'dice'])
def test_soft_labels_have_their_own_resolution_too(name):
    assert name not in WITHOUT_SOFT_LABELS
    logits, target = low_resolution_batch(soft=True)
    assert_same(make(name, upsample='bilinear')(logits, target), make(name)(enlarged(logits), target), logits)


def test_a_call_overrides_the_options_of_the_loss():
    logits, target = low_resolution_batch()
    call = dict(ignore_index=255, upsample='bilinear', align_corners=True)
    expected = RecallLoss()(enlarged(logits, align_corners=True), target, ignore_index=255)
    assert_same(RecallLoss()(logits, target, **call), expected, logits)
    assert_same(RecallLoss(upsample='bilinear')(logits, target, **call), expected, logits)


def test_one_hot_integers_are_soft_labels_of_their_resolution():
    logits, target = low_resolution_batch()
    target = target.clamp(max=CLASSES - 1)
    one_hot = F.one_hot(target, CLASSES).movedim(-1, 1)
    found = RecallLoss(upsample='bilinear')(logits, one_hot)
    assert_same(found, RecallLoss(upsample='bilinear')(logits, target), logits)


FUNCTIONS = {
    'recall_cross_entropy': dict(metric='iou'),
    'weighted_cross_entropy': dict(class_weight=torch.tensor([1.0, 2.0, 0.5, 4.0])),
    'ldam_loss': dict(class_counts=torch.tensor(COUNTS)),
    'logit_adjusted_loss': dict(class_counts=torch.tensor(COUNTS)),
    'balanced_softmax_loss': dict(class_counts=torch.tensor(COUNTS)),
    # so large a sigma leaves nothing to chance
    'balanced_logit_variation_loss': dict(class_counts=torch.tensor(COUNTS), sigma=1e12),
}


@pytest.mark.parametrize('align_corners', [False, True])
@pytest.mark.parametrize('name', FUNCTIONS)
def test_a_function_equals_that_of_interpolated_logits(name, align_corners):
    logits, target = low_resolution_batch()
    function, options = getattr(functional, name), dict(FUNCTIONS[name], ignore_index=255)
    found = function(logits, target, **options, upsample='bilinear', align_corners=align_corners)
    assert_same(found, function(enlarged(logits, align_corners), target, **options), logits)


def test_class_losses_count_the_interpolated_predictions():
    logits, target = low_resolution_batch()
    statistics, loss_sum = class_losses(logits, target, ignore_index=255, upsample='bilinear')
    expected = class_statistics(enlarged(logits), target, 255)
    assert all(torch.equal(*pair) for pair in zip(statistics, expected, strict=True))
    assert_same(loss_sum, class_losses(enlarged(logits), target, ignore_index=255)[1], logits)


@pytest.mark.parametrize(
    'loss',
    [RecallLoss(), WeightedCrossEntropyLoss(), make('ldam'), make('logit adjusted'), make('running recall')],
    ids=lambda loss: type(loss).__name__,
)
def test_a_call_keeps_its_support_and_its_hits_of_unadjusted_logits(loss):
    logits, target = low_resolution_batch()
    loss(logits, target, ignore_index=255, upsample='bilinear')
    expected = class_statistics(enlarged(logits), target, 255)
    assert loss.last_statistics.support.tolist() == expected.support.tolist()
    assert loss.last_statistics.true_positives.tolist() == expected.true_positives.tolist()
    assert not loss.last_statistics.support.requires_grad


def test_two_ranks_with_low_resolution_logits_equal_one_process(two_ranks):
    found = two_ranks.run(ranks_of_low_resolution)
    logits, target = low_resolution_batch()
    loss = RecallLoss(upsample='bilinear')(logits, target, ignore_index=255)
    loss.backward()
    # each returns its share, times the number of ranks
    assert sum(value for value, _ in found) / 2 == pytest.approx(loss.item())
    gradient = torch.tensor([rows for _, rows in found], dtype=torch.float64).flatten(0, 1) / 2
    torch.testing.assert_close(gradient, logits.grad.flatten(1))


def ranks_of_low_resolution(rank, world_size):
    logits, target = low_resolution_batch()
    part = logits.detach()[rank : rank + 1].requires_grad_()
    loss = RecallLoss(upsample='bilinear')(part, target[rank : rank + 1], ignore_index=255)
    loss.backward()
    return loss.item(), part.grad.flatten(1).tolist()


@pytest.mark.parametrize(
    ('logits', 'target', 'message'),
    [
        ((2, 4), (2, 9, 14), r'expected logits \(N, C, h, w\)'),
        ((2, 4, 3, 4), (2, 0, 14), 'all sizes above 0'),
        ((2, 4, 3, 4), (3, 9, 14), r'target of shape \(3, 9, 14\)'),
    ],
)
def test_shapes_that_cannot_be_interpolated_are_refused(logits, target, message):
    with pytest.raises(ValueError, match=message):
        RecallLoss(upsample='bilinear')(torch.zeros(logits), torch.zeros(target, dtype=torch.long))


def test_another_interpolation_is_refused_with_the_choices():
    with pytest.raises(ValueError, match="upsample='nearest'; expected one of 'bilinear'"):
        RecallLoss(upsample='nearest')
    with pytest.raises(ValueError, match="upsample='nearest'"):
        RecallLoss()(*low_resolution_batch(), ignore_index=255, upsample='nearest')


def test_a_target_of_another_size_without_upsample_is_refused_with_the_option():
    with pytest.raises(ValueError, match="for logits of a lower resolution set upsample='bilinear'"):
        RecallLoss()(*low_resolution_batch(), ignore_index=255)


def test_a_loss_that_was_differentiated_by_torch_func_can_be_copied():
    logits, target = low_resolution_batch()
    loss = RecallLoss(upsample='bilinear', ignore_index=255)
    torch.func.grad(lambda x: loss(x, target))(logits.detach())
    assert_same(copy.deepcopy(loss)(logits, target), loss(logits, target), logits)
