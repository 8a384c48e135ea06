"""Scores of predictions, and gradients by class."""

from mmrecall.toolboxes import require

require('mmengine.registry')

from .metrics import ShotAccuracy  # noqa: E402
from .segmentation import ClassScores, class_scores, confusion_matrix  # noqa: E402

__all__ = ['ClassScores', 'ShotAccuracy', 'class_scores', 'confusion_matrix']
