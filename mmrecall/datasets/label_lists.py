"""Lists of labelled images: lines of "path label", and the JSON of the iNaturalist competitions."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Sequence
from itertools import takewhile
from typing import Any, NamedTuple

import numpy as np
from mmengine import fileio
from mmengine.logging import print_log

from mmrecall.datasets.failures import raise_failures
from mmrecall.datasets.text_lines import read_lines, read_text

Array = np.ndarray

UNKNOWN_LABEL = -1
"""Of images of classes that training does not have, in Liu et al.'s lists of the open test sets."""

# beyond it a label is a mistake (an id, a time), and a name for every class would fill the memory
_MOST_CLASSES = 1_000_000
# the label is the last field, because a path may contain spaces
_LABEL = re.compile(r'[ \t](-?[0-9]{1,18})\Z')
_BLANKS = ' \t'
_ONLY_TESTED = '; images of unknown classes can be in a test set alone (test_mode=True)'
# characters of a line in an error
_SHOWN = 200


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


def read_list(path: str, num_classes: int | None = None, unknown_classes: bool = False) -> LabelList:
    """Read lines of "path label", in UTF-8; blank lines are skipped. An image that is listed again is warned of.

    A class is called by its folder, without the folders that all images share; by its number if it has no folder of
    its own, or no image.

    Args:
        path: the list.
        num_classes: C; by default one more than the largest label, which is then at most 999,999.
        unknown_classes: allow the label -1, of images of no class, which have no part in the names.

    Raises:
        FileNotFoundError: there is no such list.
        ValueError: an empty list, a line of another form, a label outside [0, C), an image with two labels, or text
            that is not UTF-8; names the line.
    """
    images = [_parse(line, number, path) for number, line in read_lines(_existing(path))]
    if not images:
        raise ValueError(f'{path} lists no images')
    known = [image for image in images if not (unknown_classes and image.label == UNKNOWN_LABEL)]
    _check_labels(path, known, _MOST_CLASSES if num_classes is None else num_classes, _ONLY_TESTED)
    _check_repetitions(path, images)
    if num_classes is None:
        num_classes = 1 + max((image.label for image in known), default=UNKNOWN_LABEL)
    return LabelList(images, _folder_names(known, num_classes))


def _existing(path: str) -> str:
    if not fileio.isfile(path):
        raise FileNotFoundError(f'the list {path} is missing; docs/data.md says where the lists come from')
    return path


def _parse(line: str, number: int, path: str) -> LabelledImage:
    line = line.strip(_BLANKS)
    found = _LABEL.search(line)
    if found is None:
        shown = line if len(line) <= _SHOWN else f'{line[:_SHOWN]}…'
        raise ValueError(f'{path}, line {number}: {shown!r} is not "path label" with a whole number as label')
    return LabelledImage(line[: found.start()].rstrip(_BLANKS), int(found[1]), f'line {number}')


def _check_labels(path: str, images: Sequence[LabelledImage], num_classes: int, of_unknown: str = '') -> None:
    for image in images:
        if not 0 <= image.label < num_classes:
            classes = 'begin with 0' if image.label < 0 else f'are 0 to {num_classes - 1}'
            way_out = of_unknown if image.label == UNKNOWN_LABEL else ''
            raise ValueError(
                f'{path}, {image.place}: {image.path} has the label {image.label}, but classes {classes}{way_out}'
            )


def _check_repetitions(path: str, images: Sequence[LabelledImage]) -> None:
    first: dict[str, LabelledImage] = {}
    again = []
    for image in images:
        other = first.setdefault(image.path, image)
        if other.label != image.label:
            raise ValueError(
                f'{path}: {image.path} has the label {other.label} in {other.place} and {image.label} in {image.place};'
                ' leave the right one'
            )
        if other is not image:
            again.append(image)
    if again:
        print_log(
            f'{path} lists {len(again)} image(s) more than once, first {again[0].path} in '
            f'{first[again[0].path].place} and {again[0].place}: they are trained, or tested, as often',
            logger='current',
            level=logging.WARNING,
        )


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

    The label is the category's id, and the class is called by the category's name. An image that is annotated again is
    warned of.

    Args:
        path: the JSON.
        num_classes: C.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no JSON, a part is missing, an id is there twice, an annotation's image is not listed, its
            category lies outside [0, C), or an image has two; names the annotation.
    """
    text = read_text(_existing(path))
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f'{path} is not JSON ({error})') from error
    files = _table(content, path, 'images', 'file_name')
    names = _table(content, path, 'categories', 'name')
    images = []
    for number, annotation in enumerate(_part(content, path, 'annotations')):
        place = f'annotations[{number}]'
        image = _field(annotation, 'image_id', (int, str), path, place)
        label = _field(annotation, 'category_id', (int,), path, place)
        if image not in files:
            raise ValueError(f'{path}, {place}: no image has the id {image}')
        images.append(LabelledImage(files[image], label, place))
    _check_labels(path, images, num_classes)
    _check_repetitions(path, images)
    return LabelList(images, [names.get(number, str(number)) for number in range(num_classes)])


def _part(content: Any, path: str, name: str) -> list[Any]:
    if not isinstance(content, dict) or not isinstance(content.get(name), list) or not content[name]:
        raise ValueError(
            f'{path} has no {name!r}; the JSON of the training and the validation set has images, annotations and '
            'categories'
        )
    return content[name]


def _table(content: Any, path: str, part: str, value: str) -> dict[int | str, str]:
    """One field of every item, by the item's id."""
    table: dict[int | str, str] = {}
    for number, item in enumerate(_part(content, path, part)):
        place = f'{part}[{number}]'
        key = _field(item, 'id', (int, str), path, place)
        if key in table:
            raise ValueError(f'{path}, {place}: the id {key} is there twice')
        table[key] = _field(item, value, (str,), path, place)
    return table


_KINDS = {int: 'a whole number', str: 'a text'}


def _field(item: Any, name: str, kinds: tuple[type, ...], path: str, place: str) -> Any:
    if not isinstance(item, dict) or name not in item:
        found = f'only {list(item)}' if isinstance(item, dict) else f'it is {str(item)[:_SHOWN]}'
        raise ValueError(f'{path}, {place} has no {name!r}, {found}')
    if type(item[name]) not in kinds:
        wanted = ' or '.join(_KINDS[kind] for kind in kinds)
        raise ValueError(f'{path}, {place}: {name} is {item[name]!r}, which is not {wanted}')
    return item[name]


def read_class_names(path: str) -> list[str]:
    """Names of the classes from a file, one a line; of a line with tabs the last part ("n02123394 <tab> Persian cat").

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it names no classes, a line has no name, or text that is not UTF-8; names the line.
    """
    if not fileio.isfile(path):
        raise FileNotFoundError(f'classes: the file {path} is missing; it has the name of a class in every line')
    names = [(number, line.rpartition('\t')[2].strip()) for number, line in read_lines(path)]
    if not names:
        raise ValueError(f'{path} names no classes')
    for number, name in names:
        if not name:
            raise ValueError(f'{path}, line {number}: nothing is behind the tab, where the name of the class should be')
    return [name for _, name in names]


def image_labels(dataset: Any) -> Array:
    """Class of every item of a data set of mmpretrain, wrappers included, (N,) int64.

    Raises:
        ValueError: an empty data set, or items without a label or with several; names them.
    """
    labels = [dataset.get_data_info(index).get('gt_label') for index in range(len(dataset))]
    if not labels:
        raise ValueError(f'{type(dataset).__name__} is empty')
    failures = [
        ValueError(
            f'item {index} of {type(dataset).__name__} has gt_label={label}, but every item needs one class number'
        )
        for index, label in enumerate(labels)
        if label is None or np.ndim(label) or label < 0
    ]
    raise_failures('the items have no classes', failures)
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
