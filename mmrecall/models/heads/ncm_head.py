"""The nearest class mean."""

from typing import Any

import torch
from mmpretrain.models.heads import ClsHead
from torch import Tensor
from torch.nn import functional as F

from mmrecall.functional.validation import check_choice
from mmrecall.registry import MODELS, register

_DISTANCES = ('cosine', 'euclidean')


@register(MODELS)
class NearestClassMeanHead(ClsHead):
    """Nearest class mean (NCM): the logit of class c is cos(m_c, x), or -‖m_c - x‖, where m_c is its mean feature.

    Kang et al., "Decoupling representation and classifier for long-tailed recognition", ICLR 2020, section 4. (Their
    code has a third form as its default, where features are centred and brought to unit length before the means are
    taken.) For a `SecondStageClassifier`. Nothing is trained: ``train_cfg=dict(type='mmrecall.ClassMeansLoop')`` takes
    the means in one pass, over all ranks, and they are kept in the checkpoint. A class without images is never
    predicted. The scores of `predict`, a softmax of these logits, are no probabilities; their order is right.

    Args:
        num_classes: C, the number of classes.
        in_channels: D, channels of the features.
        distance: ``'cosine'`` or ``'euclidean'``.
        options: ``topk`` of mmpretrain's `ClsHead`.

    Shape:
        - feats: a tuple, of which the last is (N, D); computed in float32, never in autocast's dtype.
        - output: (N, C).

    Raises:
        ValueError: another distance; or in prediction, the means are not taken yet.

    Example:
        >>> head = NearestClassMeanHead(num_classes=2, in_channels=2, distance='euclidean')
        >>> head.set_means(sums=torch.tensor([[6.0, 8.0], [0.0, 3.0]]), counts=torch.tensor([2, 3]))
        >>> head((torch.tensor([[0.0, 0.0]]),))
        tensor([[-5., -1.]])
    """

    # Both are checkpointed, and equal on all ranks, because they come from the sums and counts of all.
    means: Tensor
    counts: Tensor

    def __init__(self, num_classes: int, in_channels: int, distance: str = 'cosine', **options: Any) -> None:
        super().__init__(**options)
        check_choice('distance', distance, _DISTANCES)
        self.num_classes = num_classes
        self.in_channels = in_channels
        self.distance = distance
        self.register_buffer('means', torch.zeros(num_classes, in_channels))
        self.register_buffer('counts', torch.zeros(num_classes, dtype=torch.long))

    def set_means(self, sums: Tensor, counts: Tensor) -> None:
        """Set the means from (C, D) sums of features and (C,) numbers of images."""
        self.means.copy_(sums / counts.clamp(min=1)[:, None])
        self.counts.copy_(counts)

    def forward(self, feats: tuple[Tensor, ...]) -> Tensor:
        """Return the logits."""
        if not self.counts.any():
            raise ValueError(
                "the class means are not computed yet; train with train_cfg=dict(type='mmrecall.ClassMeansLoop'), or "
                'load a checkpoint that has them'
            )
        features = self.pre_logits(feats)
        with torch.autocast(features.device.type, enabled=False):
            logits = self._similarity(features.float())
        return logits.masked_fill(self.counts == 0, -torch.inf)

    def _similarity(self, features: Tensor) -> Tensor:
        means = self.means.float()
        if self.distance == 'cosine':
            return F.normalize(features) @ F.normalize(means).T
        # |x|^2 - 2 x m + |m|^2, which cdist prefers, loses the digits of features far from 0
        return -torch.cdist(features, means, compute_mode='donot_use_mm_for_euclid_dist')
