"""Scores of a trained model for several strengths of the post-hoc logit adjustment, in one pass."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from mmrecall.analysis.logit_adjustment.trained_model import SEGMENTATION, TrainedModel
from mmrecall.datasets.label_lists import shot_groups
from mmrecall.functional import class_statistics
from mmrecall.functional.long_tail import logit_offsets

Array = np.ndarray

GROUPS = {'segmentation': ('rare', 'common', 'frequent'), 'classification': ('few', 'medium', 'many')}


class AdjustedScores(NamedTuple):
    """Scores of a model by τ, in percent; NaN where there is none."""

    name: str
    """Name of the run."""
    kind: str
    """``'segmentation'`` or ``'classification'``."""
    taus: list[float]
    accuracy: Array
    """(T,) share of the labelled pixels, or images, that are right."""
    recall: Array
    """(T, C) accuracy of every class."""
    iou: Array
    """(T, C) intersection over union of every class."""
    groups: list[str]
    """Group of every class: rare, common or frequent; few, medium or many."""

    def rows(self) -> list[dict[str, float]]:
        """Return the figures of every τ by their names."""
        return [self._row(number) for number in range(len(self.taus))]

    def _row(self, number: int) -> dict[str, float]:
        recall, iou = self.recall[number], self.iou[number]
        members = {name: np.array([group == name for group in self.groups]) for name in GROUPS[self.kind]}
        row = dict(tau=self.taus[number])
        if self.kind == SEGMENTATION:
            row |= dict(mIoU=_mean(iou), mAcc=_mean(recall), aAcc=float(self.accuracy[number]))
            row |= {f'mIoU_{name}': _mean(iou[member]) for name, member in members.items()}
            return row | {f'mAcc_{name}': _mean(recall[member]) for name, member in members.items()}
        row |= dict(top1=float(self.accuracy[number]), mean_class=_mean(recall))
        return row | {name: _mean(recall[member]) for name, member in members.items()}


def adjusted_scores(
    model: TrainedModel, counts: Sequence[int], taus: Sequence[float], on_batch: Callable[[], None] = lambda: None
) -> AdjustedScores:
    """Evaluate the predictions argmax_c z_c - τ log π_c on the validation data of a model, for several τ in one pass.

    Menon et al., ICLR 2021, section 4.1, with π the class priors of the training set; τ = 0 is the model as it is.

    Args:
        model: a trained model.
        counts: (C,) training pixels, or images, of every class.
        taus: strengths, at least 0.
        on_batch: called after each image, or batch of images.

    Raises:
        ValueError: a negative τ, a class without training samples, or an error of `TrainedModel.predictions`.
    """
    offsets = torch.stack([prior_offsets(model, counts, tau) for tau in taus])
    support = torch.zeros(model.num_classes, dtype=torch.int64)
    predicted = torch.zeros(len(taus), model.num_classes, dtype=torch.int64)
    correct = torch.zeros_like(predicted)
    for scores, labels in model.predictions():
        for number, offset in enumerate(offsets.to(scores)):
            adjusted = scores - offset.reshape(-1, *[1] * (scores.ndim - 2))
            found = class_statistics(adjusted, labels, model.ignore_index)
            predicted[number] += found.predicted.cpu()
            correct[number] += found.true_positives.cpu()
        support += found.support.cpu()
        on_batch()
    return AdjustedScores(
        model.run.name,
        model.kind,
        list(taus),
        accuracy=_percent(correct.sum(1), support.sum()),
        recall=_percent(correct, support),
        iou=_percent(correct, support + predicted - correct),
        groups=class_groups(model.kind, counts),
    )


def prior_offsets(model: TrainedModel, counts: Sequence[int], tau: float) -> Tensor:
    """Return τ log π_c for every class, (C,) float64, to subtract from the scores; π_c is its training share.

    Raises:
        ValueError: a negative τ, counts of another number of classes, or a class without training samples.
    """
    if len(counts) != model.num_classes:
        raise ValueError(f'got {len(counts)} class counts; expected {model.num_classes}, the scores of the model')
    absent = [name for name, count in zip(model.classes, counts, strict=True) if not count]
    if absent:
        raise ValueError(
            f'got no training samples of {", ".join(absent)}; expected some of every class, because the prior of a '
            'class without any has no logarithm'
        )
    return logit_offsets(torch.as_tensor(counts), tau)


def class_groups(kind: str, counts: Sequence[int]) -> list[str]:
    """Return the group of every class: those of `RareClassIoU`, or of `ShotAccuracy`."""
    if kind != SEGMENTATION:
        return shot_groups(counts)
    # mmseg is there if a model of it is.
    from mmrecall.evaluation.rare_classes import frequency_groups

    return frequency_groups(counts)


def _percent(part: Tensor, whole: Tensor) -> Array:
    return (100 * part.double() / whole).numpy()


def _mean(values: Array) -> float:
    there = values[~np.isnan(values)]
    return float(there.mean()) if there.size else float('nan')
