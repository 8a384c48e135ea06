"""Backbones for mmpretrain's image classifiers."""

from mmrecall.upstream import require

require('mmpretrain.models')

from .cifar_resnet import CifarResNet  # noqa: E402

__all__ = ['CifarResNet']
