"""Scores per class from saved predictions."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

Array = np.ndarray


class ClassScores(NamedTuple):
    """Scores of every class, (C,) float64 shares between 0 and 1; NaN for a class without pixels."""

    share: Array
    """Share of the class among all valid pixels."""
    accuracy: Array
    """TP / (TP + FN)."""
    iou: Array
    """TP / (TP + FN + FP)."""

    @property
    def mean_accuracy(self) -> float:
        """Mean over the classes with an accuracy; NaN if there is none."""
        return _mean(self.accuracy)

    @property
    def mean_iou(self) -> float:
        """Mean over the classes with an IoU; NaN if there is none."""
        return _mean(self.iou)


def _mean(scores: Array) -> float:
    there = scores[~np.isnan(scores)]
    return float(there.mean()) if there.size else float('nan')


def confusion_matrix(pairs: Iterable[tuple[Array, Array]], num_classes: int, ignore_index: int = 255) -> Array:
    """Return (C, C) int64 counts of pixels, true class by predicted class.

    Args:
        pairs: truth and prediction of each image, integer arrays of the same shape.
        num_classes: C, the number of classes.
        ignore_index: pixels of this true class are left out.

    Raises:
        ValueError: truth and prediction differ in shape, or a class lies outside [0, C).

    Example:
        >>> confusion_matrix([(np.array([0, 0, 1, 255]), np.array([0, 1, 1, 0]))], 2)
        array([[1, 1],
               [0, 1]])
    """
    total = np.zeros(num_classes**2, np.int64)
    for truth, prediction in pairs:
        if truth.shape != prediction.shape:
            raise ValueError(f'truth has shape {truth.shape}, its prediction {prediction.shape}')
        valid = truth != ignore_index
        cells = truth[valid].astype(np.int64) * num_classes + prediction[valid]
        if cells.size and (max(truth[valid].max(), prediction[valid].max()) >= num_classes):
            raise ValueError(f'a class is above {num_classes - 1}: truth up to {truth[valid].max()}, '
                             f'prediction up to {prediction[valid].max()}')  # fmt: skip
        total += np.bincount(cells, minlength=num_classes**2)
    return total.reshape(num_classes, num_classes)


def class_scores(confusion: Array) -> ClassScores:
    """Compute share, accuracy and IoU of every class.

    Example:
        >>> class_scores(np.array([[3, 1], [0, 4]])).iou
        array([0.75, 0.8 ])
    """
    support, predicted, true_positives = confusion.sum(1), confusion.sum(0), np.diag(confusion)
    with np.errstate(invalid='ignore', divide='ignore'):
        return ClassScores(
            share=support / confusion.sum(),
            accuracy=true_positives / support,
            iou=true_positives / (support + predicted - true_positives),
        )
