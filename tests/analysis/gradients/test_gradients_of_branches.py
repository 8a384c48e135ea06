"""Heads of mmseg that call each loss with logits of its own."""

import copy

import pytest
import synthetic_data
import torch
from mmengine.config import Config

pytest.importorskip('mmseg.models')

CLASSES = 19
CONFIG = """
default_scope = 'mmseg'
data_preprocessor = dict(
    type='SegDataPreProcessor', mean=[127.5] * 3, std=[63.75] * 3, size=(64, 64), pad_val=0, seg_pad_val=255)
model = dict(
    type='EncoderDecoder',
    backbone=BACKBONE,
    decode_head=dict(type='HEAD', in_channels=32, channels=16, num_classes=19, dropout_ratio=0.0, loss_decode=LOSSES),
    train_cfg=dict(), test_cfg=dict(mode='whole'))
train_dataloader = dict(
    batch_size=2,
    num_workers=0,
    dataset=dict(
        type='CityscapesDataset',
        data_root='ROOT',
        data_prefix=dict(img_path='leftImg8bit/train', seg_map_path='gtFine/train'),
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(type='LoadAnnotations'),
            dict(type='Resize', scale=(64, 64)),
            dict(type='GenerateEdge', edge_width=4),
            dict(type='PackSegInputs')]),
    sampler=dict(type='DefaultSampler', shuffle=False))
"""
DDR = (
    "dict(type='DDRNet', channels=8, ppm_channels=8, align_corners=False, norm_cfg=dict(type='BN'))",
    'DDRHead',
)
PID = (
    "dict(type='PIDNet', channels=8, ppm_channels=8, num_stem_blocks=2, num_branch_blocks=3, align_corners=False)",
    'PIDHead',
)
OHEM = "dict(type='OhemCrossEntropy', min_kept=10)"
RECALL = "dict(type='mmrecall.RecallLoss', ignore_index=255)"
PUSH = "dict(type='mmrecall.WeightedCrossEntropyLoss', class_weight=[2.0] + [1.0] * 18, ignore_index=255)"
BOUNDARY = "dict(type='BoundaryLoss')"


@pytest.fixture
def made(tmp_path):
    """Write a config, and the weights of a fresh model of it."""
    from mmrecall.analysis.build_model import build_model

    synthetic_data.cityscapes(tmp_path / 'data', size=(64, 64))

    def write(name, network, losses):
        backbone, head = network
        text = CONFIG.replace('BACKBONE', backbone).replace('HEAD', head).replace('ROOT', str(tmp_path / 'data'))
        path = tmp_path / f'{name}.py'
        path.write_text(text.replace('LOSSES', f'[{", ".join(losses)}]'))
        config = Config.fromfile(path)
        torch.manual_seed(0)
        torch.save(build_model(config).state_dict(), tmp_path / f'{name}.pth')
        return config, tmp_path / f'{name}.pth'

    return write


def comparison(*arguments, **options):
    from mmrecall.analysis.gradients.comparison import GradientComparison

    return GradientComparison(*arguments, **options)


def branches(config, checkpoint):
    """Logits of every branch at the size of the labels, and the labels, of the first batch."""
    from mmengine.runner import Runner, set_random_seed
    from mmseg.models.utils import resize

    from mmrecall.analysis.build_model import build_model

    model = build_model(config).train()
    model.load_state_dict(torch.load(checkpoint), strict=False)
    set_random_seed(0)
    data = model.data_preprocessor(
        next(iter(Runner.build_dataloader(copy.deepcopy(config.train_dataloader), seed=0))), True
    )
    labels = torch.cat([sample.gt_sem_seg.data for sample in data['data_samples']])
    logits = model.decode_head(model.extract_feat(data['inputs']))
    align = model.decode_head.align_corners
    return [resize(one, labels.shape[1:], mode='bilinear', align_corners=align).detach() for one in logits], labels


def two_terms(terms):
    """Positive and negative gradients of losses at logits of their own, by a loop over labels."""
    positive, negative = torch.zeros(2, CLASSES, dtype=torch.float64)
    for loss, logits, labels in terms:
        leaf = logits.clone().requires_grad_()
        loss(leaf, labels).backward()
        for label in range(CLASSES):
            rows = leaf.grad.movedim(1, -1)[labels == label].double().sum(0)
            positive[label] -= rows[label]
            rows[label] = 0
            negative += rows
    return positive, negative


def test_each_loss_of_ddrnet_is_measured_at_the_logits_that_it_is_called_with(made):
    from mmrecall.losses import RecallLoss, WeightedCrossEntropyLoss

    config, checkpoint = made('ddr-push', DDR, [PUSH, RECALL])
    found = comparison(config, checkpoint).measure()
    (context, spatial), labels = branches(config, checkpoint)
    push = WeightedCrossEntropyLoss([2.0] + [1.0] * 18, ignore_index=255)
    expected = two_terms([(push, context, labels), (RecallLoss(ignore_index=255), spatial, labels)])
    for term, value in zip(found.gradients['ddr-push'], expected, strict=True):
        torch.testing.assert_close(term, value, rtol=1e-4, atol=1e-8)
    assert found.left_out == []


def test_the_losses_of_another_config_take_the_logits_of_the_same_branches(made):
    config, checkpoint = made('ddr-ohem', DDR, [OHEM, OHEM])
    other, others = made('ddr-push', DDR, [PUSH, RECALL])
    compared = comparison(config, checkpoint, [other]).measure().gradients['push']
    alone = comparison(other, others).measure().gradients['ddr-push']
    torch.testing.assert_close(compared.positive, alone.positive)
    torch.testing.assert_close(compared.negative, alone.negative)


def test_another_number_of_losses_cannot_be_given_to_the_branches(made):
    config, checkpoint = made('ddr-ohem', DDR, [OHEM, OHEM])
    other, _ = made('ddr-three', DDR, [PUSH, RECALL, RECALL])
    with pytest.raises(ValueError, match=r'got 3 loss\(es\) of three; expected 2, because each'):
        comparison(config, checkpoint, [other]).measure()


def test_of_pidnet_the_boundary_loss_is_left_out_by_name(made):
    from mmrecall.losses import RecallLoss, WeightedCrossEntropyLoss

    config, checkpoint = made('pid', PID, [RECALL, PUSH, BOUNDARY, RECALL])
    found = comparison(config, checkpoint).measure()
    assert found.left_out == ['decode_head.loss_decode.2 (BoundaryLoss)']
    (p, i, d), labels = branches(config, checkpoint)
    near = torch.where(d[:, 0].sigmoid() > 0.8, labels, 255)
    recall, push = RecallLoss(ignore_index=255), WeightedCrossEntropyLoss([2.0] + [1.0] * 18, ignore_index=255)
    expected = two_terms([(recall, p, labels), (push, i, labels), (recall, i, near)])
    for term, value in zip(found.gradients['pid'], expected, strict=True):
        torch.testing.assert_close(term, value, rtol=1e-4, atol=1e-8)


def test_the_stock_losses_of_pidnet_can_be_measured(made):
    ce = "dict(type='CrossEntropyLoss', use_sigmoid=False)"
    config, checkpoint = made('pid', PID, [ce, OHEM, BOUNDARY, OHEM])
    found = comparison(config, checkpoint).measure()
    assert found.gradients['pid'].positive.sum() > 0
