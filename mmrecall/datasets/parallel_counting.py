"""The labels of a training set, read by several processes and counted item by item."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from mmengine.logging import print_log
from rich.console import Console
from rich.progress import track
from torch.utils.data import ConcatDataset, DataLoader, Dataset

from mmrecall.datasets.failures import raise_failures
from mmrecall.datasets.label_sources import ItemCounts, Source

Part = TypeVar('Part')

# number of items that a worker counts between two reports
_BATCH = {'pixels': 4, 'images': 512}


def warn_of_unknown_transforms(sources: Sequence[Source]) -> None:
    """Warn of transforms of other packages, which might edit the labels after they are counted."""
    names = dict.fromkeys(name for source in sources for name in source.unknown_transforms)
    if names:
        print_log(
            f'{", ".join(names)} come after the labels are loaded, and what they change is not counted; if they edit '
            'labels, count with through_pipeline=True (an option of ClassCountsHook and count_labels) '
            'or with `mmrecall class-statistics --through-pipeline`',
            logger='current',
            level=logging.WARNING,
        )


def class_names(sources: Sequence[Source], num_classes: int | None) -> list[str]:
    """Return the names of the classes, or their numbers if the data sets have no names.

    Raises:
        ValueError: data sets of different numbers of classes, or neither names nor ``num_classes``.
    """
    found = [getattr(source.dataset, 'metainfo', {}).get('classes') for source in sources]
    named = [list(classes) for classes in found if classes is not None]
    if len({len(classes) for classes in named}) > 1:
        raise ValueError(
            f'got data sets of {", ".join(str(len(classes)) for classes in named)} classes; expected the same classes '
            'in all data sets of a training'
        )
    if named:
        return named[0]
    if num_classes is None:
        raise ValueError(
            f'{type(sources[0].dataset).__name__} does not name its classes; set metainfo=dict(classes=[...]) of the '
            'data set, or num_classes of the loss'
        )
    return [str(number) for number in range(num_classes)]


class CountedItem(NamedTuple):
    """Class counts of an item of a data set."""

    row: int
    """Number of the item among those of all data sets."""
    times: int
    """Number of times that an epoch contains it."""
    counts: ItemCounts
    """Class counts."""


class _CountedItems(Dataset):
    """Items of a source as their class counts, or as the errors of counting them; ``start`` is the row of item 0."""

    def __init__(self, source: Source, num_classes: int, start: int) -> None:
        self.source = source
        self.num_classes = num_classes
        self.start = start
        self.indices = np.flatnonzero(source.times)

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, number: int) -> CountedItem | Exception:
        index = int(self.indices[number])
        try:
            counts = self.source.count(index, self.num_classes)
        except Exception as error:
            # if a worker raised it, PyTorch would change the message and add a traceback
            return error
        return CountedItem(self.start + index, self.source.times[index], counts)


def first_rows(sources: Sequence[Source]) -> list[int]:
    """Return the row of the first item of every source, if the items of all sources are the rows of one table."""
    return np.cumsum([0, *(len(source.dataset) for source in sources)])[:-1].tolist()


def count_in_parallel(
    sources: Sequence[Source],
    num_classes: int,
    combine: Callable[[Sequence[CountedItem], int], Part],
    num_workers: int = 0,
    progress: bool = False,
    on_progress: Callable[[], None] = lambda: None,
) -> Iterator[Part]:
    """Yield the combined counts of one batch of items after the other, each item once.

    The random numbers of the training stay as they would be without the count.

    Args:
        sources: plain data sets.
        num_classes: number of classes.
        combine: function of a list of `CountedItem` and the number of classes, called in the workers.
        num_workers, progress, on_progress: see `count_labels`.

    Raises:
        Exception: the errors of `count_labels`, when all items are read.
    """
    starts = first_rows(sources)
    items = ConcatDataset(
        [_CountedItems(source, num_classes, start) for source, start in zip(sources, starts, strict=True)]
    )
    batch_size = _BATCH[sources[0].unit]
    loader = DataLoader(
        items,
        batch_size=batch_size,
        num_workers=min(num_workers, -(-len(items) // batch_size)),
        collate_fn=partial(_combine, combine=combine, num_classes=num_classes),
        # a loader draws a seed; from the global generator, that would change the random numbers of the training
        generator=torch.Generator(),
    )
    failures: list[Exception] = []
    with _kept_random_state():
        # the workers are forked before the progress bar starts its thread, which a fork does not survive
        parts = iter(loader)
        console = Console(stderr=True)
        for part, failed in track(
            parts, 'Counting classes', len(loader), console=console, transient=True, disable=not progress
        ):
            failures += failed
            yield part
            on_progress()
    raise_failures('the classes are not counted', failures)


def _combine(
    items: Sequence[CountedItem | Exception], combine: Callable[[Sequence[CountedItem], int], Part], num_classes: int
) -> tuple[Part, list[Exception]]:
    """Return the combined counts of a batch and the errors in it."""
    counted = [item for item in items if isinstance(item, CountedItem)]
    return combine(counted, num_classes), [item for item in items if isinstance(item, Exception)]


@contextmanager
def _kept_random_state() -> Iterator[None]:
    """Leave the random numbers of the training as they would be without the transforms of a count."""
    of_python, of_numpy = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        random.setstate(of_python)
        np.random.set_state(of_numpy)
