"""The config of LVIS, trained by the stock tool of mmdet on synthetic boxes."""

import json
import os
from pathlib import Path

import pytest
import synthetic_data
import torch
from commands import run
from mmengine.config import Config
from mmengine.registry import DATASETS

from mmrecall.datasets import count_labels

CONFIG = Path('configs') / 'faster_rcnn' / 'faster-rcnn_r50-fpn_8xb2-recall-ema0.01-24e_lvis-v1.py'
# the tool itself would import mmdet before a config can bring the stand-ins
TRAIN = """
import sys, without_compiled_ops
from mmrecall.engine import run_stock_tool
run_stock_tool('train', sys.argv[1:])
"""
DATASET = 'train_dataloader.dataset.dataset'
OPTIONS = (
    f'{DATASET}.pipeline.2.scales=[(64,64)]', 'train_dataloader.num_workers=0',
    'train_dataloader.persistent_workers=False', 'val_dataloader=None', 'val_evaluator=None', 'val_cfg=None',
    'train_cfg.max_epochs=1', 'default_hooks.logger.interval=1', 'default_hooks.class_weight.interval=1',
    'model.backbone.init_cfg=None', 'model.backbone.depth=18', 'model.neck.in_channels=[64,128,256,512]',
    'model.neck.out_channels=16', 'model.rpn_head.in_channels=16', 'model.rpn_head.feat_channels=16',
    'model.roi_head.bbox_roi_extractor.out_channels=16', 'model.roi_head.bbox_head.in_channels=16',
    'model.roi_head.bbox_head.fc_out_channels=16', 'model.roi_head.bbox_roi_extractor.roi_layer.use_torchvision=True',
    'model.train_cfg.rpn_proposal.nms_pre=100', 'model.train_cfg.rcnn.sampler.num=32',
)  # fmt: skip


def train(root, work, *options):
    """Status and output of the stock tool, run on one process with the data in ``root``."""
    here = Path(__file__).parent
    options = [*OPTIONS, f'{DATASET}.data_root={root}/', *options]
    path = os.pathsep.join([str(here), os.environ.get('PYTHONPATH', '')])
    config = here.parents[1] / CONFIG
    return run('python', '-c', TRAIN, config, '--work-dir', work, '--cfg-options', *options, PYTHONPATH=path)


def test_the_config_of_lvis_trains(tmp_path):
    synthetic_data.lvis(tmp_path / 'lvis')
    status, output = train(tmp_path / 'lvis', tmp_path / 'work')
    assert status == 0, output[-3000:]
    state = torch.load(tmp_path / 'work' / 'epoch_1.pth', map_location='cpu', weights_only=False)['state_dict']
    assert state['roi_head.bbox_head.loss_cls.recall'].shape == (1204,)
    scalars = next((tmp_path / 'work').rglob('scalars.json')).read_text().splitlines()
    logged = {name for line in scalars for name in json.loads(line)}
    # the background is the last class
    assert {'loss_cls', 'acc', 'class_weight/roi_head.bbox_head.loss_cls/1203'} <= logged


def test_boxes_are_not_counted(tmp_path, repository):
    datasets = pytest.importorskip('mmdet.datasets')
    synthetic_data.lvis(tmp_path / 'lvis')
    options = Config.fromfile(repository / CONFIG).train_dataloader.dataset.dataset
    del options['type']
    with DATASETS.switch_scope_and_registry('mmdet'):
        data = datasets.LVISV1Dataset(**{**options, 'data_root': str(tmp_path / 'lvis')})
    with pytest.raises(ValueError, match=r'got a LVISV1Dataset, .*instances.*set class_counts to a list or a file'):
        count_labels(data)
