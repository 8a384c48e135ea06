"""A small network with two branches, and plain ones with one branch each of it."""

import torch
from mmengine.registry import MODELS
from sdn_network import CHANNELS, CLASSES, network_config

PLAIN = dict(type='LinearClsHead', num_classes=CLASSES, in_channels=CHANNELS)


def bbn_config(backbone=(), **options):
    """Of a narrow ResNet-18 with BBN's head; batch norms by their running statistics, unless told otherwise."""
    config = network_config(backbone={'norm_eval': True, **dict(backbone)}, **options)
    return {**config, 'type': 'mmrecall.BBN', 'head': dict(PLAIN, type='mmrecall.BBNHead')}


def build(config):
    """A model, initialised, whose batch norms have statistics that are not those of their beginning."""
    model = MODELS.build({**config, '_scope_': 'mmpretrain'})
    model.init_weights()
    for name, value in model.state_dict().items():
        if name.endswith('running_mean'):
            value.copy_(0.1 * torch.randn_like(value))
        if name.endswith('running_var'):
            value.copy_(torch.rand_like(value) + 0.5)
    return model


def one_branch(model, branch):
    """A plain classifier with a branch of a BBN, in evaluation mode; its features are what counts."""
    plain = build({**network_config(), 'head': PLAIN})
    (other,) = {'conventional', 'rebalancing'} - {branch}
    weights = {
        name.removeprefix('backbone.').replace(f'.{branch}.', '.'): value
        for name, value in model.state_dict().items()
        if name.startswith('backbone.') and f'.{other}.' not in name
    }
    plain.backbone.load_state_dict(weights)
    return plain.eval()
