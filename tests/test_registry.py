import pytest
import torch

import mmrecall

REGISTRIES = ('DATASETS', 'DATA_SAMPLERS', 'HOOKS', 'METRICS', 'MODELS', 'TRANSFORMS')


@pytest.mark.parametrize('name', REGISTRIES)
def test_no_name_collides_with_a_stock_one(name):
    ours = set(getattr(mmrecall.registry, name).module_dict)
    assert ours
    for toolbox in ('mmseg', 'mmpretrain'):
        utilities = pytest.importorskip(f'{toolbox}.utils')
        utilities.register_all_modules(init_default_scope=False)
        assert not ours & set(getattr(pytest.importorskip(f'{toolbox}.registry'), name).module_dict)


def test_the_old_name_losses_serves_as_well():
    builder = pytest.importorskip('mmseg.models.builder')
    assert isinstance(builder.LOSSES.build(dict(type='RecallLoss')), mmrecall.losses.RecallLoss)
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
