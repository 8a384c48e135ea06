"""Numbers of pixels or images of every class in a training set."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from torch.utils.data import DataLoader

from mmrecall.datasets.label_sources import find_sources, is_of_openmmlab_kind
from mmrecall.datasets.parallel_counting import CountedItem, class_names, count_in_parallel, warn_of_unknown_transforms
from mmrecall.io import atomic_write
from mmrecall.losses.class_counts import CountedClasses
from mmrecall.losses.counting import Labels, count_classes

Array = np.ndarray


class LabelCounts(NamedTuple):
    """Class counts of a training set; repeated items count as often as an epoch contains them."""

    classes: list[str]
    """Names of the classes."""
    counts: list[int]
    """Pixels, or images, of every class."""
    images: list[int]
    """Images that contain the class."""
    image_totals: list[int] | None
    """Labelled pixels of all images that contain the class, the divisors of median frequency; None for images."""
    ignored: int
    """Ignored pixels, or images without a label."""
    total: int
    """All pixels, or images, including the ignored ones."""
    num_images: int
    """All images."""
    unit: str
    """``'pixels'`` or ``'images'``."""

    def write(self, path: str | Path) -> None:
        """Write the JSON file that ``class_counts=`` of the losses reads, as a whole or not at all.

        Raises:
            OSError: the file cannot be written; names it.
        """
        lines = (f'  {json.dumps(name)}: {json.dumps(value)}' for name, value in self._asdict().items())
        path = Path(path)
        # several processes may write the same file: each writes another one and then renames it
        temporary = path.with_name(f'{path.name}.{os.getpid()}')
        with atomic_write(temporary) as partial_file:
            partial_file.write_text('{\n' + ',\n'.join(lines) + '\n}\n', encoding='utf-8')
        temporary.replace(path)

    @classmethod
    def read(cls, path: str | Path) -> LabelCounts:
        """Read the file of `write`.

        Raises:
            FileNotFoundError: the file is missing.
            ValueError: the file does not hold class counts.
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
                raise ValueError('expected one number for every class')


def count_labels(
    dataset: Any,
    ignore_index: int | None = None,
    num_classes: int | None = None,
    num_workers: int = 0,
    progress: bool = False,
    on_progress: Callable[[], None] = lambda: None,
    labels: Labels | None = None,
    through_pipeline: bool = False,
) -> LabelCounts | CountedClasses:
    """Count the classes of a training set of mmseg (pixels) or mmpretrain (images), including its wrappers.

    Of the pipeline, only the transform that loads the annotations runs: its class, or a base class of it, is called
    ``Load...Annotations`` or ``Load...Annotation``. The label map and ``reduce_zero_label`` are thus applied, no image
    is read, and later transforms such as crops have no effect; a warning names those of other packages, which might
    edit the labels. All items are read before any failure is raised, because the counts of a part would be wrong. A
    DataLoader, or any object that is not a data set of OpenMMLab, goes to `mmrecall.losses.count_classes`.

    Args:
        dataset: a built data set.
        ignore_index: label that is not counted; by default that of the data set, or else 255 for pixels and -100 for
            images.
        num_classes: number of classes, for a data set without class names.
        num_workers: number of processes that read labels; with 0, the calling process does.
        progress: whether to show a progress bar.
        on_progress: function that is called repeatedly during the count.
        through_pipeline: whether to run the whole pipeline once for every item and count the labels that come out.
        labels: position of the labels in the batches of a DataLoader, see `mmrecall.losses.count_classes`.

    Raises:
        FailedFiles: several files failed; names all of them.
        FileNotFoundError: a label file is missing; names it.
        ValueError: a label cannot be read, or is neither a class nor ignored, and the message names the file; or the
            data set is empty, of an unknown kind, or without class names.
        TypeError: an unknown wrapper.

    Example:
        >>> class Flowers:  # stand-in for a data set of mmpretrain
        ...     metainfo = dict(classes=('rose', 'tulip'))
        ...     def __len__(self): return 3
        ...     def get_data_info(self, index): return dict(gt_label=[0, 1, 1][index])
        >>> count_labels(Flowers()).counts
        [1, 2]
    """
    if isinstance(dataset, DataLoader) or not is_of_openmmlab_kind(dataset):
        if num_classes is None:
            raise ValueError(
                f'got num_classes=None for a {type(dataset).__name__}; expected an integer; set num_classes'
            )
        options = {} if ignore_index is None else dict(ignore_index=ignore_index)
        return count_classes(dataset, num_classes, labels=labels, **options)
    sources = find_sources(dataset, ignore_index, through_pipeline)
    if not through_pipeline:
        warn_of_unknown_transforms(sources)
    classes = class_names(sources, num_classes)
    table = np.zeros((3, len(classes) + 1), np.int64)
    for part in count_in_parallel(sources, len(classes), _add_up, num_workers, progress, on_progress):
        table += part
    unit, num_images = sources[0].unit, sum(int(source.times.sum()) for source in sources)
    # the last column holds the ignored labels
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


def _add_up(items: Sequence[CountedItem], num_classes: int) -> Array:
    """Return the table of a batch, (3, C + 1).

    The rows hold the pixels of a class, the images that contain it, and all labelled pixels of these images.
    """
    table = np.zeros((3, num_classes + 1), np.int64)
    for _, times, (classes, numbers, ignored) in items:
        rows = [numbers, np.ones_like(numbers), np.full_like(numbers, numbers.sum())]
        table[:, classes] += times * np.stack(rows)
        table[0, -1] += times * ignored
    return table
