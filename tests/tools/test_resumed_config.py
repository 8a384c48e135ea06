"""The hooks for killed runs are on in our configs."""

import pytest
import torch
from commands import run
from small_training import small_camvid

CONFIG = 'deeplabv3_r18w32-d16_1xb8-recall-ema0.1-1k_camvid-180x240.py'


def test_a_config_of_ours_resumes_exactly_with_workers_crops_and_dropout(repository, tmp_path):
    pytest.importorskip('mmseg')

    small = small_camvid(tmp_path / 'camvid')

    def weights_after(work, iterations, *flags):
        options = [*small, f'train_cfg.max_iters={iterations}', 'default_hooks.checkpoint.interval=2']
        options += ['train_dataloader.num_workers=1', 'val_dataloader=None', 'val_cfg=None', 'val_evaluator=None']
        config = repository / 'configs' / 'deeplabv3' / CONFIG
        tool = repository / 'tools' / 'train.py'
        status, output = run('python', tool, config, '--work-dir', tmp_path / work, *flags, '--cfg-options', *options)
        assert status == 0, output[-3000:]
        checkpoint = torch.load(tmp_path / work / f'iter_{iterations}.pth', weights_only=False)
        return checkpoint['state_dict']

    whole = weights_after('whole', 4)
    weights_after('parts', 2)
    resumed = weights_after('parts', 4, '--resume')
    assert all(resumed[name].equal(value) for name, value in whole.items())
