"""Class counts of a training set in plain PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from numbers import Integral
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import Dataset, IterableDataset

from mmrecall.functional.validation import check_integer
from mmrecall.losses.class_counts import CountedClasses

Labels = str | int | Callable[[Any], Any]

# the name that Hugging Face's collators give to the labels
_KEY = 'labels'


def count_classes(
    data: Iterable[Any] | Dataset[Any], num_classes: int, *, ignore_index: int = -100, labels: Labels | None = None
) -> CountedClasses:
    """Count the labels of every class in one pass over a DataLoader, a data set or any iterable of labels.

    The losses accept the result as ``class_counts=``. It counts what the iterable yields: with a sampler,
    ``drop_last`` or random crops, that is not the whole data set. PyTorch's random numbers on the CPU are the same
    after the pass as before it, so that the training shuffles as it would without.

    Label maps are counted by pixel, and ``image_totals``, which the weights ``'median_frequency'`` need, are the
    labelled pixels of the images that contain the class. The dimensions of an array say what it holds: none or one,
    the labels of images; two, one label map; three or more, a batch of label maps.

    Args:
        data: batches, or items, that are arrays or tensors of integer labels, or lists of integers; pairs
            (images, labels); or dicts with ``'labels'``. Or one array of all labels.
        num_classes: C, the number of classes.
        ignore_index: label that is not counted.
        labels: where the labels are in batches of another form: the key of a dict, the index of a tuple, or a
            function of the batch.

    Returns:
        ``counts``, C integers, and ``image_totals``, C integers for label maps, else None.

    Raises:
        TypeError: a batch whose labels are not found, or are no integers; the message names the batch.
        ValueError: a label that is neither a class nor ignored; the message names batch and label. Or no label of any
            class.

    Example:
        >>> import torch
        >>> from torch.utils.data import DataLoader, TensorDataset
        >>> images, masks = torch.rand(2, 3, 2, 2), torch.tensor([[[0, 0], [0, 255]], [[0, 1], [1, 1]]])
        >>> loader = DataLoader(TensorDataset(images, masks), batch_size=2)
        >>> count_classes(loader, num_classes=2, ignore_index=255)
        CountedClasses(counts=[4, 3], image_totals=[7, 4])
        >>> count_classes([0, 1, 1, 2], num_classes=3).counts
        [1, 2, 1]
    """
    _check_arguments(num_classes, ignore_index)
    counts = np.zeros(num_classes, np.int64)
    image_totals = np.zeros(num_classes, np.int64)
    only_maps = True
    # a loader draws its seed, and its sampler the order, from the global generator
    with torch.random.fork_rng(devices=[]):
        for number, batch in enumerate(_batches(data)):
            for array in _arrays(_labels_of(batch, labels, number)):
                values = _integers(array, number)
                _check_values(values, num_classes, ignore_index, number)
                only_maps &= values.ndim > 1
                for image in values if values.ndim > 2 else [values]:
                    here = _count(image, num_classes, ignore_index)
                    counts += here
                    image_totals += np.where(here > 0, here.sum(), 0)
    if not counts.any():
        raise ValueError(
            f'got no label of any of the {num_classes} classes; expected at least one; pass an iterable that is not '
            f'used up, or another ignore_index than {ignore_index}'
        )
    return CountedClasses(counts.tolist(), image_totals.tolist() if only_maps else None)


def _check_arguments(num_classes: int, ignore_index: int) -> None:
    check_integer('num_classes', num_classes)
    check_integer('ignore_index', ignore_index)
    if num_classes < 1:
        raise ValueError(f'got num_classes={num_classes}; expected at least 1')


def _batches(data: Iterable[Any] | Dataset[Any]) -> Iterable[Any]:
    if isinstance(data, (Tensor, np.ndarray)):
        return [data]
    if _are_integers(data):
        return [np.asarray(data)]
    if isinstance(data, Dataset) and not isinstance(data, IterableDataset):
        # iter() of a data set ends only where its __getitem__ raises IndexError, which not every one does
        return (data[index] for index in range(len(data)))  # type: ignore[arg-type]
    return data


def _labels_of(batch: Any, labels: Labels | None, number: int) -> Any:
    """Return the labels of a batch."""
    if callable(labels):
        return labels(batch)
    if isinstance(batch, Mapping):
        key = _KEY if labels is None else labels
        if key not in batch:
            raise TypeError(
                f'batch {number}: got a dict with {list(batch)}; expected {key!r} in it; set labels= to the key of the '
                f'labels, or to a function of the batch{_hint(batch)}'
            )
        return batch[key]
    if labels is not None:
        if isinstance(batch, Sequence) and isinstance(labels, int) and -len(batch) <= labels < len(batch):
            return batch[labels]
        raise TypeError(f'batch {number}: got {_describe(batch)}; expected a sequence for which {labels=} is an index')
    if isinstance(batch, (tuple, list)) and not _are_integers(batch):
        # a nested list of integers is no pair
        if len(batch) != 2 or _are_integers(batch[0]):
            raise TypeError(
                f'batch {number}: got {_describe(batch)}; expected labels, or a pair (images, labels); set labels= to '
                'the index of the labels, or to a function of the batch'
            )
        return batch[1]
    return batch


def _arrays(labels: Any) -> list[Any]:
    """Return the arrays of a batch: one, or a list of label maps that differ in size."""
    return list(labels) if isinstance(labels, (tuple, list)) and not _are_integers(labels) else [labels]


def _integers(labels: Any, number: int) -> npt.NDArray[np.int64]:
    values = labels.detach().cpu().numpy() if isinstance(labels, Tensor) else np.asarray(labels)
    # an empty list is an array of floats
    if not np.issubdtype(values.dtype, np.integer) and values.size:
        raise TypeError(
            f'batch {number}: got labels of type {values.dtype} ({_describe(labels)}); expected integers, each the '
            'index of a class; set labels= to the place of such labels, or to a function that converts them'
        )
    return values.astype(np.int64, copy=False)


def _check_values(values: npt.NDArray[np.int64], num_classes: int, ignore_index: int, number: int) -> None:
    wrong = ((values < 0) | (values >= num_classes)) & (values != ignore_index)
    if wrong.any():
        label = values[wrong].flat[0]
        raise ValueError(
            f'batch {number}: got the label {label} ({(values == label).sum()} times); expected 0 to {num_classes - 1},'
            f' or ignore_index={ignore_index}; set ignore_index={label} if it means unlabelled, or num_classes'
        )


def _count(image: npt.NDArray[np.int64], num_classes: int, ignore_index: int) -> npt.NDArray[np.int64]:
    # the ignored label may be one of the classes
    valid = image[(image >= 0) & (image < num_classes) & (image != ignore_index)]
    return np.bincount(valid, minlength=num_classes)


def _are_integers(values: Any) -> bool:
    return isinstance(values, (tuple, list)) and all(isinstance(value, Integral) for value in values)


def _describe(value: Any) -> str:
    name = type(value).__name__
    if isinstance(value, (Tensor, np.ndarray)):
        return f'{name} of shape {tuple(value.shape)}'
    return f'{name} of {len(value)}' if isinstance(value, (tuple, list)) else name


def _hint(batch: Mapping[Any, Any]) -> str:
    return '; or call mmrecall.datasets.count_labels for a data set of OpenMMLab' if 'data_samples' in batch else ''
