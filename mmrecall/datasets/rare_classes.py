"""Sampler that draws the images of rare classes more often, for segmentation."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from mmengine.logging import print_log

from mmrecall.datasets.image_counts import (
    ImageCounts,
    find_pixel_sources,
    read_or_count_images,
    rows_of_items,
)
from mmrecall.datasets.label_sources import Source
from mmrecall.datasets.parallel_counting import first_rows
from mmrecall.datasets.samplers import ClassThenItemSampler
from mmrecall.rank_zero import run_on_rank_zero
from mmrecall.registry import DATA_SAMPLERS, register

Array = np.ndarray


def rare_class_probabilities(
    counts: Sequence[int], temperature: float = 0.01, drawn: Sequence[bool] | None = None
) -> Array:
    """Return the probability that each class is drawn, (C,) float64; 0 for a class without pixels.

    P(c) = exp((1 - f_c) / T) / Σ_k exp((1 - f_k) / T), f_c the share of class c among the labelled pixels, T the
    temperature: rare class sampling of Hoyer et al., "DAFormer", CVPR 2022, with the shares of the authors' code.

    Args:
        counts: number of pixels of every class, (C,).
        temperature: T, above 0; the larger, the more alike the probabilities.
        drawn: whether each class can be drawn, (C,); by default those with pixels. The sum is over these alone.

    Raises:
        ValueError: a temperature that is not positive, or no class to draw.

    Example:
        >>> rare_class_probabilities([75, 20, 5, 0], temperature=0.5).round(3).tolist()
        [0.124, 0.373, 0.503, 0.0]
        >>> rare_class_probabilities([75, 20, 5, 0], 0.5, drawn=[True, True, False, False]).round(3).tolist()
        [0.25, 0.75, 0.0, 0.0]
    """
    if not 0 < temperature < math.inf:
        raise ValueError(f'got temperature={temperature}; expected a number above 0')
    counts = np.asarray(counts, np.float64)
    possible = (counts > 0) & (True if drawn is None else np.asarray(drawn, bool))
    if not possible.any():
        raise ValueError(f'got counts={counts.tolist()}, drawn={drawn}; expected at least one class to draw')
    shares = counts / counts.sum()
    # relative to the rarest class, whose exponential is 1
    weights = np.where(possible, np.exp((shares[possible].min() - np.where(possible, shares, 1)) / temperature), 0)
    return weights / weights.sum()


@register(DATA_SAMPLERS)
class RareClassSampler(ClassThenItemSampler):
    """Sampler with replacement that draws a class by `rare_class_probabilities`, then an image of it uniformly.

    The images of a class are those with more than ``min_pixels`` pixels of it. A class that no image holds so many of
    is left out, with a warning, and the others take its probability. Hoyer et al., "DAFormer", CVPR 2022.

    The pixels are those of the label files, before any transform resizes or crops them. 3000 is for the 2048x1024 of
    Cityscapes: for images of H x W pixels, multiply it by H W / (2048 * 1024).

    A crop for the drawn class is made by `RareClassCrop` in the pipeline of the data set, which this sampler tells the
    probabilities of the classes.

    An epoch has as many draws as the data set has items, rounded up to a multiple of the ranks. The draws depend on the
    seed and the epoch alone, and every rank takes its part of one sequence, so a resumed training and one with another
    number of ranks see the same draws.

    Args:
        dataset: a data set of mmseg, possibly in wrappers.
        min_pixels: number of pixels of the class that an image must exceed to be drawn for it.
        temperature: T of the probabilities.
        endless: whether the draws go on without end, for a training by iterations, as those of mmengine's
            `InfiniteSampler`. In a training by epochs, the first epoch would have no end.
        image_counts: path of an NPZ file for the counts by image. It is read if its counts are those of the data set,
            and written otherwise; without one, rank 0 counts at the beginning of every training.
        seed: seed, the same on all ranks; by default the ranks agree on a random one.

    Raises:
        ValueError: ``min_pixels`` below 0, a temperature that is not positive, a data set without labels of pixels, no
            image with so many pixels of a class, or a label that cannot be counted.
        RuntimeError: on the other ranks, if counting failed on rank 0.

    Example:
        >>> from mmrecall.datasets import RareClassSampler
        >>> sampler = dict(type=RareClassSampler, min_pixels=3000, endless=True)
    """

    def __init__(
        self,
        dataset: Any,
        min_pixels: int = 3000,
        temperature: float = 0.01,
        endless: bool = False,
        image_counts: str | None = None,
        seed: int | None = None,
    ) -> None:
        if min_pixels < 0:
            raise ValueError(f'got min_pixels={min_pixels}; expected a number of pixels, at least 0')
        if not 0 < temperature < math.inf:
            raise ValueError(f'got temperature={temperature}; expected a number above 0')
        if image_counts is not None and not str(image_counts).endswith('.npz'):
            raise ValueError(
                f'got image_counts={str(image_counts)!r}; expected the path of an NPZ file, ending in .npz'
            )
        sources = find_pixel_sources(dataset)
        found = run_on_rank_zero(
            lambda on_progress: read_or_count_images(dataset, image_counts, on_progress),
            'counting the classes of every image',
        )
        enough = found.counts > min_pixels
        rows = rows_of_items(sources)
        classes, held = np.nonzero(enough[rows].T)
        sizes = np.bincount(classes, minlength=len(found.classes))
        _check_held(found, sizes > 0, min_pixels)
        totals = found.counts.T @ np.bincount(rows, minlength=len(enough))
        self.probabilities = rare_class_probabilities(totals, temperature, sizes > 0)
        super().__init__(held, sizes, len(rows), seed, endless=endless)
        _tell_crops(sources, enough, self.probabilities / np.maximum(sizes, 1))

    def class_probabilities(self) -> Array:
        """Return the probability of each class, the same in every epoch, (C,) float64."""
        return self.probabilities


def _check_held(found: ImageCounts, is_held: Array, min_pixels: int) -> None:
    """Warn of the classes that are left out; raise an error if all are."""
    most = found.counts.max(0).tolist()
    if not is_held.any():
        raise ValueError(
            f'got min_pixels={min_pixels}, but an image holds at most {max(most)} pixels of a class; set min_pixels to '
            '3000 * H * W / (2048 * 1024) for images of H x W'
        )
    left_out = [
        f'{name} (at most {number})'
        for name, number, held in zip(found.classes, most, is_held, strict=True)
        if not held
    ]
    if left_out:
        print_log(
            f'RareClassSampler leaves out {len(left_out)} of {len(most)} classes, because no image holds '
            f'more than min_pixels={min_pixels} pixels of them: {", ".join(left_out)}',
            logger='current',
            level=logging.WARNING,
        )


def _tell_crops(sources: Sequence[Source], enough: Array, weights: Array) -> None:
    """Give every `RareClassCrop` the classes that each image is drawn for, and the weights of the classes.

    If class c is drawn with the probability P(c) and then one of its n_c images, an image that is drawn is drawn for
    class c with a probability proportional to P(c) / n_c.
    """
    for source, start in zip(sources, first_rows(sources), strict=True):
        for transform in source.transforms:
            if hasattr(transform, 'set_classes'):
                transform.set_classes(enough[start : start + len(source.dataset)], weights)
