"""A linear classifier with a second loss, on its features."""

from typing import Any

import torch
from mmpretrain.models.heads import LinearClsHead
from mmpretrain.registry import MODELS as MMPRETRAIN_MODELS
from mmpretrain.structures import DataSample
from torch import Tensor, nn

from mmrecall.registry import MODELS, register


@register(MODELS)
class FeatureLossClsHead(LinearClsHead):
    """Linear classifier with a loss on its features beside that on its logits: ``loss_cls + loss_feature``.

    Prediction and checkpoint are those of a `LinearClsHead`.

    Args:
        num_classes: C, the number of classes.
        in_channels: D, channels of the features.
        feature_loss: called with features (N, D) and class numbers (N,): ``dict(type='mmrecall.RangeLoss', …)`` or
            ``mmrecall.LiftedStructureLoss``.
        options: ``loss``, ``topk``, ``cal_acc`` and ``init_cfg`` of mmpretrain's `LinearClsHead`.

    Shape:
        - feats: a tuple, of which the last is (N, D).
        - output: (N, C).

    Raises:
        ValueError: in `loss`, images whose classes are mixed (Mixup, CutMix), between which no distance is defined.

    Example:
        >>> head = FeatureLossClsHead(2, in_channels=4, feature_loss=dict(type='mmrecall.LiftedStructureLoss'))
        >>> samples = [DataSample().set_gt_label(label) for label in (0, 0, 1)]
        >>> losses = head.loss((torch.tensor([[0.0] * 4, [1.0] * 4, [2.0] * 4]),), samples)
        >>> list(losses), losses['loss_feature']
        (['loss_feature', 'loss_cls'], tensor(0.6350))
    """

    def __init__(self, num_classes: int, in_channels: int, feature_loss: dict | nn.Module, **options: Any) -> None:
        super().__init__(num_classes, in_channels, **options)
        self.feature_loss = (
            feature_loss if isinstance(feature_loss, nn.Module) else MMPRETRAIN_MODELS.build(feature_loss)
        )

    def loss(self, feats: tuple[Tensor, ...], data_samples: list[DataSample], **options: Any) -> dict[str, Tensor]:
        """Return ``loss_cls``, that of mmpretrain's `LinearClsHead`, and ``loss_feature``."""
        if any('gt_score' in sample for sample in data_samples):
            raise ValueError(
                f'the images have soft labels (gt_score), but {type(self.feature_loss).__name__} compares images of '
                'whole classes; train without Mixup and CutMix'
            )
        labels = torch.cat([sample.gt_label for sample in data_samples])
        # The ranks meet in this loss, so it comes before another one that may raise on one rank alone.
        loss_feature = self.feature_loss(self.pre_logits(feats), labels)
        losses = {'loss_feature': loss_feature, **super().loss(feats, data_samples, **options)}
        # mmengine logs the sum of all terms as ``loss``
        losses['loss_cls'] = losses.pop('loss')
        return losses
