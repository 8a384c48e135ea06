"""The mathematics of the losses as pure functions of tensors; PyTorch is all they need."""

from .recall import recall_cross_entropy, recall_weights
from .statistics import ClassStatistics, class_losses, class_statistics

__all__ = ['ClassStatistics', 'class_losses', 'class_statistics', 'recall_cross_entropy', 'recall_weights']
