"""The residual networks for CIFAR of the ResNet paper."""

from typing import Any

from mmpretrain.models.backbones import ResNet_CIFAR
from mmpretrain.models.backbones.resnet import BasicBlock
from torch import Tensor, nn
from torch.nn import functional as F

from mmrecall.registry import MODELS, register


class ZeroPaddedShortcut(nn.Module):
    """Every ``stride``-th row and column, with ``added`` channels of zeros after those of the input."""

    def __init__(self, added: int, stride: int) -> None:
        super().__init__()
        self.added = added
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, C + added, H / stride, W / stride), rounded up."""
        return F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.added))


class ZeroPaddedBlock(BasicBlock):
    """Basic block of two 3x3 convolutions whose shortcut has no weights."""

    def __init__(
        self, in_channels: int, out_channels: int, downsample: nn.Module | None = None, **options: Any
    ) -> None:
        if downsample is not None:
            downsample = ZeroPaddedShortcut(out_channels - in_channels, options['stride'])
        super().__init__(in_channels, out_channels, downsample=downsample, **options)


@register(MODELS)
class CifarResNet(ResNet_CIFAR):
    """Residual network for images of 32x32: 6n + 2 layers, three stages of n blocks with 16, 32 and 64 channels.

    He et al., "Deep residual learning for image recognition", CVPR 2016, section 4.2. ResNet-32, with which results on
    long-tailed CIFAR are published, has 464,154 weights with a linear layer for ten classes. Where a stage begins, the
    shortcut takes every second row and column and appends channels of zeros, and has no weights (option A of the
    paper). mmpretrain's `ResNet_CIFAR` is another network: four stages with 64 to 512 channels, and convolutions in the
    shortcuts.

    Args:
        depth: number of layers 6n + 2: 20, 32, 44, 56 or 110.
        base_channels: channels of the first convolution and of the first stage.
        init_cfg: by default, normal weights of variance 2 / fan-in, as the paper's.
        options: ``frozen_stages``, ``norm_cfg``, ``norm_eval``, ``with_cp`` and others of mmpretrain's `ResNet`.

    Shape:
        - x: (N, 3, H, W).
        - output: a tuple of the last stage's map, (N, 4 base_channels, H / 4, W / 4), rounded up.

    Raises:
        ValueError: another depth.

    Example:
        >>> import torch
        >>> (features,) = CifarResNet(depth=32)(torch.zeros(2, 3, 32, 32))
        >>> features.shape
        torch.Size([2, 64, 8, 8])
    """

    arch_settings = {depth: (ZeroPaddedBlock, ((depth - 2) // 6,) * 3) for depth in (20, 32, 44, 56, 110)}

    def __init__(self, depth: int, base_channels: int = 16, init_cfg: dict | None = None, **options: Any) -> None:
        if depth not in self.arch_settings:
            raise ValueError(f'got depth={depth}; expected one of {", ".join(map(str, self.arch_settings))}')
        if init_cfg is None:
            init_cfg = dict(type='Kaiming', layer='Conv2d', mode='fan_in')
        super().__init__(
            depth,
            stem_channels=base_channels,
            base_channels=base_channels,
            num_stages=3,
            strides=(1, 2, 2),
            dilations=(1, 1, 1),
            out_indices=(2,),
            zero_init_residual=False,
            init_cfg=init_cfg,
            **options,
        )
