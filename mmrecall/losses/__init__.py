"""Losses as PyTorch modules, which keep state and sum over ranks; they need PyTorch and NumPy alone.

They accept the arguments that the heads of mmseg and mmpretrain pass; `mmrecall.registry` registers them there.
"""

from .base import BaseLoss
from .class_counts import ClassCounts, read_class_counts
from .counting import count_classes
from .hard_samples import OHEMCrossEntropyLoss, SoftmaxFocalLoss
from .long_tail import BalancedLogitVariationLoss, BalancedSoftmaxLoss, LDAMLoss, LogitAdjustedLoss
from .metric_learning import FeatureLoss, LiftedStructureLoss, RangeLoss
from .recall import RecallLoss
from .region import LovaszSoftmaxLoss, SoftDiceLoss, SoftIoULoss, SoftTverskyLoss
from .weighted_cross_entropy import WeightedCrossEntropyLoss

TopKCrossEntropyLoss = OHEMCrossEntropyLoss
"""Former name of `OHEMCrossEntropyLoss`."""

__all__ = [
    'BalancedLogitVariationLoss',
    'BalancedSoftmaxLoss',
    'BaseLoss',
    'ClassCounts',
    'FeatureLoss',
    'LDAMLoss',
    'LiftedStructureLoss',
    'LogitAdjustedLoss',
    'LovaszSoftmaxLoss',
    'OHEMCrossEntropyLoss',
    'RangeLoss',
    'RecallLoss',
    'SoftDiceLoss',
    'SoftIoULoss',
    'SoftTverskyLoss',
    'SoftmaxFocalLoss',
    'TopKCrossEntropyLoss',
    'WeightedCrossEntropyLoss',
    'count_classes',
    'read_class_counts',
]
