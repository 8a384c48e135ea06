"""Accuracy of classes with many, some and few training images, and an F-measure with unknown classes."""

from __future__ import annotations

import csv
import logging
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from mmengine.evaluator import BaseMetric
from mmengine.logging import print_log
from torch import Tensor

from mmrecall.datasets.class_order import check_class_order
from mmrecall.datasets.label_lists import UNKNOWN_LABEL, read_list, shot_groups
from mmrecall.functional.validation import check_class_counts, check_finite
from mmrecall.io import atomic_write
from mmrecall.losses import read_class_counts
from mmrecall.losses.class_counts import counted_class_names
from mmrecall.registry import METRICS, register

Array = np.ndarray

_GROUPS = ('many', 'medium', 'few')
_COUNT_FILES = ('.json', '.yml', '.yaml', '.npy')
_OPEN_SET = 'open_f_measure'


class Outcome(NamedTuple):
    """Result of an image."""

    label: int
    place: int
    """Position of the true class among the sorted scores, from 0; of equal scores the lower class number is first. -1
    for an unknown class."""
    rejected: bool
    """Whether the largest score is below the threshold."""


@register(METRICS)
class ShotAccuracy(BaseMetric):
    """Metric of accuracies, in percent, over all images and over classes with many, some and few training images.

    ``shot/top1`` and ``shot/topK`` are shares of the images; ``shot/mean_class`` is the mean of the classes' top-1
    accuracies, and ``shot/many`` (above 100 training images), ``shot/medium`` and ``shot/few`` (below 20) are this mean
    over a group. Liu et al., "Large-scale long-tailed recognition in an open world", CVPR 2019. Classes without a
    tested image are in no mean, and a group without a tested class is not in the result, which is logged once.

    With ``open_set_threshold``, images with the label -1 are of classes that training did not have. They count for
    ``shot/open_f_measure`` alone, in percent too, in which an image is rejected when its largest score is below the
    threshold: F = 2PR / (P + R), P = TP / (TP + FP), R = TP / (TP + FN), where TP are images of known classes that are
    right and not rejected, FP those that are wrong and not rejected, and FN images of unknown classes that are not
    rejected, as in the code of Kang et al. (ICLR 2020). Liu et al.'s code had this form when their paper appeared, and
    their README says that the paper's figures may be too high for it. Since 29 January 2020 the code, with the figures
    in that README, counts rejected known images among FP too, which gives less. The other figures are those of known
    images without rejection, as without the option; in their code a rejected image is a wrong one there.

    Args:
        class_counts: training images: one number per class; the training set's list of "path label", the same file as
            its ``ann_file``; or a file for `mmrecall.losses.read_class_counts` (.json, .yml, .yaml or .npy),
            which ``mmrecall class-statistics`` writes.
        topk: the values of K.
        many: classes with more training images are ``many``.
        few: classes with fewer training images are ``few``.
        out_dir: folder for the table ``shot_accuracy.csv`` of every class, which each evaluation replaces.
        collect_device: see mmengine's `BaseMetric`.
        prefix: prefix of the names of the results.
        open_set_threshold: largest scores below it reject an image; between 0 and 1, Liu et al. take 0.1. By default
            there are no unknown classes, and a label -1 is refused.

    Raises:
        FileNotFoundError: there is no such file or list.
        ValueError: counts of another number of classes than the scores, a file of counts with the class names of the
            data set in another order, a K above that number, a label that is no class, a prediction without scores, a
            threshold that is not between 0 and 1, or no image of a known class.
    """

    default_prefix = 'shot'

    def __init__(
        self,
        class_counts: Sequence[int] | str,
        topk: Sequence[int] = (1, 5),
        many: int = 100,
        few: int = 20,
        out_dir: str | None = None,
        collect_device: str = 'cpu',
        prefix: str | None = None,
        open_set_threshold: float | None = None,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        # A list does not say how many classes follow the last one in it.
        self.from_list = isinstance(class_counts, str) and not class_counts.endswith(_COUNT_FILES)
        self.counts = _training_images(class_counts)
        self.class_counts = class_counts
        shot_groups(self.counts, many, few)
        _check_threshold(open_set_threshold)
        self.topk = tuple(topk)
        self.many = many
        self.few = few
        self.open_set_threshold = open_set_threshold
        self.out_dir = out_dir
        self._logged_absent = False

    @property
    def dataset_meta(self) -> dict | None:
        """Facts on the tested data set, which a loop sets when it is built; a file's class names are compared then."""
        return self._dataset_meta

    @dataset_meta.setter
    def dataset_meta(self, dataset_meta: dict | None) -> None:
        classes, source = (dataset_meta or {}).get('classes'), self.class_counts
        names = counted_class_names(source) if isinstance(source, str) and source.endswith(_COUNT_FILES) else None
        if names is not None and classes is not None:
            check_class_order(
                f'class_counts {source}',
                names,
                'the tested data set',
                classes,
                'set class_counts to a file that `mmrecall class-statistics` writes for these classes',
                lambda message: print_log(f'ShotAccuracy: {message}', logger='current', level=logging.WARNING),
            )
        self._dataset_meta = dataset_meta

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Keep the outcome of every image."""
        for sample in data_samples:
            if sample.get('pred_score') is None:
                raise ValueError(f'a prediction has no pred_score, only {list(sample)}; ShotAccuracy needs the scores')
        scores = torch.stack([sample['pred_score'] for sample in data_samples])
        labels = torch.stack([torch.as_tensor(sample['gt_label']).reshape(-1) for sample in data_samples])
        self._check(labels, scores.shape[1])
        labels = labels[:, 0].to(scores.device)
        places = torch.where(labels < 0, -1, _places(scores, labels.clamp(min=0)))
        rejected = scores.amax(1) < (-math.inf if self.open_set_threshold is None else self.open_set_threshold)
        self.results += map(Outcome, labels.tolist(), places.tolist(), rejected.tolist())

    def compute_metrics(self, results: list[Outcome]) -> dict[str, float]:
        """Return percentages by name."""
        labels, places, rejected = np.array(results, np.int64).reshape(-1, 3).T
        known = labels >= 0
        if not known.any():
            raise ValueError(
                f'got {len(labels)} tested images, all with a negative label, which marks an unknown class; expected '
                'at least one image of a known class'
            )
        metrics = self._closed_set(labels[known], places[known])
        if self.open_set_threshold is not None and not known.all():
            metrics[_OPEN_SET] = _open_f_measure(known, places == 0, rejected == 1)
        self._log_absent_figures(metrics)
        return metrics

    def _closed_set(self, labels: Array, places: Array) -> dict[str, float]:
        metrics = {f'top{k}': 100 * float(np.mean(places < k)) for k in self.topk}
        tested = np.bincount(labels, minlength=len(self.counts))
        correct = np.bincount(labels[places == 0], minlength=len(self.counts))
        groups = shot_groups(self.counts, self.many, self.few)
        accuracy = 100 * correct[tested > 0] / tested[tested > 0]
        groups_tested = np.array(groups)[tested > 0]
        metrics['mean_class'] = float(accuracy.mean())
        metrics |= {name: float(accuracy[groups_tested == name].mean()) for name in _GROUPS if name in groups_tested}
        if self.out_dir is not None:
            self._write(Path(self.out_dir) / 'shot_accuracy.csv', groups, tested, correct)
        return metrics

    def _check(self, labels: Tensor, num_classes: int) -> None:
        if self.from_list and len(self.counts) < num_classes:
            self.counts += [0] * (num_classes - len(self.counts))
        if len(self.counts) != num_classes:
            raise ValueError(
                f'got class_counts with {len(self.counts)} entries; expected {num_classes}, one per class of the scores'
            )
        if max(self.topk) > num_classes:
            raise ValueError(f'got topk={self.topk}; expected at most {num_classes}, the number of classes')
        if labels.shape[1] != 1:
            raise ValueError(f'an image has {labels.shape[1]} labels; ShotAccuracy is for one class per image')
        lowest = 0 if self.open_set_threshold is None else UNKNOWN_LABEL
        if labels.min() < lowest or labels.max() >= num_classes:
            wrong = int(labels[(labels < lowest) | (labels >= num_classes)][0])
            way_out = '; set open_set_threshold for images of unknown classes' if wrong == UNKNOWN_LABEL else ''
            raise ValueError(f'got an image with the label {wrong}; expected 0 to {num_classes - 1}{way_out}')

    def _log_absent_figures(self, metrics: dict[str, float]) -> None:
        without = [name for name in _GROUPS if name not in metrics]
        if without and not self._logged_absent:
            print_log(
                f'ShotAccuracy: no tested class is {" or ".join(without)}-shot (many: above {self.many} training '
                f'images, few: below {self.few})',
                logger='current',
            )
        if self.open_set_threshold is not None and _OPEN_SET not in metrics and not self._logged_absent:
            print_log(
                f'ShotAccuracy: no tested image is of an unknown class ({UNKNOWN_LABEL}), so there is no {_OPEN_SET}',
                logger='current',
            )
        self._logged_absent = True

    def _write(self, path: Path, groups: Sequence[str], tested: Array, correct: Array) -> None:
        names = (self.dataset_meta or {}).get('classes') or [str(number) for number in range(len(groups))]
        with atomic_write(path) as partial, partial.open('w', newline='', encoding='utf-8') as file:
            table = csv.writer(file)
            table.writerow(['label', 'class', 'group', 'training_images', 'tested_images', 'correct', 'accuracy'])
            rows = zip(names, groups, self.counts, tested.tolist(), correct.tolist(), strict=True)
            for label, (name, group, images, number, right) in enumerate(rows):
                accuracy = f'{100 * right / number:.2f}' if number else ''
                table.writerow([label, name, group, images, number, right, accuracy])


def _training_images(class_counts: Sequence[int] | str) -> list[int]:
    if not isinstance(class_counts, str):
        counts = list(class_counts)
    elif class_counts == 'auto':
        raise ValueError(
            "got class_counts='auto'; a metric does not see the training set; set class_counts to the training set's "
            'list of "path label" (its ann_file), to one number per class, or to the file that '
            '`mmrecall class-statistics` writes'
        )
    elif class_counts.endswith(_COUNT_FILES):
        counts = read_class_counts(class_counts).counts
    else:
        counts = np.bincount([image.label for image in read_list(class_counts).images]).tolist()
    check_class_counts(torch.as_tensor(counts))
    return counts


def _check_threshold(threshold: float | None) -> None:
    if threshold is None:
        return
    check_finite('open_set_threshold', threshold)
    if not 0 < threshold < 1:
        raise ValueError(f'got open_set_threshold={threshold}; expected a number between 0 and 1; set 0.1, for example')


def _open_f_measure(known: Array, correct: Array, rejected: Array) -> float:
    true_positives = np.sum(known & correct & ~rejected)
    false_positives = np.sum(known & ~correct & ~rejected)
    false_negatives = np.sum(~known & ~rejected)
    # The formula is 2PR / (P + R) without the quotients, of which one may be 0 / 0.
    return 100 * float(2 * true_positives / max(2 * true_positives + false_positives + false_negatives, 1))


def _places(scores: Tensor, labels: Tensor) -> Tensor:
    """Return (N,) int64 numbers of classes that come before the true one."""
    true_scores = scores.gather(1, labels[:, None])
    # NaN comes before everything, so that a network that broke down is never right.
    before = ~(scores <= true_scores)
    equal_and_lower = (scores == true_scores) & (torch.arange(scores.shape[1], device=scores.device) < labels[:, None])
    return (before | equal_and_lower).sum(1)
