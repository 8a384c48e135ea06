"""The second stage of OLTR, open long-tailed recognition."""

from typing import Any

import torch
from mmcv.cnn import NonLocal2d
from mmengine.model import BaseModule, kaiming_init
from torch import Tensor, nn

from mmrecall.models.classifiers.second_stage import SecondStageClassifier
from mmrecall.registry import MODELS, register


@register(MODELS)
class OLTR(SecondStageClassifier):
    """The second stage of OLTR: modulated attention on the features of a first stage, and an `OLTRHead`.

    Liu et al., "Large-scale long-tailed recognition in an open world", CVPR 2019. Backbone, neck and hallucinator begin
    as those of the first stage, the memory with its class centroids, for which `ClassMemoryHook` goes through the
    training set once. The attention has no effect at the beginning, so these are the centroids of stage one to the last
    bit.

    Args:
        first_stage: checkpoint of any trained `ImageClassifier` with the same backbone and neck and a linear
            classifier; read when a training begins or goes on, and not for testing.
        feature_size: height and width of the backbone's last map, in places: 7 for 224x224 images and a stride of 32.
        frozen: backbone and neck are not trained, and their statistics of batch normalisation stay; the authors do the
            first (not the second) on Places-LT, and train all on ImageNet-LT.
        options: arguments of mmpretrain's `ImageClassifier`.

    Raises:
        FileNotFoundError: before training, there is no such checkpoint.
        ValueError: before training, the checkpoint is of another network; in training, a map of another size, or
            features that got no weights.
    """

    def __init__(
        self, *arguments: Any, feature_size: int | tuple[int, int], frozen: bool = False, **options: Any
    ) -> None:
        super().__init__(*arguments, frozen=frozen, **options)
        size = (feature_size, feature_size) if isinstance(feature_size, int) else tuple(feature_size)
        self.attention = ModulatedAttention(self.head.in_channels, size)

    def extract_feat(self, inputs: Tensor, stage: str = 'neck') -> Any:
        """Return features with attention, of ``'backbone'``, ``'neck'`` or ``'pre_logits'``."""
        *others, last = super().extract_feat(inputs, 'backbone')
        features = (*others, self.attention(last))
        if stage != 'backbone' and self.with_neck:
            features = self.neck(features)
        return self.head.pre_logits(features) if stage == 'pre_logits' else features


class ModulatedAttention(BaseModule):
    """Modulated attention: x + SA(x) ⊙ MA(x), self-attention that another attention switches on in some places.

    SA is a non-local block, MA a softmax over the places of a fully connected layer on the whole map. The last
    convolution of SA begins with zeros, so that at first the output is x; other than in the authors' code it has a
    bias.

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
        """Draw weights as the authors do."""
        super().init_weights()
        for layer in ('theta', 'phi', 'g'):
            kaiming_init(getattr(self.self_attention, layer).conv, mode='fan_in')

    def forward(self, x: Tensor) -> Tensor:
        """Return the map with attention."""
        if tuple(x.shape[1:]) != self.shape:
            raise ValueError(
                f'the features are of {tuple(x.shape[1:])} (channels, height, width), but the attention was built for '
                f'{self.shape}; set model.feature_size, which belongs to one size of images, and model.head.in_channels'
            )
        with torch.autocast(x.device.type, enabled=False):
            x = x.to(self.places.weight.dtype)
            modulation = self.places(x.flatten(1)).softmax(1).reshape(-1, 1, *self.shape[1:])
            # The output of the block includes its input.
            return x + modulation * (self.self_attention(x) - x)
