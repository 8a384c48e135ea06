"""Attention of OLTR between backbone and pooling."""

import torch
from mmcv.cnn import NonLocal2d
from mmengine.model import BaseModule, kaiming_init
from torch import Tensor, nn


class ModulatedAttention(BaseModule):
    """Modulated attention: x + SA(x) ⊙ MA(x), self-attention that another attention switches on in some places.

    SA is a non-local block, MA a softmax over the places of a fully connected layer on the whole map. Liu et al.,
    "Large-scale long-tailed recognition in an open world", CVPR 2019. The last convolution of SA begins with zeros, so
    that at first the output is x; other than in the authors' code it has a bias.

    Args:
        in_channels: channels of the map.
        size: height and width of the map, in places.

    Shape:
        - x: (N, in_channels, height, width); computed in the weights' dtype, never in autocast's.
        - output: the same.

    Raises:
        ValueError: a map of other channels, height or width.
    """

    def __init__(self, in_channels: int, size: tuple[int, int]) -> None:
        super().__init__()
        self.shape = (in_channels, *size)
        places = size[0] * size[1]
        self.self_attention = NonLocal2d(in_channels, reduction=2, use_scale=False)
        self.places = nn.Linear(in_channels * places, places)

    def init_weights(self) -> None:
        """Weights as the authors begin with."""
        super().init_weights()
        for layer in ('theta', 'phi', 'g'):
            kaiming_init(getattr(self.self_attention, layer).conv, mode='fan_in')

    def forward(self, x: Tensor) -> Tensor:
        """The map, attended to."""
        if tuple(x.shape[1:]) != self.shape:
            raise ValueError(
                f'the features are of {tuple(x.shape[1:])} (channels, height, width), but the attention was built for '
                f'{self.shape}; set model.feature_size, which belongs to one size of images, and model.head.in_channels'
            )
        with torch.autocast(x.device.type, enabled=False):
            x = x.to(self.places.weight.dtype)
            modulation = self.places(x.flatten(1)).softmax(1).reshape(-1, 1, *self.shape[1:])
            # the block has its input added already
            return x + modulation * (self.self_attention(x) - x)
