"""Labels of data sets: the plain data sets inside wrappers, the classes of their items, a key for cached counts."""

from __future__ import annotations

import hashlib
import inspect
import os
import pickle
import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from mmengine.dataset import ClassBalancedDataset, RepeatDataset
from torch.utils.data import ConcatDataset, Subset

from mmrecall.datasets.failures import raise_failures

Array = np.ndarray

_LOADER = re.compile(r'Load\w*Annotations?')
_OPENMMLAB = ('mmcv', 'mmdet', 'mmengine', 'mmpretrain', 'mmrecall', 'mmseg')
_IGNORED = {'pixels': 255, 'images': -100}
# number of files between two calls of on_progress
_FILES = 64


class ItemCounts(NamedTuple):
    """Class counts of one item."""

    classes: Array
    """Distinct classes of the item, (K,) int64."""
    numbers: Array
    """Pixels of each of them, (K,) int64; 1 each for the classes of an image."""
    ignored: int
    """Ignored pixels, or 1 for an image without a label."""


class Source:
    """Plain data set inside the wrappers of a training set.

    Args:
        dataset: a data set of mmseg or mmpretrain, with ``get_data_info``.
        items: numbers of the items of the training set that come from this data set, (M,) int64.
        indices: index in this data set of each of them, (M,) int64.
        ignore_index: label that is not counted; None for the default of the data set.
        through_pipeline: whether to count the labels after all transforms, instead of those that the loader reads.
    """

    def __init__(
        self,
        dataset: Any,
        items: Array,
        indices: Array,
        ignore_index: int | None = None,
        through_pipeline: bool = False,
    ) -> None:
        self.dataset = dataset
        self.items = items
        self.indices = indices
        # the number of times that an epoch contains each item of the data set
        self.times = np.bincount(indices, minlength=len(dataset))
        self.through_pipeline = through_pipeline
        self.transforms = getattr(getattr(dataset, 'pipeline', None), 'transforms', [])
        self.loaders = [t for t in self.transforms if any(_LOADER.fullmatch(cls.__name__) for cls in type(t).__mro__)]
        later = self.transforms[self.transforms.index(self.loaders[-1]) + 1 :] if self.loaders else []
        self.unknown_transforms = [type(t).__name__ for t in later if _package(type(t)) not in _OPENMMLAB]
        self.unit = self._unit()
        default = getattr(dataset, 'ignore_index', _IGNORED[self.unit])
        self.ignore_index = default if ignore_index is None else ignore_index

    def count(self, index: int, num_classes: int) -> ItemCounts:
        """Count the pixels of every class in an item, or the classes of an image."""
        info = self.dataset.get_data_info(index)
        file = os.fspath(info.get('seg_map_path', info.get('img_path', f'item {index}')))
        if self.through_pipeline:
            info = self._transformed(index, file)
        if self.unit == 'pixels':
            return self._count_labels(self._read_pixels(info, file), num_classes, file)
        found = self._count_labels(np.unique(info['gt_label']), num_classes, file)
        return found._replace(ignored=int(not len(found.classes)))

    def _unit(self) -> str:
        info = self.dataset.get_data_info(0)
        if 'instances' in info:
            raise ValueError(
                f'got a {type(self.dataset).__name__}, whose items are lists of instances; expected labelled pixels or '
                'images; set class_counts to a list or a file with one number per class'
            )
        if self.loaders:
            return 'pixels'
        if 'gt_label' in info:
            return 'images'
        raise ValueError(
            f"{type(self.dataset).__name__} has neither a loader of annotations nor a 'gt_label'; expected a transform "
            "called Load...Annotations in its pipeline, or items with 'gt_label'"
        )

    def _transformed(self, index: int, file: str) -> dict:
        try:
            packed = self.dataset[index]
        except Exception as error:  # transforms raise errors of many types, without the name of the file
            raise ValueError(f'the pipeline fails for {file} ({type(error).__name__}: {error})') from error
        sample = packed.get('data_samples') if isinstance(packed, dict) else None
        label = getattr(sample, 'gt_sem_seg' if self.unit == 'pixels' else 'gt_label', None)
        if label is None:
            raise ValueError(f'the pipeline gives no label for {file}; expected one in its data_samples')
        if self.unit == 'pixels':
            return dict(gt_seg_map=label.data.squeeze(0).numpy())
        return dict(gt_label=label.numpy())

    def _read_pixels(self, info: dict, file: str) -> Array:
        try:
            for loader in [] if self.through_pipeline else self.loaders:
                info = loader(info)
            label = info['gt_seg_map']
        except FileNotFoundError as error:
            raise _missing(file) from error
        except Exception as error:  # decoders raise errors of many types, without the name of the file
            if isinstance(error, ValueError) and file in str(error):
                raise
            raise ValueError(f'{file} cannot be read as a label ({type(error).__name__}: {error})') from error
        if label.ndim == 3 and label.shape[-1] in (3, 4):
            raise ValueError(
                f'{file} is read with the shape {label.shape}; expected one number per pixel; set the loader of '
                'annotations to one for this format'
            )
        return label

    def _count_labels(self, labels: Array, num_classes: int, file: str) -> ItemCounts:
        if labels.dtype == np.uint8:  # several times as fast as np.unique
            numbers = np.bincount(labels.ravel())
            values = np.flatnonzero(numbers)
            numbers = numbers[values]
        else:
            values, numbers = np.unique(labels, return_counts=True)
        ignored = values == self.ignore_index
        wrong = ~ignored & ((values < 0) | (values >= num_classes) | (values % 1 != 0))
        if wrong.any():
            raise wrong_label(file, values[wrong][0], numbers[wrong][0], num_classes, self.ignore_index, unit=self.unit)
        return ItemCounts(values[~ignored].astype(np.int64), numbers[~ignored], int(numbers[ignored].sum()))


def wrong_label(
    file: str, label: int, number: int, num_classes: int, ignore_index: int, unit: str = 'pixels'
) -> ValueError:
    """Return the error for a label that is neither a class nor ignored."""
    return ValueError(
        f'{file} has the label {label} ({number} {unit}), but classes are 0 to {num_classes - 1} and ignore_index is '
        f'{ignore_index}; correct the file, or the label map, reduce_zero_label or classes of the data set'
    )


def _missing(file: str) -> FileNotFoundError:
    return FileNotFoundError(f'the label {file} is missing; is the data set unpacked completely?')


def find_sources(dataset: Any, ignore_index: int | None = None, through_pipeline: bool = False) -> list[Source]:
    """Return the plain data sets inside a training set and its wrappers.

    Args:
        dataset: a built data set.
        ignore_index: label that is not counted; None for the default of each data set.
        through_pipeline: see `Source`.

    Raises:
        TypeError: an unknown wrapper.
        ValueError: an empty data set, one of an unknown kind, or pixels and images together.
    """
    if not len(dataset):
        raise ValueError(
            f'{type(dataset).__name__} is empty; expected at least one item to count; check ann_file and data_root'
        )
    if through_pipeline:
        _refuse_outer_pipelines(dataset)
    found = _unwrap(dataset, np.arange(len(dataset)), np.arange(len(dataset)))
    sources = [Source(inner, *numbers, ignore_index, through_pipeline) for inner, *numbers in found if len(inner)]
    if len({source.unit for source in sources}) > 1:
        raise ValueError('got data sets of labelled pixels and of labelled images; expected one kind; count them apart')
    return sources


def _refuse_outer_pipelines(dataset: Any) -> None:
    inner = getattr(dataset, 'datasets', None) or ([dataset.dataset] if hasattr(dataset, 'dataset') else [])
    if inner and getattr(dataset, 'pipeline', None):
        raise ValueError(
            f'got through_pipeline=True and a {type(dataset).__name__}, whose pipeline mixes several items; count a '
            'DataLoader of it with mmrecall.losses.count_classes, and set class_counts to the result'
        )
    for one in inner:
        _refuse_outer_pipelines(one)


def _unwrap(dataset: Any, items: Array, indices: Array) -> Iterator[tuple[Any, Array, Array]]:
    """Yield every plain data set inside one, the numbers of the items that come from it, and their indices in it."""
    if hasattr(dataset, 'full_init'):
        dataset.full_init()
    if isinstance(dataset, ConcatDataset):
        limits = np.cumsum([0, *map(len, dataset.datasets)])
        parts = np.searchsorted(limits, indices, side='right') - 1
        for part, inner in enumerate(dataset.datasets):
            yield from _unwrap(inner, items[parts == part], indices[parts == part] - limits[part])
    elif isinstance(dataset, RepeatDataset):
        yield from _unwrap(dataset.dataset, items, indices % len(dataset.dataset))
    elif isinstance(dataset, ClassBalancedDataset):
        yield from _unwrap(dataset.dataset, items, np.asarray(dataset.repeat_indices, np.int64)[indices])
    elif isinstance(dataset, Subset):
        # an index may count from the end
        inner_indices = np.asarray(dataset.indices, np.int64)[indices] % len(dataset.dataset)
        yield from _unwrap(dataset.dataset, items, inner_indices)
    elif hasattr(dataset, 'dataset') and _is_of_openmmlab(dataset) and len(dataset.dataset) == len(dataset):
        # in mmseg's MultiImageMixDataset and mmpretrain's KFoldDataset, item i is item i of the inner data set
        yield from _unwrap(dataset.dataset, items, indices)
    elif hasattr(dataset, 'get_data_info') and not hasattr(dataset, 'dataset'):
        yield dataset, items, indices
    else:
        raise TypeError(
            f'got a {type(dataset).__name__}; expected a data set with get_data_info, or a known wrapper (Concat, '
            'Subset, Repeat, ClassBalanced, MultiImageMix, KFold); count the data set inside it, and set class_counts '
            'to a file or a list'
        )


def is_of_openmmlab_kind(dataset: Any) -> bool:
    """Return whether the plain data sets inside a training set have the interface of OpenMMLab's."""
    if hasattr(dataset, 'get_data_info') or hasattr(dataset, 'metainfo'):
        return True
    inner = getattr(dataset, 'datasets', None) or [getattr(dataset, 'dataset', None)]
    return any(one is not None and is_of_openmmlab_kind(one) for one in inner)


def _is_of_openmmlab(thing: Any) -> bool:
    return any(_package(cls) in _OPENMMLAB for cls in type(thing).__mro__[:-1])


def _package(cls: type) -> str:
    return cls.__module__.partition('.')[0]


def image_labels(dataset: Any) -> Array:
    """Return the class of every item of a data set of mmpretrain, wrappers included, (N,) int64.

    Raises:
        ValueError: an empty data set; items with no label or several, by their indices.
    """
    labels = [dataset.get_data_info(index).get('gt_label') for index in range(len(dataset))]
    if not labels:
        raise ValueError(f'{type(dataset).__name__} is empty; expected at least one item')
    failures = [
        ValueError(f'item {index} of {type(dataset).__name__} has gt_label={label}; expected the index of one class')
        for index, label in enumerate(labels)
        if label is None or np.ndim(label) or label < 0
    ]
    raise_failures('the items have no classes', failures)
    return np.asarray(labels, np.int64)


def data_key(
    dataset: Any, ignore_index: int | None = None, on_progress: Callable[[], None] = lambda: None
) -> str | None:
    """Return a digest that changes whenever the class counts may.

    It covers the sizes and times of the label files, their loaders with options and code, the classes and the wrappers.

    Args:
        dataset: a built data set.
        ignore_index: label that is not counted; None for the default of each data set.
        on_progress: function that is called repeatedly during the work.

    Returns:
        The digest; None where a change could not be noticed: a label that is not a file of this machine, or a loader
        whose options or code cannot be compared.
    """
    try:
        return _digest_sources(dataset, ignore_index, on_progress)
    except _CannotCompare:
        return None


class _CannotCompare(Exception):
    """A part of a data set has no content that could be compared with that of an earlier one."""


def _digest_sources(dataset: Any, ignore_index: int | None, on_progress: Callable[[], None]) -> str:
    digest = hashlib.sha256()
    for source in find_sources(dataset, ignore_index):
        if any(map(_reads_elsewhere, source.loaders)):
            # files with the paths of the labels may be there all the same
            raise _CannotCompare
        data = source.dataset
        classes = getattr(data, 'metainfo', {}).get('classes')
        parts = [_type_name(data), source.unit, source.ignore_index, classes]
        parts += [(_type_name(loader), _code(loader), _options(loader)) for loader in source.loaders]
        _update(digest, parts)
        label_map, label_map_digest = None, ''
        for index, times in enumerate(source.times.tolist()):
            info = data.get_data_info(index)
            if source.unit == 'images':
                item = np.asarray(info['gt_label']).tolist()
            else:
                if not isinstance(label_map, dict) or info.get('label_map') != label_map:
                    label_map = info.get('label_map')
                    label_map_digest = _digest_of(label_map)
                item = (*_file_state(info), label_map_digest, info.get('reduce_zero_label'))
            _update(digest, (item, times))
            if index % _FILES == 0:
                on_progress()
    return digest.hexdigest()


def _reads_elsewhere(loader: object) -> bool:
    return (getattr(loader, 'backend_args', None) or {}).get('backend', 'local') != 'local'


def _file_state(info: dict) -> tuple[str, int, int]:
    path = info.get('seg_map_path')
    try:
        file = os.stat(path)
    except (OSError, TypeError, ValueError) as error:
        # in a data base or a storage service, and perhaps missing, which the count reports
        raise _CannotCompare from error
    return os.fspath(path), file.st_size, file.st_mtime_ns


def _digest_of(value: Any) -> str:
    digest = hashlib.sha256()
    _update(digest, value)
    return digest.hexdigest()


def _update(digest: Any, value: Any) -> None:
    """Add a value to a digest, with the whole content of arrays, which `repr` shortens."""
    if isinstance(value, dict):
        value = ['dict', *value.items()]
    if isinstance(value, list | tuple):
        digest.update(f'{len(value)} ['.encode())
        for part in value:
            _update(digest, part)
    elif isinstance(value, set | frozenset):
        _update(digest, sorted(value, key=repr))
    elif isinstance(value, Array) and value.dtype.hasobject:
        _update(digest, value.tolist())
    elif isinstance(value, Array):
        digest.update(f'{value.dtype} {value.shape}'.encode() + value.tobytes())
    elif value is None or isinstance(value, str | bytes | int | float | np.generic | os.PathLike):
        digest.update(f'{type(value).__name__} {value!r};'.encode())
    else:
        try:
            digest.update(pickle.dumps(value))
            # a pickle has the name of a function or a class, not its code
            digest.update(inspect.getsource(value if inspect.isroutine(value) else type(value)).encode())
        except Exception as error:
            raise _CannotCompare from error


def _code(loader: object) -> list[str]:
    try:
        return [inspect.getsource(cls) for cls in type(loader).__mro__[:-1] if cls.__module__ != 'abc']
    except (OSError, TypeError) as error:
        # a class that was typed into an interpreter
        raise _CannotCompare from error


def _type_name(thing: object) -> str:
    return f'{type(thing).__module__}.{type(thing).__qualname__}'


def _options(loader: object) -> list[tuple[str, Any]]:
    # mmseg's loader copies reduce_zero_label from the data set when it reads the first label
    return sorted((name, value) for name, value in vars(loader).items() if name != 'reduce_zero_label')
