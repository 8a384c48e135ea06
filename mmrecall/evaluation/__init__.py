"""Scores of predictions."""

from mmrecall.upstream import require

require('mmengine.registry')

from .segmentation import ClassScores, class_scores, confusion_matrix  # noqa: E402
from .shot_accuracy import ShotAccuracy  # noqa: E402

__all__ = ['ClassScores', 'ShotAccuracy', 'class_scores', 'confusion_matrix']
