"""Lists of labelled images: lines of "path label", and the JSON of the iNaturalist competitions."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import takewhile
from typing import Any, NamedTuple

import mmengine
import numpy as np
from mmengine import fileio

Array = np.ndarray

# beyond it a label is a mistake (an id, a time), and a name for every class would fill the memory
_MOST_CLASSES = 1_000_000
# the label is the last field, because a path may contain spaces
_LINE = re.compile(r'\s*(\S.*?)\s+(-?[0-9]+)\s*', re.ASCII)


class LabelledImage(NamedTuple):
    """An image of a list."""

    path: str
    label: int
    place: str
    """Where the list names it, ``'line 3'`` for example."""


class LabelList(NamedTuple):
    """What a list holds."""

    images: list[LabelledImage]
    classes: list[str]
    """Names of the classes."""


def read_list(path: str, num_classes: int | None = None) -> LabelList:
    """Read lines of "path label"; blank lines are skipped.

    A class is called by its folder, without the folders that all images share; by its number if it has no folder of
    its own, or no image.

    Args:
        path: the list.
        num_classes: C; by default one more than the largest label, which is then at most 999,999.

    Raises:
        FileNotFoundError: there is no such list.
        ValueError: an empty list, a line of another form, or a label outside [0, C); names the line.
    """
    lines = fileio.get_text(_existing(path), encoding='utf-8-sig').splitlines()
    images = [_parse(line, number, path) for number, line in enumerate(lines, 1) if line.strip()]
    if not images:
        raise ValueError(f'{path} lists no images')
    _check_labels(path, images, _MOST_CLASSES if num_classes is None else num_classes)
    if num_classes is None:
        num_classes = 1 + max(image.label for image in images)
    return LabelList(images, _folder_names(images, num_classes))


def _existing(path: str) -> str:
    if not fileio.isfile(path):
        raise FileNotFoundError(f'the list {path} is missing; docs/data.md says where the lists come from')
    return path


def _parse(line: str, number: int, path: str) -> LabelledImage:
    found = _LINE.fullmatch(line)
    if found is None:
        raise ValueError(f'{path}, line {number}: {line!r} is not "path label" with a whole number as label')
    return LabelledImage(found[1], int(found[2]), f'line {number}')


def _check_labels(path: str, images: Sequence[LabelledImage], num_classes: int) -> None:
    for image in images:
        if not 0 <= image.label < num_classes:
            classes = 'begin with 0' if image.label < 0 else f'are 0 to {num_classes - 1}'
            raise ValueError(f'{path}, {image.place}: {image.path} has the label {image.label}, but classes {classes}')


def _folder_names(images: Sequence[LabelledImage], num_classes: int) -> list[str]:
    folders: dict[int, set[str]] = {}
    labels: dict[str, set[int]] = {}
    for image in images:
        folder = image.path.rpartition('/')[0]
        folders.setdefault(image.label, set()).add(folder)
        labels.setdefault(folder, set()).add(image.label)
    shared = _shared_parts(list(labels))
    names = [str(number) for number in range(num_classes)]
    for label, found in folders.items():
        folder = min(found)
        if folder and len(found) == 1 and labels[folder] == {label}:
            names[label] = '/'.join(folder.split('/')[shared:])
    return names


def _shared_parts(folders: Sequence[str]) -> int:
    """How many leading parts all folders have in common; the last part of each does not count."""
    parts = zip(*(folder.split('/')[:-1] for folder in folders), strict=False)
    return sum(1 for _ in takewhile(lambda part: len(set(part)) == 1, parts))


def read_competition_json(path: str, num_classes: int) -> LabelList:
    """Read the JSON of an iNaturalist competition: ``images``, ``annotations`` and ``categories``.

    The label is the category's id, and the class is called by the category's name.

    Args:
        path: the JSON.
        num_classes: C.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: a part is missing, an annotation's image is not listed, or its category lies outside [0, C); names
            the annotation.
    """
    try:
        content = mmengine.load(_existing(path))
    except ValueError as error:
        raise ValueError(f'{path} is not JSON ({error})') from error
    files = _table(content, path, 'images', 'id', 'file_name')
    names = _table(content, path, 'categories', 'id', 'name')
    images = []
    for number, annotation in enumerate(_part(content, path, 'annotations')):
        place = f'annotations[{number}]'
        image, label = (_field(annotation, key, path, place) for key in ('image_id', 'category_id'))
        if image not in files:
            raise ValueError(f'{path}, {place}: no image has the id {image}')
        if not isinstance(label, int):
            raise ValueError(f'{path}, {place}: category_id is {label!r}, which is not a whole number')
        images.append(LabelledImage(files[image], label, place))
    _check_labels(path, images, num_classes)
    return LabelList(images, [names.get(number, str(number)) for number in range(num_classes)])


def _part(content: Any, path: str, name: str) -> list[dict]:
    if not isinstance(content, dict) or not content.get(name):
        raise ValueError(
            f'{path} has no {name!r}; the JSON of the training and the validation set has images, annotations and '
            'categories'
        )
    return content[name]


def _table(content: Any, path: str, part: str, key: str, value: str) -> dict[int, str]:
    items = enumerate(_part(content, path, part))
    return {_field(i, key, path, f'{part}[{n}]'): _field(i, value, path, f'{part}[{n}]') for n, i in items}


def _field(item: dict, name: str, path: str, place: str) -> Any:
    if name not in item:
        raise ValueError(f'{path}, {place} has no {name!r}, only {list(item)}')
    return item[name]


def read_class_names(path: str) -> list[str]:
    """Names of the classes from a file, one a line; of a line with tabs the last part ("n02123394 <tab> Persian cat").

    Raises:
        FileNotFoundError: there is no such file.
    """
    if not fileio.isfile(path):
        raise FileNotFoundError(f'classes: the file {path} is missing; it has the name of a class in every line')
    lines = fileio.get_text(path, encoding='utf-8-sig').splitlines()
    return [line.rpartition('\t')[2].strip() for line in lines if line.strip()]


def image_labels(dataset: Any) -> Array:
    """Class of every item of a data set of mmpretrain, wrappers included, (N,) int64.

    Raises:
        ValueError: an empty data set, or an item without a label or with several; names it.
    """
    labels = [dataset.get_data_info(index).get('gt_label') for index in range(len(dataset))]
    if not labels:
        raise ValueError(f'{type(dataset).__name__} is empty')
    for index, label in enumerate(labels):
        if label is None or np.ndim(label) or label < 0:
            raise ValueError(
                f'item {index} of {type(dataset).__name__} has gt_label={label}, but every item needs one class number'
            )
    return np.asarray(labels, np.int64)


def shot_groups(counts: Sequence[int], many: int = 100, few: int = 20) -> list[str]:
    """Group of every class: ``'many'`` above ``many`` training images, ``'few'`` below ``few``, else ``'medium'``.

    Liu et al., "Large-scale long-tailed recognition in an open world", CVPR 2019.

    Raises:
        ValueError: ``few`` is above ``many``.

    Example:
        >>> shot_groups([101, 100, 20, 19])
        ['many', 'medium', 'medium', 'few']
    """
    if few > many:
        raise ValueError(f'few is {few}, many {many}; a class with {few} images would be in no group, give few <= many')
    return ['many' if count > many else 'few' if count < few else 'medium' for count in counts]
