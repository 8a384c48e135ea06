"""The differences between predictions of the same image, and their errors."""

from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property
from typing import NamedTuple

import numpy as np

from mmrecall.evaluation.segmentation import ClassScores, class_scores, confusion_matrix

Array = np.ndarray

# Ratio of the sides of the image to those of the window.
_ZOOM = 3


class Outcome(IntEnum):
    """Result of a prediction for one class at one pixel."""

    OTHER = 0
    """True negative: neither the true class nor the predicted one."""
    FOUND = 1
    """True positive: both the true class and the predicted one."""
    MISSED = 2
    """False negative: the true class, but not the predicted one."""
    WRONG = 3
    """False positive: the predicted class, but not the true one."""
    IGNORED = 4
    """No true class, so no prediction is an error."""


class Window(NamedTuple):
    """Rectangle of an image, in pixels."""

    top: int
    left: int
    height: int
    width: int

    def cut(self, image: Array) -> Array:
        """Return the rectangle of an (H, W) or (H, W, 3) array."""
        return image[self.top : self.top + self.height, self.left : self.left + self.width]


def zoom_window(differs: Array) -> Window:
    """Return the window, a third of the image in height and width, that contains the most True pixels.

    Of several such windows it is the topmost, and of these the leftmost.

    Args:
        differs: (H, W) bool.

    Example:
        >>> differs = np.zeros((6, 9), bool)
        >>> differs[4, 7] = True
        >>> zoom_window(differs)
        Window(top=3, left=5, height=2, width=3)
    """
    height, width = (max(1, round(side / _ZOOM)) for side in differs.shape)
    # With the number of marked pixels above and to the left of each corner, four corners give the number in a window.
    corners = np.pad(differs.astype(np.int64).cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    rows = corners[height:] - corners[:-height]
    marked = rows[:, width:] - rows[:, :-width]
    top, left = np.unravel_index(marked.argmax(), marked.shape)
    return Window(int(top), int(left), height, width)


@dataclass(frozen=True)
class ComparedImage:
    """Truth of one image and the predictions of several models.

    Args:
        name: name of the image.
        path: path of its file.
        truth: (H, W) integer classes.
        predictions: (H, W) integer classes by each model.
        num_classes: C, the number of classes.
        ignore_index: value of unlabelled pixels in ``truth``; these pixels do not count.

    Example:
        >>> truth = np.array([[0, 0, 1, 255]])
        >>> compared = ComparedImage('a', 'a.png', truth, (np.array([[0, 0, 1, 1]]), np.array([[0, 1, 0, 0]])), 2)
        >>> compared.differs
        array([[False,  True,  True, False]])
        >>> compared.scores[1].accuracy
        array([0.5, 0. ])
        >>> compared.most_different_classes(1)
        [1]
        >>> compared.outcomes(np.array([[1, 0, 1, 0]]), 1)
        array([[3, 0, 1, 4]], dtype=uint8)
    """

    name: str
    path: str
    truth: Array
    predictions: tuple[Array, ...]
    num_classes: int
    ignore_index: int = 255

    @cached_property
    def differs(self) -> Array:
        """(H, W) bool: labelled pixels for which not all models predict the same class."""
        first, *others = self.predictions
        differs = np.zeros(self.truth.shape, bool)
        for other in others:
            differs |= other != first
        return differs & (self.truth != self.ignore_index)

    @cached_property
    def disagreement(self) -> float:
        """Share of the labelled pixels for which not all models predict the same class; 0 if none is labelled."""
        labelled = np.count_nonzero(self.truth != self.ignore_index)
        return np.count_nonzero(self.differs) / max(labelled, 1)

    @cached_property
    def window(self) -> Window:
        """Window in which the models differ most, see `zoom_window`."""
        return zoom_window(self.differs)

    @cached_property
    def scores(self) -> tuple[ClassScores, ...]:
        """Scores of each model on this image."""
        return tuple(
            class_scores(confusion_matrix([(self.truth, one)], self.num_classes, self.ignore_index))
            for one in self.predictions
        )

    def outcomes(self, prediction: Array, number: int) -> Array:
        """Return the `Outcome` of one class in a prediction at every pixel, (H, W) uint8."""
        outcomes = np.full(self.truth.shape, Outcome.OTHER, np.uint8)
        true, predicted = self.truth == number, prediction == number
        outcomes[true & predicted] = Outcome.FOUND
        outcomes[true & ~predicted] = Outcome.MISSED
        outcomes[~true & predicted] = Outcome.WRONG
        outcomes[self.truth == self.ignore_index] = Outcome.IGNORED
        return outcomes

    def most_different_classes(self, number: int) -> list[int]:
        """Return up to so many classes of the truth, first those whose IoU differs most between the models."""
        ious = np.stack([score.iou for score in self.scores])
        present = np.flatnonzero(self.scores[0].share > 0)
        differences = ious[:, present].max(0) - ious[:, present].min(0)
        return present[np.argsort(-differences, kind='stable')][:number].tolist()
