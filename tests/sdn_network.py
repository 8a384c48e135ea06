"""A small classifier with a decoupled head."""

import torch
from mmengine.registry import MODELS
from mmpretrain.structures import DataSample

from mmrecall.losses import ClassCounts

CLASSES = 3
CHANNELS = 64
COUNTS = [50, 10, 2]
LABELS = [0, 0, 1, 2]


def network_config(head=(), backbone=(), **model):
    """Of a narrow ResNet-18 in which every weight has a gradient from the first step on."""
    narrow = dict(type='ResNet', depth=18, stem_channels=8, base_channels=8, zero_init_residual=False)
    return dict(
        type='ImageClassifier',
        backbone={**narrow, **dict(backbone)},
        neck=dict(type='GlobalAveragePooling'),
        head={**dict(type='mmrecall.SDNHead', num_classes=CLASSES, in_channels=CHANNELS), **dict(head)},
        **model,
    )


def build(config):
    """A model of mmpretrain with the class counts that a hook would give it."""
    model = MODELS.build({**config, '_scope_': 'mmpretrain'})
    model.init_weights()
    for module in model.modules():
        if isinstance(module, ClassCounts):
            module.set(COUNTS)
    return model


def network(head=(), backbone=(), **model):
    return build(network_config(head, backbone, **model))


def samples(labels=LABELS):
    return [DataSample().set_gt_label(label) for label in labels]


def images(number=4):
    return torch.randn(number, 3, 32, 32)
