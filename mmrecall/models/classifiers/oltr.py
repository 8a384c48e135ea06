"""Open long-tailed recognition."""

from typing import Any

from torch import Tensor

from mmrecall.models.classifiers.second_stage import SecondStageClassifier
from mmrecall.models.modulated_attention import ModulatedAttention
from mmrecall.registry import MODELS, register


@register(MODELS)
class OLTR(SecondStageClassifier):
    """The second stage of OLTR: modulated attention on the features of a first stage, and an `OLTRHead`.

    Liu et al., "Large-scale long-tailed recognition in an open world", CVPR 2019. Backbone, neck and hallucinator begin
    as those of the first stage, the memory with its class centroids, for which `ClassMemoryHook` looks at the training
    set once. The attention has no effect at the beginning, so these are the centroids of stage one to the last bit.

    Args:
        first_stage: checkpoint of any trained `ImageClassifier` with the same backbone and neck and a linear
            classifier; read when a training begins or goes on, and not for testing.
        feature_size: height and width of the backbone's last map, in places: 7 for 224x224 images and a stride of 32.
        frozen: backbone and neck are not trained, and their statistics of batch normalisation stay; the authors do the
            first (not the second) on Places-LT, and train all on ImageNet-LT.
        options: of mmpretrain's `ImageClassifier`.

    Raises:
        FileNotFoundError: before training, there is no such checkpoint.
        ValueError: before training, it is of another network; in training, a map of another size, or nothing gave the
            features their weights.
    """

    def __init__(
        self, *arguments: Any, feature_size: int | tuple[int, int], frozen: bool = False, **options: Any
    ) -> None:
        super().__init__(*arguments, frozen=frozen, **options)
        size = (feature_size, feature_size) if isinstance(feature_size, int) else tuple(feature_size)
        self.attention = ModulatedAttention(self.head.in_channels, size)

    def extract_feat(self, inputs: Tensor, stage: str = 'neck') -> Any:
        """Features with attention, of ``'backbone'``, ``'neck'`` or ``'pre_logits'``."""
        *others, last = super().extract_feat(inputs, 'backbone')
        features = (*others, self.attention(last))
        if stage != 'backbone' and self.with_neck:
            features = self.neck(features)
        return self.head.pre_logits(features) if stage == 'pre_logits' else features
