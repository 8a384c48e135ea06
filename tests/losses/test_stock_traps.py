"""Where the toolboxes' own losses crash or mislead (docs/stock-losses.md), these work: a test for every line there."""

import pytest
import torch
import torch.nn.functional as F
from oracle import random_batch

import mmrecall  # noqa: F401, registers the losses
from mmrecall.registry import MODELS

pytestmark = pytest.mark.usefixtures('fused_however_small')

COUNTS = [4000, 400, 40, 4]
WEIGHTS = [1.0, 2.0, 3.0, 4.0]
LOSSES = {
    # so large a sigma leaves nothing to chance
    'BalancedLogitVariationLoss': dict(class_counts=COUNTS, sigma=1e12),
    'BalancedSoftmaxLoss': dict(class_counts=COUNTS),
    'LDAMLoss': dict(class_counts=COUNTS),
    'LogitAdjustedLoss': dict(class_counts=COUNTS),
    'LovaszSoftmaxLoss': dict(),
    'RecallLoss': dict(),
    'SoftDiceLoss': dict(),
    'SoftIoULoss': dict(),
    'SoftTverskyLoss': dict(),
    'SoftmaxFocalLoss': dict(),
    'OHEMCrossEntropyLoss': dict(),
    'WeightedCrossEntropyLoss': dict(class_weight=WEIGHTS),
}
OF_REGIONS = ['LovaszSoftmaxLoss', 'SoftDiceLoss', 'SoftIoULoss', 'SoftTverskyLoss']
WITHOUT_SOFT_LABELS = ['LDAMLoss', 'LovaszSoftmaxLoss']

every_loss = pytest.mark.parametrize('name', LOSSES)


def config(name, **options):
    return dict(type=f'mmrecall.{name}', **LOSSES[name], **options)


def build(name, **options):
    return MODELS.build(config(name, **options))


def decode_head(loss_decode, num_classes=4):
    """mmseg's simplest decode head."""
    registry = pytest.importorskip('mmseg.registry')
    pytest.importorskip('mmseg.models')
    return registry.MODELS.build(dict(
        type='FCNHead', in_channels=num_classes, channels=num_classes, num_classes=num_classes, num_convs=0,
        concat_input=False, kernel_size=1, loss_decode=loss_decode,
    ))  # fmt: skip


def decode_losses(loss_decode, logits, target):
    """What mmseg logs for these scores; its decode heads ignore 255."""
    structures = pytest.importorskip('mmseg.structures')
    samples = [structures.SegDataSample() for _ in target]
    for sample, label in zip(samples, target, strict=True):
        sample.set_data(dict(gt_sem_seg=pytest.importorskip('mmengine.structures').PixelData(data=label[None])))
    return decode_head(loss_decode, logits.shape[1]).loss_by_feat(logits, samples)


def classifier_loss(loss, logits, target, **call):
    """The loss of mmpretrain's linear head; it passes avg_factor=N and no ignore_index."""
    registry = pytest.importorskip('mmpretrain.registry')
    pytest.importorskip('mmpretrain.models')
    structures = pytest.importorskip('mmpretrain.structures')
    num_classes = logits.shape[1]
    head = registry.MODELS.build(
        dict(type='LinearClsHead', num_classes=num_classes, in_channels=num_classes, loss=loss)
    ).to(logits)
    with torch.no_grad():
        head.fc.weight.copy_(torch.eye(num_classes))
        head.fc.bias.zero_()
    samples = [structures.DataSample() for _ in target]
    for sample, label in zip(samples, target, strict=True):
        sample.set_gt_score(label) if label.ndim else sample.set_gt_label(label[None])
    return head.loss((logits,), samples, **call)['loss']


def half_ignored():
    logits, target = random_batch((2, 4, 6, 5), ignored=0)
    target[:, :3] = 255
    return logits.requires_grad_(), target


def classification(ignored=None):
    logits, target = random_batch((12, 4), ignored=0)
    if ignored is not None:
        target[:5] = ignored
    return logits, target


@pytest.mark.parametrize('normalizer', ['weight', 'valid'])
def test_class_weights_with_ignored_pixels_equal_pytorch(normalizer):
    logits, target = half_ignored()
    value = decode_losses(config('WeightedCrossEntropyLoss', normalizer=normalizer), logits, target)
    expected = F.cross_entropy(
        logits,
        target,
        torch.tensor(WEIGHTS).double(),
        ignore_index=255,
        reduction='mean' if normalizer == 'weight' else 'sum',
    )
    if normalizer == 'valid':
        expected = expected / (target != 255).sum()
    torch.testing.assert_close(value['loss_weighted_ce'], expected)


@pytest.mark.parametrize('loss', [dict(type='mmrecall.WeightedCrossEntropyLoss'), config('SoftmaxFocalLoss', gamma=0)])
def test_the_mean_leaves_ignored_pixels_out(loss):
    logits, target = half_ignored()
    value, _ = decode_losses(loss, logits, target).values()
    torch.testing.assert_close(value, F.cross_entropy(logits, target, ignore_index=255))


def test_a_wrong_number_of_class_weights_is_refused_when_the_model_is_built():
    loss = dict(type='mmrecall.WeightedCrossEntropyLoss', class_weight=WEIGHTS[:3], num_classes=4)
    with pytest.raises(ValueError, match=r'class_weight with 3 entries, .*; expected 4'):
        decode_head(loss)


def test_class_weights_may_be_named():
    logits, target = half_ignored()
    named = dict(
        type='mmrecall.WeightedCrossEntropyLoss',
        classes=('road', 'car', 'sign', 'pole'),
        class_weight={'car': 2.0, 'sign': 3.0, 'pole': 4.0},
    )
    value, _ = decode_losses(named, logits, target).values()
    expected, _ = decode_losses(config('WeightedCrossEntropyLoss'), logits, target).values()
    torch.testing.assert_close(value, expected)


def test_focal_loss_is_over_the_softmax_and_works_on_a_cpu_with_ignored_pixels():
    logits, target = half_ignored()
    value, _ = decode_losses(config('SoftmaxFocalLoss', gamma=2), logits, target).values()
    cross_entropies = F.cross_entropy(logits, target, ignore_index=255, reduction='none')[target != 255]
    torch.testing.assert_close(value, ((1 - (-cross_entropies).exp()) ** 2 * cross_entropies).mean())


@every_loss
def test_scores_at_ignored_pixels_change_neither_loss_nor_gradient(name):
    logits, target = half_ignored()
    others = logits.detach().clone()
    others[:, :, :3] = torch.randn(2, 4, 3, 5, dtype=torch.float64) * 9
    others.requires_grad_()
    values = []
    for scores in (logits, others):
        value, _ = decode_losses(config(name), scores, target).values()
        value.backward()
        values.append(value)
        assert scores.grad[:, :, :3].abs().sum() == 0
    torch.testing.assert_close(*values)
    torch.testing.assert_close(logits.grad, others.grad)
    assert logits.grad.abs().sum() > 0


def one_class_missed(num_classes=2):
    """40 of 4,096 pixels are of class 1, and everything is predicted as class 0."""
    target = torch.zeros(1, 64, 64, dtype=torch.long)
    target[0, 0, :40] = 1
    logits = torch.full((1, num_classes, 64, 64), -20.0)
    logits[:, 0] = 20
    return logits, target


@pytest.mark.parametrize('name', OF_REGIONS)
def test_a_missed_rare_class_costs_as_much_as_a_frequent_one(name):
    value, _ = decode_losses(config(name), *one_class_missed()).values()
    assert 0.5 < value.item() < 0.51


@pytest.mark.parametrize('name', OF_REGIONS)
def test_classes_that_are_absent_do_not_dilute_the_mean(name):
    value, _ = decode_losses(config(name), *one_class_missed(4)).values()
    expected, _ = decode_losses(config(name), *one_class_missed(2)).values()
    assert value.item() == pytest.approx(expected.item())


@every_loss
def test_a_label_that_is_no_class_is_refused(name):
    logits, target = half_ignored()
    target[0, 4, 4] = 7
    with pytest.raises(ValueError, match=r'7.*num_classes.*ignore_index'):
        decode_losses(config(name), logits, target)


def test_tversky_weights_need_not_sum_to_one():
    logits, target = half_ignored()
    value, _ = decode_losses(config('SoftTverskyLoss', tversky_weights=(1, 1)), logits, target).values()
    valid = target != 255
    probability = logits.softmax(1).movedim(1, -1)[valid]
    own = F.one_hot(target[valid], 4)
    hits = (probability * own).sum(0)
    torch.testing.assert_close(value, (1 - hits / (probability.sum(0) + own.sum(0) - hits)).mean())


@every_loss
def test_autocast_costs_no_precision(name):
    logits, target = half_ignored()
    with torch.autocast('cpu', dtype=torch.bfloat16):
        scores = F.conv2d(logits.float(), torch.eye(4)[..., None, None])
        value = build(name)(scores, target, ignore_index=255)
    assert scores.dtype == torch.bfloat16
    assert value.dtype == torch.float32
    expected = build(name)(scores.double(), target, ignore_index=255)
    assert value.item() == pytest.approx(expected.item(), rel=1e-5)


@every_loss
def test_float64_stays_float64(name):
    logits, target = half_ignored()
    value, _ = decode_losses(config(name), logits, target).values()
    assert value.dtype == torch.float64
    assert value > 0


def test_without_options_every_loss_works_in_one_decode_head():
    logits, target = half_ignored()
    together = decode_losses([config(name) for name in LOSSES], logits, target)
    del together['acc_seg']
    assert len(together) == len(LOSSES)
    for name, loss_name in zip(LOSSES, together, strict=True):
        alone, _ = decode_losses(config(name), logits, target).values()
        torch.testing.assert_close(together[loss_name], alone)


@every_loss
def test_a_batch_without_valid_pixels_costs_nothing_and_has_a_graph(name):
    model = pytest.importorskip('mmengine.model').BaseModel
    logits, target = half_ignored()
    losses = decode_losses(config(name), logits, torch.full_like(target, 255))
    total, _ = model.parse_losses(None, losses)
    total.backward()
    assert total == 0
    assert logits.grad.abs().sum() == 0


def test_lovasz_per_image_leaves_an_ignored_image_out():
    logits, target = half_ignored()
    target[1] = 255
    value, _ = decode_losses(config('LovaszSoftmaxLoss', per_image=True), logits, target).values()
    expected, _ = decode_losses(config('LovaszSoftmaxLoss'), logits[:1], target[:1]).values()
    torch.testing.assert_close(value, expected)


@every_loss
def test_one_valid_pixel_is_enough(name):
    logits, target = half_ignored()
    target.fill_(255)[1, 5, 2] = 3
    value, _ = decode_losses(config(name, reduction='sum'), logits, target).values()
    expected = build(name, reduction='sum')(logits[1:, :, 5, 2], torch.tensor([3]))
    torch.testing.assert_close(value, expected)


def test_one_valid_pixel_is_enough_for_lovasz_per_image():
    logits, target = half_ignored()
    target.fill_(255)[1, 5, 2] = 3
    value, _ = decode_losses(config('LovaszSoftmaxLoss', per_image=True), logits, target).values()
    torch.testing.assert_close(value, 1 - logits.softmax(1)[1, 3, 5, 2])


def test_hard_samples_are_a_share_of_the_valid_ones():
    logits, target = half_ignored()
    value, _ = decode_losses(config('OHEMCrossEntropyLoss', keep_ratio=0.5), logits, target).values()
    losses = F.cross_entropy(logits, target, ignore_index=255, reduction='none')[target != 255]
    torch.testing.assert_close(value, losses.sort(descending=True).values[: len(losses) // 2].mean())


@every_loss
@pytest.mark.parametrize('sign', [1, -1])
def test_extreme_scores_right_or_wrong_give_a_finite_loss_and_gradient(name, sign):
    _, target = half_ignored()
    logits = (F.one_hot(target % 4, 4).movedim(-1, 1) * 2.0 - 1).mul(sign * 1e4).requires_grad_()
    value, _ = decode_losses(config(name), logits, target).values()
    value.backward()
    assert value.isfinite()
    assert logits.grad.isfinite().all()


@every_loss
@pytest.mark.parametrize('shape', [(0, 4), (0, 4, 6, 5)])
def test_an_empty_batch_costs_nothing(name, shape):
    logits = torch.zeros(shape, requires_grad=True)
    value = build(name)(logits, torch.zeros(shape[0], *shape[2:], dtype=torch.long), avg_factor=0)
    value.backward()
    assert value == 0


@every_loss
@pytest.mark.parametrize(('ignored', 'call'), [(-100, {}), (-1, dict(ignore_index=-1)), (255, dict(ignore_index=255))])
def test_a_classifier_may_ignore_samples(name, ignored, call):
    logits, target = classification(ignored)
    value = classifier_loss(config(name), logits, target, **call)
    torch.testing.assert_close(value, classifier_loss(config(name), logits[5:], target[5:]))


@every_loss
def test_a_classifier_may_sum(name):
    logits, target = classification()
    value = classifier_loss(config(name, reduction='sum'), logits, target)
    torch.testing.assert_close(value, build(name, reduction='sum')(logits, target))
    assert value > classifier_loss(config(name), logits, target)


def test_class_weights_in_a_classifier_divide_by_weights_or_by_samples():
    logits, target = classification()
    weight = torch.tensor(WEIGHTS).double()
    value = classifier_loss(config('WeightedCrossEntropyLoss'), logits, target)
    torch.testing.assert_close(value, F.cross_entropy(logits, target, weight))
    value = classifier_loss(config('WeightedCrossEntropyLoss', normalizer='valid'), logits, target)
    torch.testing.assert_close(value, F.cross_entropy(logits, target, weight, reduction='sum') / len(target))


def soft_labels(target):
    return F.one_hot(target, 4).double() * 0.9 + 0.025


@pytest.mark.parametrize('name', [name for name in LOSSES if name not in WITHOUT_SOFT_LABELS])
def test_soft_labels_that_are_one_hot_equal_integer_ones(name):
    logits, target = classification()
    value = classifier_loss(config(name), logits, F.one_hot(target, 4).double())
    torch.testing.assert_close(value, classifier_loss(config(name), logits, target))
    assert classifier_loss(config(name), logits, soft_labels(target)) != value


def test_class_weights_with_soft_labels_equal_pytorch():
    logits, target = classification()
    # of soft labels PyTorch's mean is that over the samples, whatever they weigh
    value = classifier_loss(config('WeightedCrossEntropyLoss', normalizer='valid'), logits, soft_labels(target))
    torch.testing.assert_close(value, F.cross_entropy(logits, soft_labels(target), torch.tensor(WEIGHTS).double()))


@pytest.mark.parametrize('name', WITHOUT_SOFT_LABELS)
def test_losses_that_are_not_defined_for_soft_labels_say_so(name):
    logits, target = classification()
    with pytest.raises(TypeError, match='not defined for soft labels'):
        classifier_loss(config(name), logits, soft_labels(target))


@every_loss
def test_one_config_serves_decode_head_and_classifier(name):
    logits, target = classification()
    in_decode_head, _ = decode_losses(config(name), logits.T[None, :, None], target[None, None]).values()
    torch.testing.assert_close(in_decode_head, classifier_loss(config(name), logits, target))


@pytest.mark.parametrize('name', ['BalancedLogitVariationLoss', 'BalancedSoftmaxLoss', 'LDAMLoss', 'LogitAdjustedLoss'])
def test_no_forward_pass_moves_the_class_counts(name):
    logits, target = classification()
    loss = build(name)
    before = loss(logits, target)
    for _ in range(3):
        loss(*random_batch((50, 4), ignored=0, seed=1))
        loss.eval()
    torch.testing.assert_close(loss.train()(logits, target), before)


def gradient(name, logits, target):
    """d loss / d of a factor of all scores."""
    factor = torch.ones((), dtype=torch.float64, requires_grad=True)
    build(name)(factor * logits, target, ignore_index=255).backward()
    return factor.grad.item()


def uneven_batch():
    logits, target = half_ignored()
    target[1, 3:5] = 255  # 15 valid pixels in one image, 5 in the other
    return logits.detach(), target


def rank_gradient(rank, world_size, name):
    logits, target = uneven_batch()
    return gradient(name, logits[rank : rank + 1], target[rank : rank + 1])


@pytest.mark.parametrize('name', [name for name in LOSSES if name not in ('LovaszSoftmaxLoss', 'OHEMCrossEntropyLoss')])
def test_ranks_with_different_numbers_of_valid_pixels_equal_one_process(two_ranks, name):
    gradients = two_ranks.run(rank_gradient, name)
    assert sum(gradients) / 2 == pytest.approx(gradient(name, *uneven_batch()))
