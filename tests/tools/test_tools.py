"""The tools as a user calls them, on made data."""

import re

import made_data
import pytest
from commands import free_port, run

CONFIG = 'deeplabv3_r18w32-d16_1xb8-recall-1k_camvid-180x240.py'

# config, what makes its data, the last class that its test prints, and options which make it small
COUNTING = {
    'cityscapes': (
        'deeplabv3_r18-d16_1xb6-weighted-ce-90k_cityscapes-769x769.py',
        made_data.cityscapes,
        'bicycle',
        [
            'train_dataloader.dataset.pipeline.2.scales=[(128,64),(256,128)]',
            'train_dataloader.dataset.pipeline.3.crop_size=(64,64)',
            'model.data_preprocessor.size=(64,64)',
        ],
    ),
    'synthia': (
        'deeplabv3_r18-d16_1xb6-balanced-ce-100k_synthia-384x768.py',
        made_data.synthia,
        'traffic light',
        [
            'train_dataloader.dataset.pipeline.2.scale=(64,32)',
            'val_dataloader.dataset.pipeline.1.scale=(64,32)',
            'test_dataloader.dataset.pipeline.1.scale=(64,32)',
            'model.data_preprocessor.size=(32,64)',
        ],
    ),
}


@pytest.fixture(scope='module')
def small(tmp_path_factory):
    """The small CamVid config, smaller: what follows ``--cfg-options``."""
    pytest.importorskip('mmseg')
    root = tmp_path_factory.mktemp('camvid')
    made_data.camvid(root)
    options = ['data_preprocessor.size=(48,64)', 'model.data_preprocessor.size=(48,64)', 'train_cfg.max_iters=2']
    options += ['train_cfg.val_interval=2', 'default_hooks.logger.interval=1', 'train_dataloader.batch_size=2']
    options += ['train_dataloader.dataset.pipeline.2.scale=(64,48)', 'model.backbone.base_channels=8']
    options += ['model.backbone.stem_channels=8', 'model.decode_head.in_channels=64', 'model.decode_head.channels=8']
    for split in ('train', 'val', 'test'):
        options += [f'{split}_dataloader.{key}' for key in ('num_workers=0', 'persistent_workers=False')]
        options += [f'{split}_dataloader.dataset.data_root={root}/']
    return options


@pytest.fixture
def config(repository):
    """Path of the small CamVid config."""
    return repository / 'configs' / 'deeplabv3' / CONFIG


def test_train_then_test_hand_over_to_the_stock_tools(repository, config, small, tmp_path):
    tools = repository / 'tools'
    status, output = run(
        'python', tools / 'train.py', config, '--work-dir', tmp_path, '--cfg-options', *small
    )  # fmt: skip
    assert status == 0, output[-3000:]
    assert re.search(r'Iter\(train\).*decode\.loss_recall: \d', output)
    assert re.search(r'Iter\(val\).*mIoU: \d', output)
    status, output = run(
        'python', tools / 'test.py', config, tmp_path / 'iter_2.pth', '--work-dir', tmp_path, '--cfg-options', *small
    )  # fmt: skip
    assert status == 0, output[-3000:]
    assert re.search(r'Bicyclist\s*\|', output)
    assert re.search(r'Iter\(test\).*mAcc: \d', output)


@pytest.mark.parametrize('data', COUNTING)
def test_losses_that_count_the_training_set_train_and_test(data, repository, tmp_path):
    pytest.importorskip('mmseg')
    name, make, last_class, options = COUNTING[data]
    config, tools, work = repository / 'configs' / 'deeplabv3' / name, repository / 'tools', tmp_path / 'work'
    make(tmp_path / 'data')
    options = [*options, 'train_cfg.max_iters=2', 'train_cfg.val_interval=2', 'default_hooks.logger.interval=1']
    options += ['model.backbone.init_cfg=None', 'model.backbone.base_channels=8', 'model.backbone.stem_channels=8']
    options += ['model.decode_head.in_channels=64', 'model.decode_head.channels=8']
    # SyncBN needs a GPU
    options += ['model.backbone.norm_cfg.type=BN', 'model.decode_head.norm_cfg.type=BN']
    for split in ('train', 'val', 'test'):
        options += [f'{split}_dataloader.{key}' for key in ('num_workers=0', 'persistent_workers=False')]
        options += [f'{split}_dataloader.dataset.data_root={tmp_path}/data/']
    status, output = run('python', tools / 'train.py', config, '--work-dir', work, '--cfg-options', *options)
    assert status == 0, output[-3000:]
    assert re.search(r'Iter\(train\) \[2/2\].* loss: \d', output)
    assert re.search(r'Iter\(val\).*mIoU: \d', output)
    status, output = run(
        'python', tools / 'test.py', config, work / 'iter_2.pth', '--work-dir', work, '--cfg-options', *options
    )
    assert status == 0, output[-3000:]
    assert re.search(rf'{last_class}\s*\|', output)
    assert re.search(r'Iter\(test\).*mAcc: \d', output)


def test_two_cpu_ranks_train_and_evaluate(repository, config, small, tmp_path):
    tools = repository / 'tools'
    status, output = run(
        'bash',
        tools / 'dist_train.sh',
        config,
        2,
        '--work-dir',
        tmp_path,
        '--cfg-options',
        *small,
        PORT=free_port(),
        CUDA_VISIBLE_DEVICES='-1',
    )
    assert status == 0, output[-3000:]
    assert 'Distributed training: True' in output
    assert 'GPU number: 2' in output
    assert re.search(r'Iter\(val\).*mIoU: \d', output)
    status, output = run(
        'bash', tools / 'dist_test.sh', config, tmp_path / 'iter_2.pth', 2, '--work-dir', tmp_path,
        '--cfg-options', *small, PORT=free_port(), CUDA_VISIBLE_DEVICES='-1',
    )  # fmt: skip
    assert status == 0, output[-3000:]
    assert re.search(r'Iter\(test\).*mAcc: \d', output)


@pytest.mark.parametrize('tool', ['train', 'test'])
def test_slurm_commands_have_mmsegs_order_and_variables(repository, tool, tmp_path):
    srun = tmp_path / 'srun'
    srun.write_text('#!/bin/sh\necho "$@"\n')
    srun.chmod(0o755)
    checkpoint = ['c.pth'] if tool == 'test' else []
    status, output = run(
        'env', f'PATH={tmp_path}:/usr/bin:/bin', 'GPUS=8', 'GPUS_PER_NODE=4', 'CPUS_PER_TASK=6',
        'SRUN_ARGS=--quotatype=spot', 'bash', repository / 'tools' / f'slurm_{tool}.sh', 'gpu', 'job', 'c.py',
        *checkpoint, '--resume',
    )  # fmt: skip
    assert status == 0, output
    words = output.split()
    for word in ('--job-name=job', '--gres=gpu:4', '--ntasks=8', '--ntasks-per-node=4', '--cpus-per-task=6'):
        assert word in words
    assert '--quotatype=spot' in words
    assert words[:2] == ['-p', 'gpu']
    assert words[-4 - len(checkpoint) :] == ['c.py', *checkpoint, '--launcher', 'slurm', '--resume']


@pytest.mark.parametrize('script', ['dist_train', 'dist_test', 'slurm_train', 'slurm_test'])
def test_scripts_without_arguments_say_how_they_are_used(repository, script):
    status, output = run('bash', repository / 'tools' / f'{script}.sh')
    assert status == 2
    assert output.startswith('usage: ')
