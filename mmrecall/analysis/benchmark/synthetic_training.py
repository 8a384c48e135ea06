"""Trainings of mmseg's stock models on random images that need no data set and no checkpoint."""

from collections.abc import Iterator
from typing import Any

import torch
from mmengine.config import Config
from mmengine.structures import PixelData
from torch.utils.data import Dataset

from mmrecall.analysis.benchmark.inputs import make_labels
from mmrecall.registry import DATASETS, HOOKS
from mmrecall.upstream import missing, require, stock_config

IGNORED = 255
# Share of the pixels.
_IGNORED_SHARE = 0.1
LOW_RESOLUTION = 'RecallLoss, low resolution'
LOSSES = ('CrossEntropyLoss', 'RecallLoss', LOW_RESOLUTION)
_HOOK = 'mmrecall.LowResolutionLossHook'
# Name: config of mmseg, batch size, number of classes, height and width.
_MODELS: dict[str, tuple[str, int, int, tuple[int, int]]] = {
    'deeplabv3-r50': ('deeplabv3/deeplabv3_r50-d8_4xb2-40k_cityscapes-512x1024', 4, 19, (512, 1024)),
    'segformer-b0': ('segformer/segformer_mit-b0_8xb2-160k_ade20k-512x512', 8, 150, (512, 512)),
}
MODELS = tuple(_MODELS)


@DATASETS.register_module()
class SyntheticPixels(Dataset):
    """Random images with long-tailed labels, packed as by mmseg's transforms.

    Args:
        length: number of images.
        num_classes: number of classes; a tenth of the pixels are ignored (label 255).
        size: height and width.
    """

    def __init__(self, length: int, num_classes: int, size: tuple[int, int]) -> None:
        self.length = length
        self.size = tuple(size)
        self.num_classes = num_classes
        self.metainfo = dict(classes=[f'class {number}' for number in range(num_classes)])

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Return the image and the labels of an index, the same in every call."""
        require('mmseg.structures')
        from mmseg.structures import SegDataSample

        if index >= self.length:
            raise IndexError(index)
        generator = torch.Generator().manual_seed(index)
        shares = 100 ** -torch.linspace(0, 1, self.num_classes, dtype=torch.float64)
        labels = make_labels((1, self.num_classes, *self.size), shares, generator)
        labels[torch.rand(labels.shape, generator=generator) < _IGNORED_SHARE] = IGNORED
        image = torch.randint(0, 256, (3, *self.size), dtype=torch.uint8, generator=generator)
        metainfo = dict(img_shape=self.size, ori_shape=self.size)
        return dict(inputs=image, data_samples=SegDataSample(gt_sem_seg=PixelData(data=labels), metainfo=metainfo))


def describe_model(model: str) -> str:
    """Return the name of a model and the sizes of its batch.

    Example:
        >>> describe_model('segformer-b0')
        'segformer-b0, 8 x 512 x 512, 150 classes'
    """
    _, batch_size, num_classes, (height, width) = _MODELS[model]
    return f'{model}, {batch_size} x {height} x {width}, {num_classes} classes'


def why_not(loss: str) -> str | None:
    """Return the reason why a loss of `LOSSES` cannot be trained with this version, or None."""
    missing('mmrecall.engine')
    return f'there is no {_HOOK}' if loss == LOW_RESOLUTION and HOOKS.get(_HOOK) is None else None


def synthetic_config(
    model: str,
    loss: str,
    dtype: str = 'float32',
    num_batches: int = 4,
    batch_size: int | None = None,
    size: tuple[int, int] | None = None,
) -> Config:
    """Return the config of a model of mmseg, from random weights, with synthetic data and one of the losses.

    Args:
        model: one of `MODELS`.
        loss: one of `LOSSES`.
        dtype: ``'bfloat16'`` trains with autocast, which needs a GPU.
        num_batches: number of batches.
        batch_size: images of a batch; by default that of the benchmark.
        size: height and width; by default that of the benchmark.
    """
    name, default_batch_size, num_classes, default_size = _MODELS[model]
    size, batch_size = size or default_size, batch_size or default_batch_size
    config = Config.fromfile(stock_config('mmseg', name))
    _train_alone(config, dtype)
    dataset = dict(type='mmrecall.SyntheticPixels', length=num_batches * batch_size, num_classes=num_classes, size=size)
    config.train_dataloader = dict(
        batch_size=batch_size, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=False), dataset=dataset
    )
    config.model.data_preprocessor.size = size
    config.model.pretrained = None
    config.model.backbone.init_cfg = None
    for part in _parts(config.model):
        if 'norm_cfg' in part and part.norm_cfg.type == 'SyncBN':
            part.norm_cfg.type = 'BN'
        if 'loss_decode' in part:
            part.num_classes = num_classes
            if loss != 'CrossEntropyLoss':
                part.loss_decode = dict(type='mmrecall.RecallLoss', loss_weight=part.loss_decode.loss_weight)
    config.custom_hooks = [dict(type=_HOOK)] if loss == LOW_RESOLUTION else []
    return config


def _train_alone(config: Config, dtype: str) -> None:
    """Leave out validation, test and checkpoints, and train in the type."""
    for name in ('val', 'test'):
        for part in ('dataloader', 'evaluator', 'cfg'):
            config[f'{name}_{part}'] = None
    config.param_scheduler = None
    config.load_from = None
    config.default_hooks = dict(checkpoint=None)
    config.visualizer = None
    if dtype != 'float32':
        config.optim_wrapper.type = 'AmpOptimWrapper'
        config.optim_wrapper.dtype = dtype


def _parts(model: Config) -> Iterator[Config]:
    yield model.backbone
    for name in ('decode_head', 'auxiliary_head'):
        part = model.get(name) or []
        yield from part if isinstance(part, list) else [part]
