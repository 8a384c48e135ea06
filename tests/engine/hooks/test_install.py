"""One changed line in a config is enough."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import synthetic_data
import torch
from commands import run
from mmengine.hooks import Hook
from mmengine.runner import FlexibleRunner, Runner
from small_runner import Flowers, Model, automatic, small_runner
from torch.utils.data import DataLoader

from mmrecall.engine import ClassCountsHook, SkippedStepHook, install_hooks_of_losses
from mmrecall.losses import RecallLoss


def class_counts_hooks(runner):
    return [hook for hook in runner.hooks if isinstance(hook, ClassCountsHook)]


def test_a_runner_whose_loss_waits_gets_one_hook(tmp_path):
    assert len(class_counts_hooks(small_runner(tmp_path, automatic()))) == 1


def test_a_runner_whose_loss_does_not_wait_gets_none(tmp_path):
    assert class_counts_hooks(small_runner(tmp_path, RecallLoss())) == []


def test_a_hook_of_the_config_is_not_doubled(tmp_path):
    other = Hook()
    runner = small_runner(tmp_path, automatic(), hooks=[other, dict(type='mmrecall.ClassCountsHook', priority='LOW')])
    assert [hook.priority for hook in class_counts_hooks(runner)] == ['LOW']
    assert other in runner.hooks


def skipped_step_hooks(runner):
    return [hook for hook in runner.hooks if isinstance(hook, SkippedStepHook)]


def test_a_runner_whose_loss_has_a_running_recall_gets_one_hook_for_skipped_steps(tmp_path):
    running = RecallLoss(alpha=0.5, num_classes=3)
    assert len(skipped_step_hooks(small_runner(tmp_path / 'one', running))) == 1
    config = dict(type='mmrecall.SkippedStepHook', priority='LOW')
    assert [hook.priority for hook in skipped_step_hooks(small_runner(tmp_path / 'two', running, [config]))] == ['LOW']
    assert skipped_step_hooks(small_runner(tmp_path / 'three', RecallLoss())) == []


@pytest.mark.parametrize('given', [[], [dict(type='mmrecall.ClassCountsHook')]])
def test_a_flexible_runner_gets_the_same(given, tmp_path):
    loss = torch.nn.ModuleList([automatic(), RecallLoss(alpha=0.5, num_classes=3)])
    loss.forward = lambda logits, label: sum(one(logits, label) for one in loss)
    runner = FlexibleRunner(
        model=Model(loss),
        work_dir=str(tmp_path / 'work'),
        strategy=dict(type='SingleDeviceStrategy'),
        train_dataloader=DataLoader(Flowers(), batch_size=4),
        train_cfg=dict(by_epoch=True, max_epochs=1),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
        custom_hooks=given,
        log_level='WARNING',
    )
    runner.train()
    assert loss[0].class_counts.counts.tolist() == [5, 2, 1]
    assert len(class_counts_hooks(runner)) == len(skipped_step_hooks(runner)) == 1


def test_installing_again_changes_nothing():
    before = Runner.register_hooks
    install_hooks_of_losses()
    assert Runner.register_hooks is before
    assert before.__doc__ == before.__wrapped__.__doc__


def stock(toolbox):
    """Folder of a toolbox's own configs and tools."""
    return Path(pytest.importorskip(toolbox).__file__).parent / '.mim'


CHANGED_LINE = (
    "model = dict({head}=dict({loss}=dict(type='mmrecall.WeightedCrossEntropyLoss', _delete_=True,\n"
    "  class_weight='inverse_frequency', class_counts='auto', num_classes={num_classes})))\n"
)
STEPS = "train_cfg = dict(_delete_=True, type='IterBasedTrainLoop', max_iters=1, val_interval=10)\n"


def test_mmsegs_own_trainer_counts(tmp_path):
    synthetic_data.cityscapes(tmp_path / 'cityscapes')
    base = stock('mmseg') / 'configs' / 'deeplabv3' / 'deeplabv3_r18-d8_4xb2-80k_cityscapes-512x1024.py'
    config = tmp_path / 'config.py'
    config.write_text(
        f"_base_ = '{base}'\n"
        + CHANGED_LINE.format(head='decode_head', loss='loss_decode', num_classes=19)
        + f'{STEPS}train_dataloader = dict(num_workers=0, persistent_workers=False,\n'
        f"  dataset=dict(data_root='{tmp_path / 'cityscapes'}'))\n"
        'val_dataloader = val_evaluator = val_cfg = None\n'
    )
    status, output = run(
        'python', stock('mmseg') / 'tools' / 'train.py', config, '--work-dir', tmp_path / 'work', '--cfg-options',
        'model.pretrained=None', 'model.data_preprocessor.size=(64,64)',
        'train_dataloader.dataset.pipeline.2.scale=(128,64)', 'train_dataloader.dataset.pipeline.3.crop_size=(64,64)',
    )  # fmt: skip
    assert status == 0, output[-3000:]
    state = torch.load(tmp_path / 'work' / 'iter_1.pth', map_location='cpu', weights_only=False)['state_dict']
    expected = pixels_of_cityscapes(tmp_path / 'cityscapes')
    assert state['decode_head.loss_decode.class_counts.counts'].tolist() == expected
    (file,) = (tmp_path / 'work').glob('class_counts-*.json')
    assert json.loads(file.read_text())['counts'] == expected


def pixels_of_cityscapes(root):
    labels = [cv2.imread(str(path), cv2.IMREAD_UNCHANGED) for path in root.glob('gtFine/train/*/*labelTrainIds.png')]
    assert len(labels) == 4
    return np.bincount(np.concatenate(labels).ravel(), minlength=256)[:19].tolist()


def test_mmpretrains_own_trainer_counts(tmp_path):
    synthetic_data.image_folder(tmp_path / 'images')
    base = stock('mmpretrain') / 'configs' / 'resnet' / 'resnet18_8xb32_in1k.py'
    config = tmp_path / 'config.py'
    config.write_text(
        f"_base_ = '{base}'\n"
        + CHANGED_LINE.format(head='head', loss='loss', num_classes=3)
        + f'{STEPS}model["head"]["num_classes"] = 3\nparam_scheduler = None\nrandomness = dict(seed=0)\n'
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
    assert state['head.loss_module.class_counts.counts'].tolist() == [4, 4, 4]
