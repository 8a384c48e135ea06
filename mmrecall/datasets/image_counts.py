"""Numbers of pixels of every class in every image of a training set, and the file that keeps them."""

from __future__ import annotations

import io
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from mmengine.logging import print_log

from mmrecall.datasets.label_sources import Source, data_key, find_sources
from mmrecall.datasets.parallel_counting import (
    CountedItem,
    class_names,
    count_in_parallel,
    first_rows,
    warn_of_unknown_transforms,
)
from mmrecall.io import atomic_write

Array = np.ndarray


class ImageCounts(NamedTuple):
    """Numbers of pixels of every class in every image of the plain data sets inside a training set."""

    classes: list[str]
    """Names of the C classes."""
    counts: Array
    """Pixels, (N, C) int64: a row for each image of the first data set, then of the second, …"""
    key: str | None
    """`data_key` of the training set; None where a change of its labels could not be noticed."""

    def write(self, path: str | Path) -> None:
        """Write a compressed NPZ file, as a whole or not at all.

        Raises:
            OSError: the file cannot be written; names it.
        """
        with atomic_write(path) as partial, partial.open('wb') as file:
            np.savez_compressed(file, classes=np.array(self.classes), counts=self.counts, key=np.array(self.key or ''))

    @classmethod
    def read(cls, path: str | Path) -> ImageCounts:
        """Read the file of `write`; no objects are unpickled.

        Raises:
            FileNotFoundError: the file is missing.
            ValueError: the file does not hold counts by image.
        """
        content = Path(path).read_bytes()
        try:
            with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
                classes, counts, key = (arrays[name] for name in ('classes', 'counts', 'key'))
            if counts.dtype != np.int64 or counts.ndim != 2 or counts.shape[1:] != classes.shape or (counts < 0).any():
                raise ValueError('expected a number of pixels for every image and class')
        except Exception as error:  # a damaged archive raises errors of many types
            raise ValueError(
                f'{path} does not hold counts by image ({error}); remove it, or name another file'
            ) from error
        return cls(classes.tolist(), counts, str(key) or None)


def count_images(
    dataset: Any,
    ignore_index: int | None = None,
    num_classes: int | None = None,
    num_workers: int = 0,
    progress: bool = False,
    on_progress: Callable[[], None] = lambda: None,
) -> ImageCounts:
    """Count the pixels of every class in every image of a training set of mmseg.

    The labels are those that `count_labels` counts. An image that an epoch contains several times has one row; one that
    no epoch contains has zeros.

    Args:
        dataset: a built data set, possibly in wrappers.
        ignore_index, num_classes, num_workers, progress, on_progress: see `count_labels`.

    Raises:
        ValueError: a data set of labelled images, or an error of `count_labels`.
    """
    sources = find_pixel_sources(dataset, ignore_index)
    warn_of_unknown_transforms(sources)
    classes = class_names(sources, num_classes)
    # before the labels are read, so that one that changes meanwhile is noticed
    key = data_key(dataset, ignore_index, on_progress)
    counts = np.zeros((sum(len(source.dataset) for source in sources), len(classes)), np.int64)
    for rows, part in count_in_parallel(sources, len(classes), _stack, num_workers, progress, on_progress):
        counts[rows] = part
    return ImageCounts(classes, counts, key)


def _stack(items: Sequence[CountedItem], num_classes: int) -> tuple[list[int], Array]:
    """Return the rows of a batch, B of them, and their counts, (B, C)."""
    counts = np.zeros((len(items), num_classes), np.int64)
    for line, item in zip(counts, items, strict=True):
        line[item.counts.classes] = item.counts.numbers
    return [item.row for item in items], counts


def find_pixel_sources(dataset: Any, ignore_index: int | None = None) -> list[Source]:
    """Return the plain data sets inside a training set of segmentation.

    Raises:
        ValueError: labels of images, or an error of `find_sources`.
    """
    sources = find_sources(dataset, ignore_index)
    if sources[0].unit != 'pixels':
        raise ValueError(
            f'got a {type(sources[0].dataset).__name__} with a label per image; expected labels of pixels; for '
            'classification, use mmrecall.ClassProbabilitySampler'
        )
    return sources


def rows_of_items(sources: Sequence[Source]) -> Array:
    """Return the row in `ImageCounts` of every item of a training set, (len(dataset),) int64."""
    rows = np.empty(sum(len(source.items) for source in sources), np.int64)
    for source, start in zip(sources, first_rows(sources), strict=True):
        rows[source.items] = start + source.indices
    return rows


def read_or_count_images(
    dataset: Any, path: str | Path | None = None, on_progress: Callable[[], None] = lambda: None
) -> ImageCounts:
    """Return the counts in a file if they are those of a training set; otherwise count, and write the file.

    Counts are used again as long as `data_key` is the same; without a key, the labels are counted every time.

    Args:
        dataset: a built data set of mmseg, possibly in wrappers.
        path: the file; None to count without one.
        on_progress: function that is called repeatedly during the count.

    Raises:
        OSError: the file cannot be written.
        ValueError: the file holds something else, or an error of `count_images`.
    """
    if path is not None and Path(path).is_file():
        found = ImageCounts.read(path)
        if found.key is not None and found.key == data_key(dataset, on_progress=on_progress):
            print_log(f'Counts by image of {path}', logger='current')
            return found
        print_log(
            f'{path} holds the counts of other labels, or of labels whose changes cannot be noticed; counting again',
            logger='current',
            level=logging.WARNING,
        )
    print_log('Counting the classes of every image of the training set', logger='current')
    found = count_images(dataset, progress=True, on_progress=on_progress)
    if path is not None:
        found.write(path)
    return found
