"""How many pixels or images of every class a training set has."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from rich.console import Console
from rich.progress import Progress
from torch.utils.data import DataLoader, Dataset

from mmrecall.datasets.failures import raise_failures
from mmrecall.datasets.sources import Source, find_sources
from mmrecall.io import atomic_write
from mmrecall.losses.class_counts import CountedClasses
from mmrecall.losses.counting import Labels, count_classes

Array = np.ndarray

# a data set of OpenMMLab, or a wrapper, has one of these
_OPENMMLAB = ('get_data_info', 'metainfo', 'dataset', 'datasets')
# how many items a worker counts before it reports
_CHUNK = {'pixels': 4, 'images': 512}


class LabelCounts(NamedTuple):
    """What a training set holds, repeated items counted as often as training meets them."""

    classes: list[str]
    counts: list[int]
    """Pixels, or images, of every class."""
    images: list[int]
    """Images that contain the class."""
    image_totals: list[int] | None
    """Labelled pixels of all images that contain the class (what median frequency divides by); None for images."""
    ignored: int
    """Unlabelled pixels, or images without a label."""
    total: int
    """All pixels, or images, ignored ones too."""
    num_images: int
    unit: str
    """``'pixels'`` or ``'images'``."""

    def write(self, path: str | Path) -> None:
        """Write the JSON that ``class_counts=`` reads; it is complete or not there at all.

        Raises:
            OSError: it cannot be written; names it.
        """
        lines = (f'  {json.dumps(name)}: {json.dumps(value)}' for name, value in self._asdict().items())
        path = Path(path)
        # a name of its own, because several runs may write one file
        own = path.with_name(f'{path.name}.{os.getpid()}')
        with atomic_write(own) as partial:
            partial.write_text('{\n' + ',\n'.join(lines) + '\n}\n', encoding='utf-8')
        own.replace(path)

    @classmethod
    def read(cls, path: str | Path) -> LabelCounts:
        """Read what `write` wrote.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: it does not hold class counts.
        """
        try:
            found = cls(**json.loads(Path(path).read_text(encoding='utf-8')))
            found._check()
        except (TypeError, ValueError, RecursionError) as error:
            raise ValueError(f'{path} does not hold class counts ({error}); remove it and count again') from error
        return found

    def _check(self) -> None:
        for numbers in (self.counts, self.images, self.counts if self.image_totals is None else self.image_totals):
            if len(numbers) != len(self.classes) or not all(type(number) is int and number >= 0 for number in numbers):
                raise ValueError('there is not one number for every class')


def count_labels(
    dataset: Any,
    ignore_index: int | None = None,
    num_classes: int | None = None,
    num_workers: int = 0,
    progress: bool = False,
    on_progress: Callable[[], None] = lambda: None,
    labels: Labels | None = None,
) -> LabelCounts | CountedClasses:
    """Count the classes of a training set of mmseg (pixels) or mmpretrain (images), wrappers included.

    A DataLoader, or what is no data set of OpenMMLab, is counted by `mmrecall.losses.count_classes`.

    Of the pipeline only the transform that loads the annotations runs (its class, or one that it inherits from, is
    called ``Load...Annotations`` or ``Load...Annotation``), so the label map and ``reduce_zero_label`` are honoured and
    no image is read. What the rest of the pipeline does, crops for example, is not counted. All items are looked at
    before what is wrong with them is raised: counts of a part would be wrong.

    Args:
        dataset: a built data set.
        ignore_index: label that is not counted; by default the data set's, 255 if it has none, -100 for images.
        num_classes: for a data set that does not name its classes.
        num_workers: processes that read labels; 0 reads them in this one.
        progress: show a progress bar.
        on_progress: called again and again during the count.
        labels: where the labels are in the batches of a DataLoader, see `mmrecall.losses.count_classes`.

    Raises:
        FailedFiles: several files are wrong; names them.
        FileNotFoundError: a label file is missing; names it.
        ValueError: a label that cannot be read, or that is neither a class nor ignored; names the file. A data set
            that is empty, of unknown kind, or without class names.
        TypeError: a wrapper that is not known.

    Example:
        >>> class Flowers:  # stands for a data set of mmpretrain
        ...     metainfo = dict(classes=('rose', 'tulip'))
        ...     def __len__(self): return 3
        ...     def get_data_info(self, index): return dict(gt_label=[0, 1, 1][index])
        >>> count_labels(Flowers()).counts
        [1, 2]
    """
    if isinstance(dataset, DataLoader) or not any(hasattr(dataset, name) for name in _OPENMMLAB):
        return _count_classes(dataset, ignore_index, num_classes, labels)
    sources = find_sources(dataset, ignore_index)
    classes = _class_names(sources, num_classes)
    table = np.zeros((3, len(classes) + 1), np.int64)
    for part in _count_in_parallel(sources, len(classes), num_workers, progress):
        table += part
        on_progress()
    unit, num_images = sources[0].unit, sum(int(source.times.sum()) for source in sources)
    # the last column is what is ignored
    counts, images, image_totals = table[:, :-1].tolist()
    return LabelCounts(
        classes=classes,
        counts=counts,
        images=images,
        image_totals=image_totals if unit == 'pixels' else None,
        ignored=int(table[0, -1]),
        total=int(table[0].sum()) if unit == 'pixels' else num_images,
        num_images=num_images,
        unit=unit,
    )


def _count_classes(
    data: Any, ignore_index: int | None, num_classes: int | None, labels: Labels | None
) -> CountedClasses:
    if num_classes is None:
        raise ValueError(f'got num_classes=None for a {type(data).__name__}; expected an integer; set num_classes')
    options = {} if ignore_index is None else dict(ignore_index=ignore_index)
    return count_classes(data, num_classes, labels=labels, **options)


def _class_names(sources: Sequence[Source], num_classes: int | None) -> list[str]:
    found = [source.dataset.metainfo.get('classes') for source in sources]
    named = [list(classes) for classes in found if classes is not None]
    if len({len(classes) for classes in named}) > 1:
        raise ValueError(
            f'the data sets have {", ".join(str(len(classes)) for classes in named)} classes; those that are '
            'trained together must have the same'
        )
    if named:
        return named[0]
    if num_classes is None:
        raise ValueError(
            f'{type(sources[0].dataset).__name__} does not name its classes; set metainfo=dict(classes=[...]) of the '
            'data set, or num_classes of the loss'
        )
    return [str(number) for number in range(num_classes)]


class _Part(NamedTuple):
    table: Array
    failures: list[Exception]


class _Chunks(Dataset):
    """Items are tables, int64 (3, C + 1), of a few items each, and the errors that some of them raised."""

    def __init__(self, sources: Sequence[Source], num_classes: int) -> None:
        self.sources = sources
        self.num_classes = num_classes
        self.chunks: list[tuple[int, Array]] = []
        for number, source in enumerate(sources):
            indices = np.flatnonzero(source.times)
            size = _CHUNK[source.unit]
            self.chunks += [(number, indices[start : start + size]) for start in range(0, len(indices), size)]

    def __len__(self) -> int:
        return len(self.chunks)

    def __getitem__(self, item: int) -> _Part:
        number, indices = self.chunks[item]
        source = self.sources[number]
        table = np.zeros((3, self.num_classes + 1), np.int64)
        failures: list[Exception] = []
        for index in indices.tolist():
            try:
                found, times = source.count(index, self.num_classes), source.times[index]
            except Exception as error:
                # raised in a worker it would come with another message, and with a traceback of PyTorch's
                failures.append(error)
            else:
                table[:, found.classes] += times * _table(found.numbers)
                table[0, -1] += times * found.ignored
        return _Part(table, failures)


def _table(numbers: Array) -> Array:
    """(3, K): pixels of each class, the images that contain it, and all labelled pixels of these."""
    return np.stack([numbers, np.ones_like(numbers), np.full_like(numbers, numbers.sum())])


def _count_in_parallel(sources: Sequence[Source], num_classes: int, num_workers: int, progress: bool) -> Any:
    chunks = _Chunks(sources, num_classes)
    loader = DataLoader(
        chunks,
        batch_size=None,
        num_workers=min(num_workers, len(chunks)),
        collate_fn=_unchanged,
        # the loader draws a seed: of the global generator, it would change what the training draws
        generator=torch.Generator(),
    )
    # before the bar, whose thread must not be forked
    parts = iter(loader)
    failures: list[Exception] = []
    with Progress(console=Console(stderr=True), transient=True, disable=not progress) as bar:
        task = bar.add_task('Counting classes', total=sum(len(indices) for _, indices in chunks.chunks))
        for (_, indices), part in zip(chunks.chunks, parts, strict=True):
            failures += part.failures
            bar.advance(task, len(indices))
            yield part.table
    raise_failures('the classes are not counted', failures)


def _unchanged(part: _Part) -> _Part:
    return part
