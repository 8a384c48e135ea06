"""Class means of the training set, with which the memory of OLTR begins."""

from collections.abc import Mapping
from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmrecall.engine.feature_pass import check_once, fill_class_means, renew_averages
from mmrecall.engine.runner import unwrap_model
from mmrecall.registry import HOOKS, register


@register(HOOKS)
class ClassMemoryHook(Hook):
    """Hook that fills the memory of an `OLTRHead` with the mean feature of every class, before the first iteration.

    The means take one pass over the training set on all ranks, in evaluation mode. A memory that came with a
    checkpoint, of a resumed training for example, stays as it is. Liu et al., "Large-scale long-tailed recognition in
    an open world", CVPR 2019.

    Args:
        dataloader: config of a loader that yields every training image once, with the test pipeline.

    Raises:
        ValueError: before training, another head, a sampler that repeats or leaves out images, a label that is no
            class, or features that are not finite.

    Example:
        >>> train_set = dict(type='mmrecall.PlacesLT', data_root='data/places365', ann_file='Places_LT_train.txt')
        >>> loader = dict(
        ...     batch_size=64,
        ...     num_workers=8,
        ...     sampler=dict(type='DefaultSampler', shuffle=False, round_up=False),
        ...     dataset=dict(train_set, pipeline=[dict(type='LoadImageFromFile'), dict(type='PackInputs')]),
        ... )
        >>> custom_hooks = [dict(type='mmrecall.ClassMemoryHook', dataloader=loader)]
    """

    # The hook runs before others that read the weights with which a training begins.
    priority = 'VERY_HIGH'

    def __init__(self, dataloader: Mapping[str, Any]) -> None:
        self.dataloader = dataloader

    def before_train(self, runner: Runner) -> None:
        """Fill the memory, unless a checkpoint has filled it."""
        model = unwrap_model(runner)
        head = getattr(model, 'head', None)
        # The type cannot be asked for, because its module needs mmpretrain.
        if not hasattr(head, 'is_filled'):
            raise ValueError(f'ClassMemoryHook is for an OLTRHead, but the head is a {type(head).__name__}')
        if not hasattr(model, 'attention'):
            raise ValueError(
                f"got a model of type {type(model).__name__} with an OLTRHead; set model.type='mmrecall.OLTR'"
            )
        if head.is_filled:
            return
        model.check_features()
        loader = runner.build_dataloader(dict(self.dataloader), seed=runner.seed)
        check_once(loader, 'dataloader')
        images, trained = len(loader.dataset), len(runner.train_loop.dataloader.dataset)
        if images != trained:
            runner.logger.warning(
                f'ClassMemoryHook: the dataloader has {images} images, train_dataloader has {trained}; are both of the '
                'training set?'
            )
        # The loop switches back to training mode when an epoch begins.
        model.eval()
        with torch.no_grad():
            fill_class_means(model, loader, runner.logger)
        renew_averages(runner)
