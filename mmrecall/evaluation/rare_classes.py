"""Mean IoU and accuracy of rare, common and frequent classes, the IoU of the worst class, and the IoU per image."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from mmengine.logging import print_log
from mmseg.evaluation import IoUMetric
from torch import Tensor

from mmrecall.datasets.label_lists import shot_groups
from mmrecall.functional.validation import check_class_counts, check_finite
from mmrecall.losses import read_class_counts
from mmrecall.losses.class_counts import AUTOMATIC, one_number_per_class
from mmrecall.registry import METRICS, register

Counts = Sequence[float] | Mapping[str, float]

GROUPS = ('rare', 'common', 'frequent')
_OF_SHOTS = dict(few='rare', medium='common', many='frequent')
# the numbers in a file of the command class-statistics
_FIELDS = dict(pixels='counts', images='images')


@register(METRICS)
class RareClassIoU(IoUMetric):
    """mmseg's `IoUMetric` with the means over rare, common and frequent classes, the worst class, and IoU by image.

    Beside aAcc, mIoU and mAcc there are, also in percent and rounded to two decimals:

    - ``mIoU_rare`` and ``mAcc_rare``, and the same of ``common`` and ``frequent``: means over the classes of a group;
    - ``IoU_worst``: the lowest IoU of a class; the log names the class;
    - ``mIoU_I``: mean of IoU_ic over the classes c in the labels of image i, then over the images;
    - ``mIoU_C``: mean of IoU_ic over the images i with class c in their labels, then over the classes.

    IoU_ic = TP / (TP + FP + FN) of class c in image i. The last two are mIoU^I and mIoU^C of Wang et al., "Revisiting
    evaluation metrics for semantic segmentation: optimization and evaluation of fine-grained intersection over union",
    NeurIPS 2023. If there are two classes, their code averages over the second class only; this metric averages over
    both. An image without any label is in neither.

    A class without a label in the whole test set is left out of these means. As in mmseg's mIoU, there is one
    exception: if such a class is predicted, it counts in ``mIoU_<group>`` and ``IoU_worst`` with an IoU of 0. With
    ``nan_to_num``, the means of groups use that number where a class has no IoU or accuracy, as mmseg's means do. The
    log names such classes once. A mean over no class is left out of the result.

    The groups follow from the classes' numbers of pixels, or of images, in the training set. With ``thresholds`` (low,
    high), classes below low are rare, those above high are frequent, and all others common. Without, each group has a
    third of the classes, in the order of their numbers; of classes with equal numbers the first is taken as the rarest.
    Where 3 does not divide the number of classes, the rarer groups have one class more: 11 classes are 4, 4 and 3. The
    log lists the groups once.

    Args:
        class_counts: numbers of the training set: one per class; a dict of them by class name; or a file for
            `mmrecall.losses.read_class_counts` (.json, .yml, .yaml or .npy), which
            ``mmrecall class-statistics`` writes.
        groups_by: unit of the numbers: ``'pixels'`` of the class, or ``'images'`` that hold it. A file of
            the command has both.
        thresholds: two increasing numbers: a class's share of all counted pixels in percent (0.5 is 0.5 %), not its
            number of pixels; with ``groups_by='images'`` its number of images.
        kwargs: arguments of `IoUMetric`.

    Raises:
        FileNotFoundError: there is no such file.
        TypeError: an argument that `IoUMetric` does not have, or a threshold that is no number.
        ValueError: the counts are empty, or not for the classes of the data set; ``class_counts='auto'``; an unknown
            ``groups_by``; thresholds that do not increase; a data set without class names.
    """

    def __init__(
        self,
        class_counts: Counts | str,
        groups_by: str = 'pixels',
        thresholds: Sequence[float] | None = None,
        **kwargs: Any,
    ) -> None:
        _check_options(kwargs)
        super().__init__(**kwargs)
        if groups_by not in tuple(_FIELDS):
            raise ValueError(f'got groups_by={groups_by!r}; expected one of {", ".join(map(repr, _FIELDS))}')
        _check_thresholds(thresholds, groups_by)
        _read_counts(class_counts, groups_by)
        self.class_counts = class_counts
        self.groups_by = groups_by
        self.thresholds = thresholds
        self.groups: list[str] = []
        self._logged_groups = False

    @property
    def dataset_meta(self) -> dict | None:
        """Facts on the tested data set, which a loop sets when it is built; the groups of its classes follow."""
        return self._dataset_meta

    @dataset_meta.setter
    def dataset_meta(self, dataset_meta: dict) -> None:
        classes = dataset_meta.get('classes')
        if classes is None:
            raise ValueError(
                'RareClassIoU: the data set does not name its classes; set metainfo=dict(classes=[...]) of the data set'
            )
        counts = _read_counts(self.class_counts, self.groups_by, classes)
        if len(counts) != len(classes):
            source = f' {self.class_counts}' if isinstance(self.class_counts, str) else ''
            raise ValueError(
                f'class_counts{source} has {len(counts)} entries, but the data set has {len(classes)} classes; set one '
                f'number for each of {list(classes)}'
            )
        self._dataset_meta = dataset_meta
        self.groups = frequency_groups(counts, self.groups_by, self.thresholds)

    def compute_metrics(self, results: list[tuple[Tensor, ...]]) -> dict[str, float]:
        """Return percentages by name."""
        metrics = super().compute_metrics(results)
        if self.format_only:
            return metrics
        # intersection, union, predictions and labels, of every image and class
        areas = torch.stack([torch.stack(image) for image in results], 1).double()
        scores = self.total_area_to_metrics(*areas.sum(1), ['mIoU'], self.nan_to_num)
        iou, accuracy = (torch.from_numpy(scores[name]) for name in ('IoU', 'Acc'))
        found = self._means_of_groups(iou, accuracy) | _means_by_image(areas[0], areas[1], areas[3])
        # A class without any pixel has no IoU, also where nan_to_num stands for it.
        found['IoU_worst'], worst = torch.where(areas[1].sum(0) > 0, iou, math.inf).min(0)
        percent = {name: float(np.round(100 * float(value), 2)) for name, value in found.items() if value.isfinite()}
        self._log_groups(areas[3].sum(0), [name for name in found if name not in percent])
        if 'IoU_worst' in percent:
            self._log(f'the worst IoU is {percent["IoU_worst"]:.2f}, of {self.dataset_meta["classes"][worst]}')
        return metrics | percent

    def _means_of_groups(self, iou: Tensor, accuracy: Tensor) -> dict[str, Tensor]:
        members = {group: torch.tensor([one == group for one in self.groups]) for group in GROUPS}
        return {
            f'm{name}_{group}': scores[of_group].nanmean()
            for group, of_group in members.items()
            for name, scores in (('IoU', iou), ('Acc', accuracy))
        }

    def _log_groups(self, labelled: Tensor, left_out: Sequence[str]) -> None:
        if self._logged_groups:
            return
        self._logged_groups = True
        names = self.dataset_meta['classes']
        for group in GROUPS:
            members = [name for name, one in zip(names, self.groups, strict=True) if one == group]
            self._log(f'{group} by {self.groups_by} of the training set: {", ".join(members) or "no class"}')
        absent = [name for name, pixels in zip(names, labelled.tolist(), strict=True) if not pixels]
        if absent:
            self._log(f'no tested image has a label of {", ".join(absent)}')
        if left_out:
            self._log(f'without a class to average, there is no {", ".join(left_out)}')

    @staticmethod
    def _log(message: str) -> None:
        print_log(f'RareClassIoU: {message}', logger='current')


def frequency_groups(
    counts: Sequence[float], groups_by: str = 'pixels', thresholds: Sequence[float] | None = None
) -> list[str]:
    """Return ``'rare'``, ``'common'`` or ``'frequent'`` for every class, as `RareClassIoU` describes.

    Example:
        >>> frequency_groups([500, 40, 3, 40, 7])
        ['frequent', 'common', 'rare', 'common', 'rare']
        >>> frequency_groups([700, 200, 100], thresholds=(15, 50))
        ['frequent', 'common', 'rare']
    """
    if thresholds is not None:
        low, high = thresholds
        values = 100 * np.asarray(counts) / np.sum(counts) if groups_by == 'pixels' else counts
        return [_OF_SHOTS[group] for group in shot_groups(values, many=high, few=low)]
    groups = np.empty(len(counts), object)
    for group, members in zip(GROUPS, np.array_split(np.argsort(counts, kind='stable'), len(GROUPS)), strict=True):
        groups[members] = group
    return groups.tolist()


def _means_by_image(intersection: Tensor, union: Tensor, label: Tensor) -> dict[str, Tensor]:
    """Return the means of (N, C) areas; the inner mean of nothing is NaN, which the outer one leaves out."""
    iou = torch.where(label > 0, intersection / union, math.nan)
    return dict(mIoU_I=iou.nanmean(1).nanmean(), mIoU_C=iou.nanmean(0).nanmean())


def _check_options(options: Mapping[str, Any]) -> None:
    """Raise TypeError for an argument that `IoUMetric` would take and ignore."""
    known = [name for name in inspect.signature(IoUMetric).parameters if name != 'kwargs']
    unknown = [name for name in options if name not in known]
    if unknown:
        raise TypeError(
            f'RareClassIoU: got {", ".join(unknown)}; expected class_counts, groups_by, thresholds, or arguments of '
            f'IoUMetric: {", ".join(known)}'
        )


def _check_thresholds(thresholds: Sequence[float] | None, groups_by: str) -> None:
    if thresholds is None:
        return
    if not isinstance(thresholds, (list, tuple)) or len(thresholds) != 2:
        raise ValueError(f'got thresholds={thresholds!r}; expected two numbers, or None for thirds of the classes')
    for threshold in thresholds:
        check_finite('thresholds', threshold)
    low, high = thresholds
    highest = 100 if groups_by == 'pixels' else math.inf
    if not 0 < low < high < highest:
        unit = 'percentages of the pixels, below 100' if groups_by == 'pixels' else 'numbers of images'
        raise ValueError(
            f'got thresholds={thresholds!r} with groups_by={groups_by!r}; expected two increasing numbers above 0, '
            f'{unit}'
        )


def _read_counts(class_counts: Counts | str, groups_by: str, classes: Sequence[str] | None = None) -> list[float]:
    """Return the numbers in the order of the classes, or unless these are known, in that of a dict."""
    if isinstance(class_counts, str):
        if class_counts == AUTOMATIC:
            raise ValueError(
                "got class_counts='auto'; a metric does not see the training set; run "
                '`mmrecall class-statistics` and set class_counts to the file that it writes'
            )
        return read_class_counts(class_counts, classes, _FIELDS[groups_by]).counts
    if isinstance(class_counts, Mapping):
        class_counts = _in_order(class_counts, class_counts if classes is None else classes)
    numbers = one_number_per_class('class_counts', class_counts)
    check_class_counts(numbers)
    return numbers.tolist()


def _in_order(class_counts: Mapping[str, float], classes: Sequence[str] | Mapping[str, float]) -> list[float]:
    unknown = [name for name in class_counts if name not in classes]
    missing = [name for name in classes if name not in class_counts]
    if unknown or missing:
        raise ValueError(
            f'got class_counts with unknown names {unknown} and missing names {missing}; expected one number for each '
            f'of {list(classes)}'
        )
    return [class_counts[name] for name in classes]
