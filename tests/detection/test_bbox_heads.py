"""The losses as ``loss_cls`` of mmdet's heads of boxes: C classes, and the background as class C."""

import math

import oracle
import pytest
import synthetic_data
import torch
import torch.nn.functional as F
from mmengine.config import Config

from mmrecall.losses import RecallLoss, WeightedCrossEntropyLoss

mmdet_registry = pytest.importorskip('mmdet.registry')

CLASSES = 4
CHANNELS = CLASSES + 1
COUNTS = [50, 20, 5, 1, 200]
SHAPE = dict(in_channels=3, fc_out_channels=8, roi_feat_size=2, num_classes=CLASSES)


def head_of(loss, **options):
    """A small Shared2FCBBoxHead, always with the same weights."""
    # not above, because a rank imports this file too, and has no stand-in for compiled ops
    pytest.importorskip('mmdet.models')
    torch.manual_seed(0)
    with mmdet_registry.MODELS.switch_scope_and_registry('mmdet') as registry:
        return registry.build(dict(type='Shared2FCBBoxHead', loss_cls=loss, **{**SHAPE, **options})).double()


def regions(number=40):
    """Features of regions, labels of which most are background, and the weights that a head gives them."""
    features = torch.randn(number, 3, 2, 2, dtype=torch.float64)
    labels = torch.where(torch.rand(number) < 0.6, CLASSES, torch.randint(0, CLASSES, (number,)))
    # pos_weight of the training config, and a region that does not count
    weights = torch.where(labels < CLASSES, 2.0, 1.0).double()
    weights[3] = 0
    return features, labels, weights


def losses_of(loss, features, labels, weights, **options):
    """Losses of a head, and the scores that it computes."""
    head = head_of(loss, **options)
    scores, _ = head(20 * features)
    return head.loss(scores, None, None, labels, weights, None, None), scores.detach(), head


def mean_loss(scores, labels, sample_weights, class_weights, divisor):
    """The weighted mean by a loop over the regions, in float64."""
    losses = [
        -class_weights[label] * weight * oracle.log_probability(row, label)
        for row, label, weight in zip(scores.tolist(), labels.tolist(), sample_weights.tolist(), strict=True)
    ]
    return sum(losses) / divisor


@pytest.mark.parametrize('normalizer', ['valid', 'all', 'weight'])
def test_the_recall_loss_is_that_of_a_loop(normalizer):
    batch = _, labels, weights = regions()
    losses, scores, _ = losses_of(dict(type='mmrecall.RecallLoss', normalizer=normalizer), *batch)
    counts = oracle.counts(scores, labels, -100)
    rates = oracle.weights(*counts)
    assert 0 < rates[CLASSES] < 1
    divisor = dict(
        valid=len(labels),
        # avg_factor of the head: the regions whose weight is not 0
        all=len(labels) - 1,
        weight=sum(rate * support for rate, support in zip(rates, counts[0], strict=True)),
    )[normalizer]
    expected = mean_loss(scores, labels, weights, rates, divisor)
    assert losses['loss_cls'].item() == pytest.approx(expected, rel=1e-9)


def test_a_running_recall_has_a_class_for_the_background():
    batch = _, labels, weights = regions()
    losses, scores, head = losses_of(dict(type='mmrecall.RecallLoss', alpha=0.5, num_classes=CHANNELS), *batch)
    support, _, true_positives = oracle.counts(scores, labels, -100)
    recall = [0.5 * hits / number for hits, number in zip(true_positives, support, strict=True)]
    torch.testing.assert_close(head.loss_cls.recall, torch.tensor(recall))
    rates = [1 - value for value in recall]
    expected = mean_loss(scores, labels, weights, rates, len(labels))
    assert losses['loss_cls'].item() == pytest.approx(expected, rel=1e-6)


def test_the_background_may_have_a_fixed_weight():
    batch = _, labels, weights = regions()
    loss = dict(type='mmrecall.RecallLoss', num_classes=CLASSES, no_object_weight=0.3)
    losses, scores, _ = losses_of(loss, *batch)
    rates = [*oracle.weights(*oracle.counts(scores, labels, -100))[:CLASSES], 0.3]
    assert losses['loss_cls'].item() == pytest.approx(mean_loss(scores, labels, weights, rates, len(labels)), rel=1e-9)


@pytest.mark.parametrize(
    'ours',
    [
        dict(class_weight=[1.0, 2.0, 3.0, 4.0, 0.5]),
        dict(class_weight=[1.0, 2.0, 3.0, 4.0], no_object_weight=0.5),
    ],
)
def test_weighted_cross_entropy_by_all_regions_is_that_of_mmdet(ours):
    batch = regions()
    stock, _, stock_head = losses_of(dict(type='CrossEntropyLoss', class_weight=[1.0, 2.0, 3.0, 4.0, 0.5]), *batch)
    loss = dict(type='mmrecall.WeightedCrossEntropyLoss', normalizer='all', **ours)
    losses, _, head = losses_of(loss, *batch)
    torch.testing.assert_close(losses['loss_cls'], stock['loss_cls'])
    torch.testing.assert_close(losses['acc'], stock['acc'])
    for one in (losses, stock):
        one['loss_cls'].backward()
    torch.testing.assert_close(head.fc_cls.weight.grad, stock_head.fc_cls.weight.grad)


def test_logit_adjustment_is_that_of_a_loop_and_leaves_the_accuracy():
    batch = _, labels, weights = regions()
    stock, _, _ = losses_of(dict(type='CrossEntropyLoss'), *batch)
    losses, scores, _ = losses_of(dict(type='mmrecall.LogitAdjustedLoss', class_counts=COUNTS), *batch)
    adjusted = [[z + math.log(n / sum(COUNTS)) for z, n in zip(row, COUNTS, strict=True)] for row in scores.tolist()]
    expected = mean_loss(torch.tensor(adjusted, dtype=torch.float64), labels, weights, [1.0] * CHANNELS, len(labels))
    assert losses['loss_cls'].item() == pytest.approx(expected, rel=1e-9)
    torch.testing.assert_close(losses['acc'], stock['acc'])


def test_a_head_has_a_channel_for_each_class_and_the_background():
    head = head_of(dict(type='mmrecall.RecallLoss'))
    assert head.fc_cls.out_features == CHANNELS
    assert not any((head.custom_cls_channels, head.custom_activation, head.custom_accuracy))


def test_a_loss_without_the_background_says_so():
    with pytest.raises(ValueError, match='5 channels, in a loss for 4 classes'):
        losses_of(dict(type='mmrecall.RecallLoss', alpha=0.5, num_classes=CLASSES), *regions())


def test_a_bare_name_works_in_the_scope_of_mmdet():
    assert type(head_of(dict(type='RecallLoss')).loss_cls) is RecallLoss


def test_mmdets_seesaw_loss_is_two_cross_entropies_with_another_background():
    """Without its two factors: objectness of all regions, and the classes of those that are objects."""
    batch = _, labels, weights = regions()
    losses, scores, head = losses_of(dict(type='SeesawLoss', p=0.0, q=0.0, num_classes=CLASSES), *batch)
    assert scores.shape[1] == CLASSES + 2
    assert set(losses) == {'loss_cls_objectness', 'loss_cls_classes', 'acc_objectness', 'acc_classes'}
    plain = WeightedCrossEntropyLoss(normalizer='all')
    is_object, divisor = labels < CLASSES, len(labels) - 1
    background = (~is_object).long()
    objectness = plain(scores[:, CLASSES:], background, weights, avg_factor=divisor)
    of_objects = scores[is_object, :CLASSES], labels[is_object], weights[is_object]
    torch.testing.assert_close(losses['loss_cls_objectness'], objectness)
    torch.testing.assert_close(losses['loss_cls_classes'], plain(*of_objects, avg_factor=divisor))
    probabilities = head.loss_cls.get_activation(scores)
    torch.testing.assert_close(probabilities[:, -1], F.softmax(scores[:, CLASSES:], 1)[:, 1])


def test_the_configs_of_the_docs_train(repository, tmp_path, monkeypatch):
    """The last snippet writes the counts that the second reads."""
    section = (repository / 'docs' / 'heads.md').read_text(encoding='utf-8').partition('## MMDetection')[2]
    recall, weighted, count = (block.partition('```')[0] for block in section.split('```python\n')[1:])
    synthetic_data.lvis(tmp_path / 'data' / 'lvis_v1')
    monkeypatch.chdir(tmp_path)
    exec(count, {})
    for snippet in (recall, weighted):
        loss = Config.fromstring(snippet, '.py').loss_cls
        assert loss.pop('_delete_')
        losses, *_ = losses_of(loss, *regions(), num_classes=1203)
        assert losses['loss_cls'] > 0


def gradient(loss, scores, labels, weights):
    """Gradient of the scores, with the arguments of a bbox head."""
    scores = scores.clone().requires_grad_()
    loss(scores, labels, weights, avg_factor=max((weights > 0).sum().item(), 1.0)).backward()
    return scores.grad


def gradient_of_rank(rank, world_size, options, cut):
    """That of a rank: unequal numbers of regions, averaged as DistributedDataParallel does."""
    batch = scores_of_regions()
    part = slice(0, cut) if rank == 0 else slice(cut, None)
    loss = (RecallLoss if 'alpha' in options else WeightedCrossEntropyLoss)(**options)
    return (gradient(loss, *(one[part] for one in batch)) / world_size).tolist()


def scores_of_regions():
    torch.manual_seed(0)
    _, labels, weights = regions()
    return torch.randn(len(labels), CHANNELS, dtype=torch.float64), labels, weights


@pytest.mark.parametrize(
    'options',
    [
        dict(alpha=1.0, normalizer='all'),
        dict(alpha=0.5, num_classes=CHANNELS),
        dict(alpha=0.5, num_classes=CLASSES, no_object_weight=0.3),
        dict(class_weight=[1.0, 2.0, 3.0, 4.0, 0.5], normalizer='all'),
    ],
)
def test_two_ranks_are_one_process_with_all_regions(two_ranks, options):
    parts = two_ranks.run(gradient_of_rank, options, 13)
    loss = (RecallLoss if 'alpha' in options else WeightedCrossEntropyLoss)(**options)
    torch.testing.assert_close(torch.tensor([*parts[0], *parts[1]]).double(), gradient(loss, *scores_of_regions()))
