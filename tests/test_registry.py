import pytest
import torch

import mmrecall
from mmrecall.registry import DATASETS, MODELS


def test_no_name_collides_with_a_stock_one():
    stock = set()
    for toolbox in ('mmseg', 'mmpretrain'):
        registry = pytest.importorskip(f'{toolbox}.registry')
        pytest.importorskip(f'{toolbox}.models')
        pytest.importorskip(f'{toolbox}.datasets')
        stock |= set(registry.MODELS.module_dict) | set(registry.DATASETS.module_dict)
    assert not stock & (set(MODELS.module_dict) | set(DATASETS.module_dict))


def test_the_old_name_losses_serves_as_well():
    builder = pytest.importorskip('mmseg.models.builder')
    assert isinstance(builder.LOSSES.build(dict(type='RecallLoss')), mmrecall.models.losses.RecallLoss)
    assert isinstance(builder.LOSSES.build(dict(type='mmrecall.RecallLoss')), torch.nn.Module)


def test_the_prefix_does_not_change_where_nested_names_are_looked_up():
    registry = pytest.importorskip('mmseg.registry')
    pytest.importorskip('mmseg.models')
    head = dict(
        type='FCNHead', in_channels=4, channels=4, num_classes=3, num_convs=1, loss_decode=[
            dict(type='mmrecall.RecallLoss'), dict(type='DiceLoss', loss_weight=0.5)],
    )  # fmt: skip
    names = [type(loss).__name__ for loss in registry.MODELS.build(head).loss_decode]
    assert names == ['RecallLoss', 'DiceLoss']
