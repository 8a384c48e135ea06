"""What is computed from predictions."""

from .segmentation import ClassScores, class_scores, confusion_matrix

__all__ = ['ClassScores', 'class_scores', 'confusion_matrix']
