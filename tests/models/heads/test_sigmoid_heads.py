"""Binary and multi-label heads of mmseg and mmpretrain with losses that have use_sigmoid=True."""

import logging
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F

from mmrecall.functional import recall_cross_entropy
from mmrecall.losses import RecallLoss

pytest.importorskip('mmseg.models')
pytest.importorskip('mmpretrain.models')

from mmengine.structures import PixelData
from mmpretrain.registry import MODELS as CLASSIFICATION
from mmpretrain.structures import DataSample
from mmseg.registry import MODELS as SEGMENTATION
from mmseg.structures import SegDataSample

from mmrecall.engine import LowResolutionLossHook
from mmrecall.models.low_resolution_head import LowResolutionHead, why_full_resolution

LOSSES = {
    'recall': dict(type='mmrecall.RecallLoss', use_sigmoid=True),
    'running recall': dict(type='mmrecall.RecallLoss', alpha=0.5, num_classes=1, use_sigmoid=True),
    'weighted': dict(type='mmrecall.WeightedCrossEntropyLoss', class_weight=[0.5, 5.0], use_sigmoid=True),
    'focal': dict(type='mmrecall.SoftmaxFocalLoss', alpha=0.75, use_sigmoid=True),
}
NORM = dict(type='BN')
COMMON = dict(
    in_channels=8, channels=8, num_classes=2, out_channels=1, threshold=0.5, dropout_ratio=0, norm_cfg=NORM, in_index=0
)
HEADS = {
    'FCNHead': dict(num_convs=1, concat_input=False),
    'ASPPHead': dict(dilations=(1, 2)),
}


def build(models, scope, **config):
    with models.switch_scope_and_registry(scope) as registry:
        return registry.build(config).train()


def segmentor(head, losses):
    backbone = dict(
        type='ResNet', depth=18, base_channels=8, num_stages=1, out_indices=(0,), strides=(1,), dilations=(1,),
        norm_cfg=NORM,
    )  # fmt: skip
    decode_head = dict(type=head, loss_decode=losses, **COMMON, **HEADS[head])
    return build(
        SEGMENTATION, 'mmseg', type='EncoderDecoder', backbone=backbone, decode_head=decode_head,
        train_cfg=dict(), test_cfg=dict(mode='whole'),
    )  # fmt: skip


def masks():
    label = (torch.rand(2, 1, 32, 48) < 0.2).long()
    label[:, :, :4] = 255
    samples = []
    for one in label:
        sample = SegDataSample(metainfo=dict(img_shape=(32, 48), ori_shape=(32, 48), pad_shape=(32, 48)))
        sample.gt_sem_seg = PixelData(data=one)
        samples.append(sample)
    return label.squeeze(1), samples


@pytest.mark.parametrize('name', LOSSES)
@pytest.mark.parametrize('head', HEADS)
def test_a_decode_head_of_one_channel_trains(head, name):
    model = segmentor(head, [LOSSES[name], dict(LOSSES['recall'], loss_name='loss_second')])
    _, samples = masks()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    images = torch.randn(2, 3, 32, 48)
    totals = []
    for _ in range(6):
        terms = model(images, samples, mode='loss')
        total, logged = model.parse_losses(terms)
        assert {'decode.loss_second', 'decode.acc_seg'} < set(logged)
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        totals.append(total.item())
    assert model.decode_head.conv_seg.weight.grad.abs().sum() > 0
    assert totals[-1] < totals[0]


def test_the_loss_of_a_decode_head_of_one_channel_is_that_of_its_interpolated_logits():
    model = segmentor('FCNHead', LOSSES['recall'])
    label, samples = masks()
    features = [torch.randn(2, 8, 8, 12)]
    logits = F.interpolate(model.decode_head(features), (32, 48), mode='bilinear', align_corners=False)
    found = model.decode_head.loss(features, samples, {})['loss_recall']
    expected = recall_cross_entropy(torch.cat([0 * logits, logits], 1), label, ignore_index=255)
    torch.testing.assert_close(found, expected)


def test_the_hook_for_low_resolution_logits_leaves_a_head_of_one_channel_as_it_is():
    model = segmentor('FCNHead', LOSSES['recall'])
    assert why_full_resolution(model.decode_head) == 'it has one output channel, whose loss is a sigmoid'
    runner = SimpleNamespace(model=model, logger=logging.getLogger('mmrecall.test'))
    LowResolutionLossHook().before_train(runner)
    assert not isinstance(model.decode_head, LowResolutionHead)
    assert model.decode_head.loss([torch.randn(2, 8, 8, 12)], masks()[1], {})['loss_recall'].isfinite()


def test_the_boundary_head_of_stdc_takes_the_loss():
    head = build(
        SEGMENTATION, 'mmseg', type='STDCHead', boundary_threshold=0.1, loss_decode=LOSSES['recall'], **COMMON,
        **HEADS['FCNHead'],
    )  # fmt: skip
    terms = head.loss([torch.randn(2, 8, 8, 12)], masks()[1], {})
    assert terms['loss_recall'] > 0


def test_the_multi_label_loss_of_enchead_may_be_a_recall_loss():
    head = build(
        SEGMENTATION, 'mmseg', type='EncHead', in_channels=[8] * 3, in_index=(0, 1, 2), channels=8, num_codes=4,
        num_classes=2, loss_decode=dict(type='mmrecall.RecallLoss'), norm_cfg=NORM,
        loss_se_decode=dict(type='mmrecall.RecallLoss', use_sigmoid=True, loss_name='loss_se'),
    )  # fmt: skip
    terms = head.loss([torch.randn(2, 8, 8, 12) for _ in range(3)], masks()[1], {})
    assert terms['loss_se'].isfinite()


def images_of_several_classes():
    labels = [[0], [1, 2], [], [0, 1, 2, 3]]
    return labels, [DataSample().set_gt_label(torch.tensor(one, dtype=torch.long)) for one in labels]


MULTI_LABEL = {'MultiLabelLinearClsHead': {}, 'CSRAClsHead': dict(num_heads=1, lam=0.1)}


def multi_label_head(kind='MultiLabelLinearClsHead', **loss):
    options = dict(num_classes=4, in_channels=6, **MULTI_LABEL[kind])
    return build(CLASSIFICATION, 'mmpretrain', type=kind, loss=loss, **options)


def features_of(kind='MultiLabelLinearClsHead'):
    return (torch.randn((4, 6, 3, 3) if kind == 'CSRAClsHead' else (4, 6)),)


@pytest.mark.parametrize('kind', MULTI_LABEL)
@pytest.mark.parametrize('name', LOSSES)
def test_a_multi_label_head_trains(kind, name):
    options = {key: value for key, value in LOSSES[name].items() if key != 'class_weight'}
    if 'num_classes' in options:
        options['num_classes'] = 4
    head = multi_label_head(kind, **options)
    value = head.loss(features_of(kind), images_of_several_classes()[1])['loss']
    value.backward()
    assert value > 0
    assert all(parameter.grad.isfinite().all() for parameter in head.parameters())


def test_without_weights_the_loss_of_a_multi_label_head_is_that_of_mmpretrain():
    ours = multi_label_head(type='mmrecall.WeightedCrossEntropyLoss', normalizer='all', use_sigmoid=True)
    theirs = multi_label_head(type='CrossEntropyLoss', use_sigmoid=True)
    theirs.load_state_dict(ours.state_dict())
    features, (_, samples) = features_of(), images_of_several_classes()
    torch.testing.assert_close(ours.loss(features, samples)['loss'], theirs.loss(features, samples)['loss'])


def test_the_running_recall_of_a_multi_label_head_is_that_of_its_labels():
    head = multi_label_head(type='mmrecall.RecallLoss', alpha=0.1, num_classes=4, use_sigmoid=True)
    features, (labels, samples) = features_of(), images_of_several_classes()
    head.loss(features, samples)
    predicted = head(features) > 0
    present = torch.tensor([[channel in one for channel in range(4)] for one in labels])
    for channel, recall in enumerate(head.loss_module.recall):
        for label in (False, True):
            chosen = present[:, channel] == label
            expected = (predicted[chosen, channel] == label).float().mean()
            assert recall[int(label)].item() == pytest.approx(0.1 * expected.item())
    assert isinstance(head.loss_module, RecallLoss)
