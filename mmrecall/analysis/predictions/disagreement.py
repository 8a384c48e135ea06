"""Where predictions of the same image differ, and how each is wrong."""

from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property
from typing import NamedTuple

import numpy as np

from mmrecall.evaluation.segmentation import ClassScores, class_scores, confusion_matrix

Array = np.ndarray

# enlarged so many times, the window fills the panel of the whole image
_ZOOM = 3


class Outcome(IntEnum):
    """What a prediction makes of one class at one pixel."""

    OTHER = 0
    """True negative: another class is there, and another is predicted."""
    FOUND = 1
    """True positive."""
    MISSED = 2
    """False negative: the class is there, another is predicted."""
    WRONG = 3
    """False positive: another class is there, this one is predicted."""
    IGNORED = 4
    """Nobody knows what is there, so no prediction is an error."""


class Window(NamedTuple):
    """A part of an image, in pixels."""

    top: int
    left: int
    height: int
    width: int

    def cut(self, image: Array) -> Array:
        """That part of an (H, W) or (H, W, 3) array."""
        return image[self.top : self.top + self.height, self.left : self.left + self.width]


def zoom_window(differs: Array) -> Window:
    """The third of an image, in height and in width, with the most marked pixels; of equals the topmost, then leftmost.

    Args:
        differs: (H, W) bool.

    Example:
        >>> differs = np.zeros((6, 9), bool)
        >>> differs[4, 7] = True
        >>> zoom_window(differs)
        Window(top=3, left=5, height=2, width=3)
    """
    height, width = (max(1, round(side / _ZOOM)) for side in differs.shape)
    # how many are above and to the left of each corner: four of these give the number in a window
    corners = np.pad(differs.astype(np.int64).cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    rows = corners[height:] - corners[:-height]
    marked = rows[:, width:] - rows[:, :-width]
    top, left = np.unravel_index(marked.argmax(), marked.shape)
    return Window(int(top), int(left), height, width)


def class_outcomes(truth: Array, prediction: Array, number: int, ignore_index: int = 255) -> Array:
    """The `Outcome` of one class at every pixel, uint8.

    Args:
        truth: integer classes.
        prediction: integer classes, of the same shape.
        number: of the class.
        ignore_index: true class of unlabelled pixels.

    Example:
        >>> class_outcomes(np.array([0, 1, 1, 0, 255]), np.array([0, 1, 0, 1, 1]), 1)
        array([0, 1, 2, 3, 4], dtype=uint8)
    """
    outcomes = np.full(truth.shape, Outcome.OTHER, np.uint8)
    true, predicted = truth == number, prediction == number
    outcomes[true & predicted] = Outcome.FOUND
    outcomes[true & ~predicted] = Outcome.MISSED
    outcomes[~true & predicted] = Outcome.WRONG
    outcomes[truth == ignore_index] = Outcome.IGNORED
    return outcomes


@dataclass(frozen=True)
class ComparedImage:
    """One image and what several models predict for it.

    Args:
        name: of the image.
        path: of its file.
        truth: (H, W) integer classes.
        predictions: (H, W) integer classes, of each model.
        num_classes: C.
        ignore_index: true class of unlabelled pixels, which count nowhere.

    Example:
        >>> truth = np.array([[0, 0, 1, 255]])
        >>> compared = ComparedImage('a', 'a.png', truth, (np.array([[0, 0, 1, 1]]), np.array([[0, 1, 0, 0]])), 2)
        >>> compared.differs
        array([[False,  True,  True, False]])
        >>> compared.scores[1].accuracy
        array([0.5, 0. ])
        >>> compared.most_different_classes(1)
        [1]
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
        """Where the models differ most, see `zoom_window`."""
        return zoom_window(self.differs)

    @cached_property
    def scores(self) -> tuple[ClassScores, ...]:
        """Scores of each model in this image."""
        return tuple(
            class_scores(confusion_matrix([(self.truth, one)], self.num_classes, self.ignore_index))
            for one in self.predictions
        )

    def outcomes(self, prediction: Array, number: int) -> Array:
        """`class_outcomes` of a class."""
        return class_outcomes(self.truth, prediction, number, self.ignore_index)

    def most_different_classes(self, number: int) -> list[int]:
        """At most so many of the classes that are in the truth, those whose IoU differs most between models first."""
        ious = np.stack([score.iou for score in self.scores])
        present = np.flatnonzero(self.scores[0].share > 0)
        differences = ious[:, present].max(0) - ious[:, present].min(0)
        return present[np.argsort(-differences, kind='stable')][:number].tolist()
