"""What is computed from predictions."""

from .metrics import ShotAccuracy
from .segmentation import ClassScores, class_scores, confusion_matrix

__all__ = ['ClassScores', 'ShotAccuracy', 'class_scores', 'confusion_matrix']
