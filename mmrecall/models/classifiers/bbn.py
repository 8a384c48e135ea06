"""BBN, a classifier whose backbone ends in two branches."""

import copy
from typing import Any

import torch
from mmpretrain.models import ImageClassifier
from mmpretrain.structures import DataSample
from torch import Tensor, nn

from mmrecall.registry import MODELS, register


@register(MODELS)
class BBN(ImageClassifier):
    """Bilateral-branch network: one trunk with two copies of its last residual block, one for each sampling.

    Zhou et al., "BBN: Bilateral-Branch Network with Cumulative Learning for Long-Tailed Visual Recognition", CVPR 2020.
    In training, uniform images go through the conventional block, images of a reversed sampling through the
    re-balancing one, and `BBNHead` mixes their features and losses; in evaluation every image goes through both. Needs
    three more lines: ``head=dict(type='mmrecall.BBNHead')``, ``sampler=dict(type='mmrecall.BilateralSampler')`` and
    ``custom_hooks=[dict(type='mmrecall.CumulativeLearningHook')]``. ``batch_size`` counts both kinds of images.

    Unlike in the authors' code, uniform and reversed images form one batch for the batch normalisation of the trunk
    (the authors run two, one after the other), and the weights of a plain checkpoint, as ``Pretrained`` or
    ``load_from``, go into both blocks (the authors begin both at random); without a checkpoint both are random, and
    differ.

    Args:
        backbone: a `ResNet` or a subclass, with the last stage as its only output, and not frozen.
        options: arguments of mmpretrain's `ImageClassifier`.

    Shape:
        - inputs: (2N, 3, H, W) in training, uniform and reversed images alternating; (N, 3, H, W) in evaluation.

    Raises:
        ValueError: a backbone that is no ResNet, or has other outputs than the last stage; batch augmentation, which
            would mix the images of both kinds; in training, an odd number of images.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        if getattr(self.data_preprocessor, 'batch_augments', None) is not None:
            raise ValueError(
                'BBN cannot train with batch augmentation (mixup, cutmix), which mixes uniform images with reversed '
                'ones; leave train_cfg.augments out of the model'
            )
        _double_last_block(self.backbone)

    def loss(self, inputs: Tensor, data_samples: list[DataSample]) -> dict[str, Any]:
        """Return the losses of the head, for pairs of a uniform and a reversed image."""
        if len(data_samples) % 2:
            raise ValueError(
                f'a batch has {len(data_samples)} images, but BBN takes pairs of a uniform and a reversed one: set '
                "train_dataloader.sampler=dict(type='mmrecall.BilateralSampler') and train_dataloader.batch_size to an "
                'even number'
            )
        halves = torch.cat([inputs[0::2], inputs[1::2]])
        return super().loss(halves, [*data_samples[0::2], *data_samples[1::2]])


class BilateralBlock(nn.Module):
    """A residual block and its twin.

    In training the first half of a batch goes through ``conventional``, the second through ``rebalancing``; in
    evaluation everything goes through both, and their channels come one after the other.
    """

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.conventional = block
        self.rebalancing = _with_other_weights(block)

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, D, H, W) features in training, (N, 2D, H, W) in evaluation."""
        if not self.training:
            return torch.cat([self.conventional(x), self.rebalancing(x)], dim=1)
        uniform, reversed_ = x.chunk(2)
        return torch.cat([self.conventional(uniform), self.rebalancing(reversed_)])

    def _load_from_state_dict(self, state_dict: dict[str, Tensor], prefix: str, *arguments: Any) -> None:
        branches = tuple(f'{prefix}{name}.' for name in self._modules)
        plain = [name for name in state_dict if name.startswith(prefix) and not name.startswith(branches)]
        for name in plain:
            value = state_dict.pop(name)
            for branch in branches:
                # Without a copy, load_state_dict(assign=True) would tie the two.
                state_dict[branch + name.removeprefix(prefix)] = value.clone()
        super()._load_from_state_dict(state_dict, prefix, *arguments)


def _with_other_weights(block: nn.Module) -> nn.Module:
    """Return a copy with newly drawn weights, which differ even if `init_weights` leaves them alone."""
    twin = copy.deepcopy(block)
    for module in twin.modules():
        if hasattr(module, 'reset_parameters'):
            module.reset_parameters()
    return twin


def _double_last_block(backbone: nn.Module) -> None:
    name = type(backbone).__name__
    stages = getattr(backbone, 'res_layers', None)
    if not stages:
        raise ValueError(
            f'got a backbone of type {name}, which has no res_layers; expected ResNet or a subclass, such as ResNeXt '
            'or SEResNet, because BBN duplicates its last residual block'
        )
    last = len(stages) - 1
    if tuple(backbone.out_indices) != (last,):
        raise ValueError(
            f'backbone.out_indices of the {name} is {tuple(backbone.out_indices)}; BBN has branches in the last stage '
            f'alone, set it to ({last},)'
        )
    if getattr(backbone, 'frozen_stages', -1) > last:
        raise ValueError(
            f'backbone.frozen_stages is {backbone.frozen_stages}, which freezes the branches of BBN in the last stage; '
            f'set it to at most {last}'
        )
    stage = getattr(backbone, stages[last])
    stage[-1] = BilateralBlock(stage[-1])
