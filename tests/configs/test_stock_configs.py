"""The toolboxes' own configs train with nothing changed but the loss (and the data, which is synthetic)."""

from pathlib import Path

import pytest
import synthetic_data
import torch
from commands import run

STEPS = "train_cfg = dict(_delete_=True, type='IterBasedTrainLoop', max_iters=1, val_interval=10)\n"

SEGMENTATION = {
    'prefix without any import': (
        "model = dict(decode_head=dict(loss_decode=dict(type='mmrecall.RecallLoss', _delete_=True)))"
    ),
    'bare name after custom_imports': (
        "custom_imports = dict(imports=['mmrecall'])\n"
        "model = dict(decode_head=dict(loss_decode=dict(type='RecallLoss', _delete_=True)))"
    ),
    'list of two losses, and an auxiliary head': (
        'model = dict(\n'
        "  decode_head=dict(loss_decode=[dict(type='mmrecall.RecallLoss', loss_name='loss_a'),\n"
        "    dict(type='mmrecall.RecallLoss', metric='iou', loss_name='loss_b')]),\n"
        "  auxiliary_head=dict(loss_decode=dict(type='mmrecall.RecallLoss', alpha=0.9, num_classes=19,\n"
        '    loss_weight=0.4, _delete_=True)))'
    ),
}
LOGGED = {
    'prefix without any import': ['decode.loss_recall', 'aux.loss_ce'],
    'bare name after custom_imports': ['decode.loss_recall', 'aux.loss_ce'],
    'list of two losses, and an auxiliary head': ['decode.loss_a', 'decode.loss_b', 'aux.loss_recall'],
}
CLASSIFICATION = {
    'prefix without any import': (
        "model = dict(head=dict(loss=dict(type='mmrecall.RecallLoss', alpha=0.9, num_classes=1000, _delete_=True)))"
    ),
    'bare name after custom_imports': (
        "custom_imports = dict(imports=['mmrecall'])\n"
        "model = dict(head=dict(loss=dict(type='RecallLoss', alpha=0.9, num_classes=1000, _delete_=True)))"
    ),
}


def stock(toolbox):
    """Folder of a toolbox's own configs and tools."""
    return Path(pytest.importorskip(toolbox).__file__).parent / '.mim'


@pytest.mark.parametrize('case', SEGMENTATION)
def test_mmsegs_deeplabv3_on_cityscapes_trains(case, tmp_path):
    synthetic_data.cityscapes(tmp_path / 'cityscapes')
    base = stock('mmseg') / 'configs' / 'deeplabv3' / 'deeplabv3_r18-d8_4xb2-80k_cityscapes-512x1024.py'
    config = tmp_path / 'config.py'
    config.write_text(
        f"_base_ = '{base}'\n"
        f'{SEGMENTATION[case]}\n'
        f'{STEPS}train_dataloader = dict(num_workers=0, persistent_workers=False,\n'
        f"  dataset=dict(data_root='{tmp_path / 'cityscapes'}'))\n"
        'val_dataloader = val_evaluator = val_cfg = None\n'
    )
    status, output = run(
        'python', stock('mmseg') / 'tools' / 'train.py', config, '--work-dir', tmp_path / 'work', '--cfg-options',
        'model.pretrained=None', 'model.data_preprocessor.size=(64,64)', 'default_hooks.logger.interval=1',
        'train_dataloader.dataset.pipeline.2.scale=(128,64)', 'train_dataloader.dataset.pipeline.3.crop_size=(64,64)',
    )  # fmt: skip
    assert status == 0, output[-3000:]
    assert all(name in output for name in LOGGED[case]), output[-3000:]
    assert (tmp_path / 'work' / 'iter_1.pth').is_file()


@pytest.mark.parametrize('case', CLASSIFICATION)
def test_mmpretrains_resnet_on_imagenet_trains(case, tmp_path):
    synthetic_data.image_folder(tmp_path / 'images')
    base = stock('mmpretrain') / 'configs' / 'resnet' / 'resnet18_8xb32_in1k.py'
    config = tmp_path / 'config.py'
    config.write_text(
        f"_base_ = '{base}'\n"
        f'{CLASSIFICATION[case]}\n'
        f'{STEPS}param_scheduler = None\nrandomness = dict(seed=0)\n'
        'default_hooks = dict(checkpoint=dict(by_epoch=False, interval=1), logger=dict(interval=1))\n'
        'train_dataloader = dict(batch_size=4, num_workers=0, persistent_workers=False,\n'
        f"  dataset=dict(_delete_=True, type='CustomDataset', data_root='{tmp_path / 'images'}', pipeline=[\n"
        "    dict(type='LoadImageFromFile'), dict(type='PackInputs')]))\n"
        'val_dataloader = val_evaluator = val_cfg = None\n'
    )
    status, output = run(
        'python', stock('mmpretrain') / 'tools' / 'train.py', config, '--work-dir', tmp_path / 'work',
        '--no-persistent-workers',
    )  # fmt: skip
    assert status == 0, output[-3000:]
    state = torch.load(tmp_path / 'work' / 'iter_1.pth', map_location='cpu', weights_only=False)['state_dict']
    assert state['head.loss_module.recall'].shape == (1000,)
