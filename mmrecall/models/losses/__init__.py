"""Losses with OpenMMLab's call signature, registered for mmseg and mmpretrain."""

from .class_counts import ClassCounts, read_class_counts
from .hard_sample_loss import SoftmaxFocalLoss, TopKCrossEntropyLoss
from .long_tail_loss import BalancedSoftmaxLoss, LDAMLoss, LogitAdjustedLoss
from .metric_learning_loss import LiftedStructureLoss, RangeLoss
from .recall_loss import RecallLoss
from .region_loss import LovaszSoftmaxLoss, SoftDiceLoss, SoftIoULoss, SoftTverskyLoss
from .weighted_cross_entropy_loss import WeightedCrossEntropyLoss

__all__ = [
    'BalancedSoftmaxLoss',
    'ClassCounts',
    'LDAMLoss',
    'LiftedStructureLoss',
    'LogitAdjustedLoss',
    'LovaszSoftmaxLoss',
    'RangeLoss',
    'RecallLoss',
    'SoftDiceLoss',
    'SoftIoULoss',
    'SoftTverskyLoss',
    'SoftmaxFocalLoss',
    'TopKCrossEntropyLoss',
    'WeightedCrossEntropyLoss',
    'read_class_counts',
]
