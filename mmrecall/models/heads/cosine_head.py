"""The cosine classifier."""

from typing import Any

import torch
from mmpretrain.models.heads import LinearClsHead
from mmpretrain.models.heads.margin_head import NormProduct
from torch import Tensor

from mmrecall.registry import MODELS, register


@register(MODELS)
class CosineClsHead(LinearClsHead):
    """Cosine classifier: the logit of class c is cos(w_c, x), between -1 and 1, without a bias.

    Cao et al. (NeurIPS 2019) train it with LDAM, so that margins are comparable between classes. The scale is the
    loss's (``mmrecall.LDAMLoss(scale=30)``); so the scores of `predict`, a softmax of the cosines, are nearly uniform,
    while their order is right.

    Args:
        num_classes: C, the number of classes.
        in_channels: channels of the features.
        init_cfg: by default, normal weights of about unit length, which has no effect on the logits but divides their
            gradient.
        options: ``loss``, ``topk`` and ``cal_acc`` of mmpretrain's `LinearClsHead`.

    Shape:
        - feats: a tuple, of which the last is (N, in_channels); computed in the weights' dtype, never in autocast's.
        - output: (N, C).

    Example:
        >>> head = CosineClsHead(num_classes=2, in_channels=2)
        >>> with torch.no_grad():
        ...     _ = head.fc.weight.copy_(torch.tensor([[5.0, 0.0], [0.0, 1.0]]))
        ...     head((torch.tensor([[3.0, 4.0]]),))
        tensor([[0.6000, 0.8000]])
    """

    def __init__(self, num_classes: int, in_channels: int, init_cfg: dict | None = None, **options: Any) -> None:
        if init_cfg is None:
            init_cfg = dict(type='Normal', layer='Linear', std=in_channels**-0.5)
        super().__init__(num_classes, in_channels, init_cfg=init_cfg, **options)
        self.fc = NormProduct(in_channels, num_classes)

    def forward(self, feats: tuple[Tensor, ...]) -> Tensor:
        """Return the cosines."""
        features = self.pre_logits(feats)
        # A scale of 30 would turn the rounding of a bfloat16 cosine into 0.1 of a logit.
        with torch.autocast(features.device.type, enabled=False):
            return self.fc(features.to(self.fc.weight.dtype))
