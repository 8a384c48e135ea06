"""Learnable weight scaling."""

from typing import Any

import torch
from mmpretrain.models.heads import LinearClsHead
from torch import Tensor, nn

from mmrecall.models.first_stage import FirstStage
from mmrecall.registry import MODELS, register


@register(MODELS)
class LWSHead(LinearClsHead):
    """Learnable weight scaling (LWS): the logit of class c is s_c (w_c·x + b_c), and only the scales s are learned.

    Kang et al., "Decoupling representation and classifier for long-tailed recognition", ICLR 2020, section 4.2; as in
    the authors' code the bias is scaled too. For a `SecondStageClassifier`, which brings w and b from the first stage,
    and class-balanced sampling.

    Args:
        num_classes: C, the number of classes.
        in_channels: D, channels of the features.
        options: ``loss``, ``topk``, ``cal_acc`` and ``init_cfg`` of mmpretrain's `LinearClsHead`.

    Shape:
        - feats: a tuple, of which the last is (N, D).
        - output: (N, C).

    Example:
        >>> head = LWSHead(num_classes=2, in_channels=4)
        >>> [name for name, parameter in head.named_parameters() if parameter.requires_grad], head.scales
        (['scales'], Parameter containing:
        tensor([1., 1.], requires_grad=True))
    """

    def __init__(self, num_classes: int, in_channels: int, **options: Any) -> None:
        super().__init__(num_classes, in_channels, **options)
        self.fc.requires_grad_(False)
        self.scales = nn.Parameter(torch.ones(num_classes))

    def take_classifier(self, first_stage: FirstStage) -> None:
        """Take the classifier of the first stage, which the scales multiply."""
        first_stage.fill_classifier(self.fc)

    def forward(self, feats: tuple[Tensor, ...]) -> Tensor:
        """Return the scaled logits."""
        return self.scales * super().forward(feats)
