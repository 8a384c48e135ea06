"""Heads of mmseg where a loss of this package has no place, or is called in a way of its own (docs/heads.md)."""

import pytest
import torch

from mmrecall.engine.hooks.loss_calls import LossCalls, is_softmax_loss

pytest.importorskip('mmseg.models')

from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample

CLASSES = 4
RECALL = dict(type='mmrecall.RecallLoss')
NORM = dict(type='BN')


def build(**config):
    with MODELS.switch_scope_and_registry('mmseg') as registry:
        return registry.build(config).train()


def step(head, num_levels=1):
    samples = []
    for _ in range(2):
        sample = SegDataSample()
        sample.gt_sem_seg = PixelData(data=torch.randint(0, CLASSES, (1, 16, 16)))
        samples.append(sample)
    features = [torch.randn(2, 8, 8, 8) for _ in range(num_levels)]
    return head.loss(features, samples, {})


@pytest.mark.parametrize(
    ('loss', 'message'),
    [
        (RECALL, 'RecallLoss: got 2 sample.*loss_se_decode of EncHead.*use_sigmoid=True'),
        (dict(type='mmrecall.SoftDiceLoss'), 'SoftDiceLoss: got 2 sample.*use_sigmoid=True'),
        (
            dict(type='mmrecall.LDAMLoss', class_counts=[1, 2, 3, 4]),
            'LDAMLoss does not accept one-hot labels; .*loss_se_decode of EncHead.*use_sigmoid=True',
        ),
    ],
)
def test_in_the_multi_label_loss_of_enchead_the_loss_and_the_remedy_are_named(loss, message):
    head = build(
        type='EncHead', in_channels=[8] * 3, in_index=(0, 1, 2), channels=8, num_codes=4, num_classes=CLASSES,
        loss_decode=RECALL, loss_se_decode=loss, norm_cfg=NORM,
    )  # fmt: skip
    with pytest.raises(ValueError, match=message):
        step(head, 3)


@pytest.mark.parametrize('name', ['RecallLoss', 'SoftIoULoss', 'SoftmaxFocalLoss'])
def test_in_the_boundary_head_of_stdc_the_loss_and_the_remedy_are_named(name):
    head = build(
        type='STDCHead', in_channels=8, channels=8, num_convs=1, concat_input=False, num_classes=2, out_channels=1,
        threshold=0.5, boundary_threshold=0.1, loss_decode=dict(type=f'mmrecall.{name}'), norm_cfg=NORM, in_index=0,
    )  # fmt: skip
    with pytest.raises(ValueError, match=f'but {name} is a softmax.*STDC.*set use_sigmoid=True in RecallLoss'):
        step(head)


def knet_head(loss):
    stage = dict(
        type='KernelUpdateHead', num_classes=CLASSES, num_ffn_fcs=2, num_heads=2, num_mask_fcs=1,
        feedforward_channels=8, in_channels=8, out_channels=8, dropout=0.0, conv_kernel_size=1,
        ffn_act_cfg=dict(type='ReLU', inplace=True), with_ffn=True,
        feat_transform_cfg=dict(conv_cfg=dict(type='Conv2d')),
        kernel_updator_cfg=dict(
            type='KernelUpdator', in_channels=8, feat_channels=8, out_channels=8, act_cfg=dict(type='ReLU'),
            norm_cfg=dict(type='LN'),
        ),
    )  # fmt: skip
    generate = dict(
        type='FCNHead', in_channels=8, channels=8, num_convs=1, num_classes=CLASSES, norm_cfg=NORM, in_index=0,
        loss_decode=loss,
    )  # fmt: skip
    return build(
        type='IterativeDecodeHead', num_stages=3, kernel_update_head=[stage] * 3, kernel_generate_head=generate
    )


def danet_head(loss):
    return build(
        type='DAHead', in_channels=8, channels=8, pam_channels=4, num_classes=CLASSES, norm_cfg=NORM, in_index=0,
        loss_decode=loss,
    )  # fmt: skip


@pytest.mark.parametrize(('make', 'times'), [(danet_head, 3), (knet_head, 4)])
def test_a_running_recall_moves_with_every_call_of_its_loss(make, times):
    head = make(dict(RECALL, alpha=0.1, num_classes=CLASSES))
    calls = LossCalls(head, is_softmax_loss)
    step(head)
    assert len(list(calls)) == times
    expected = torch.zeros(CLASSES)
    for call in calls:
        logits, target, _ = call.batch()
        hits = [(logits.argmax(1) == target)[target == label].float().mean() for label in range(CLASSES)]
        expected = 0.9 * expected + 0.1 * torch.stack(hits)
    (loss,) = {call.loss for call in calls}
    torch.testing.assert_close(loss.recall, expected)
