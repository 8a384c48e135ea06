"""Class weights that begin late in training."""

import sys

import torch
from mmengine.hooks import Hook
from mmengine.runner import IterBasedTrainLoop, Runner
from torch import nn

from mmrecall.registry import HOOKS, register


@register(HOOKS)
class DeferredReweightingHook(Hook):
    """Hook for deferred re-weighting (DRW): the losses use their class weights only from a given epoch on.

    Cao et al., "Learning Imbalanced Datasets with Label-Distribution-Aware Margin Loss", NeurIPS 2019, section 3.3:
    first the features are learned with all samples alike, then the rare classes get their weights. The hook works on
    every loss with an attribute ``reweighting``: `WeightedCrossEntropyLoss`, `LDAMLoss` and the region losses. It keeps
    no state, so it is right after a resume as well.

    Args:
        begin: the first epoch, or iteration, with class weights, counted from 0. The authors: epoch 160 of 200.
        by_epoch: whether ``begin`` is an epoch.

    Raises:
        ValueError: ``begin`` is negative, no loss with ``reweighting`` has a ``class_weight``, or epochs are asked of a
            loop that counts iterations.

    Example:
        >>> DeferredReweightingHook(begin=160).begin
        160
    """

    def __init__(self, begin: int, by_epoch: bool = True) -> None:
        if begin < 0:
            raise ValueError(f'got begin={begin}; expected an epoch or iteration, at least 0')
        self.begin = begin
        self.by_epoch = by_epoch

    def before_train(self, runner: Runner) -> None:
        """Check that the model has a loss to switch, and that the switch comes before the end."""
        if not _losses(runner.model):
            raise ValueError(
                'DeferredReweightingHook found no loss with class weights to defer; use WeightedCrossEntropyLoss or '
                "LDAMLoss with class_weight='effective_number' and class_counts='auto', or leave the hook out"
            )
        if self.by_epoch and isinstance(runner.train_loop, IterBasedTrainLoop):
            raise ValueError(
                f'begin={self.begin} is an epoch, but this training counts iterations; set by_epoch=False and begin to '
                'an iteration'
            )
        end = runner.train_loop.max_epochs if self.by_epoch else runner.train_loop.max_iters
        if self.begin >= end:
            runner.logger.warning(
                f'DeferredReweightingHook: begin={self.begin}, but the training ends after {end} '
                f'{"epochs" if self.by_epoch else "iterations"}; no class weight will ever be used'
            )

    def before_train_epoch(self, runner: Runner) -> None:
        """Switch the losses, if ``begin`` is an epoch."""
        if self.by_epoch:
            self._switch(runner.model, runner.epoch)

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: object = None) -> None:
        """Switch the losses, if ``begin`` is an iteration."""
        if not self.by_epoch:
            self._switch(runner.model, runner.iter)

    def _switch(self, model: nn.Module, now: int) -> None:
        changed = [loss for loss in _losses(model) if loss.reweighting != (now >= self.begin)]
        for loss in changed:
            loss.reweighting = now >= self.begin
        # PyTorch 2.1 does not look again at the attributes of a module that it has compiled.
        if changed and 'torch._dynamo' in sys.modules:
            torch.compiler.reset()


def _losses(model: nn.Module) -> list[nn.Module]:
    return [module for module in model.modules() if hasattr(module, 'reweighting') and module.class_weight is not None]
