"""Lists of labelled images: text files of "path label" lines, and the JSON of the iNaturalist competitions."""

from __future__ import annotations

import json
import logging
import posixpath
import re
from collections.abc import Sequence
from itertools import takewhile
from typing import Any, NamedTuple

from mmengine import fileio
from mmengine.logging import print_log

UNKNOWN_LABEL = -1
"""Label of images of unknown classes, in Liu et al.'s lists of the open test sets."""

# a larger label is a mistake, such as an id or a time, and names for as many classes would fill the memory
_MOST_CLASSES = 1_000_000
# str.splitlines also splits at form feeds and other characters that a path may contain
_LINE_END = re.compile(r'\r\n|\n|\r')
# the label is the last field, because a path may contain spaces
_LABEL = re.compile(r'[ \t](-?[0-9]{1,18})\Z')
_BLANKS = ' \t'
# number of characters that an error shows of a line
_SHOWN = 200


class LabelledImage(NamedTuple):
    """Image of a list."""

    path: str
    """Path below the folder of the images."""
    label: int
    """Index of the class."""
    place: str
    """Place in the list, for example ``'line 3'``."""


class LabelList(NamedTuple):
    """Contents of a list."""

    images: list[LabelledImage]
    """Images in the order of the list."""
    classes: list[str]
    """Names of the classes."""


def read_text(path: str) -> str:
    """Return the text of a UTF-8 file without its byte order mark.

    Raises:
        ValueError: a byte that is not UTF-8, or a NUL byte; names the line.
    """
    content = fileio.get(path)
    try:
        text = content.decode('utf-8-sig')
    except UnicodeDecodeError as error:
        number = len(_LINE_END.split(content[: error.start].decode('latin-1')))
        raise ValueError(
            f'{path}, line {number}: byte 0x{content[error.start]:02x} is not UTF-8; save the file in UTF-8'
        ) from error
    if '\0' in text:
        number = len(_LINE_END.split(text[: text.index('\0')]))
        raise ValueError(f'{path}, line {number}: got a NUL byte; expected a text file; save the file in UTF-8')
    return text


def read_lines(path: str) -> list[tuple[int, str]]:
    """Return the lines that are not blank, with their numbers from 1; Unix, Windows and old Mac line ends are read.

    Raises:
        ValueError: see `read_text`.
    """
    lines = enumerate(_LINE_END.split(read_text(path)), 1)
    return [(number, line) for number, line in lines if line.strip()]


def read_list(path: str, num_classes: int | None = None, unknown_classes: bool = False) -> LabelList:
    """Read a UTF-8 list with "path label" in every line; an image that is listed twice is warned of.

    The name of a class is the folder of its images, without the leading folders that all images share. It is the number
    of the class if the images lie in several folders or share their folder with another class, or if there are none.

    Args:
        path: the list; blank lines are skipped.
        num_classes: number of classes C; by default one more than the largest label, which is then at most 999,999.
        unknown_classes: whether the label -1, of images of unknown classes, is allowed.

    Raises:
        FileNotFoundError: the list is missing.
        ValueError: the list is empty or not UTF-8, or has a line of another form, a label outside [0, C) or an image
            with two labels; names the line.
    """
    images = [_parse(line, number, path) for number, line in read_lines(_existing(path))]
    if not images:
        raise ValueError(f'{path} lists no images; expected "path label" in every line')
    known = [image for image in images if not (unknown_classes and image.label == UNKNOWN_LABEL)]
    hint = '; images of unknown classes are allowed in a test set alone; set test_mode=True'
    _check_labels(path, known, _MOST_CLASSES if num_classes is None else num_classes, hint)
    _check_repetitions(path, images)
    if num_classes is None:
        num_classes = 1 + max((image.label for image in known), default=UNKNOWN_LABEL)
    return LabelList(images, _folder_names(known, num_classes))


def _existing(path: str) -> str:
    if not fileio.isfile(path):
        raise FileNotFoundError(
            f'the list {path} is missing; expected "path label" in every line: `mmrecall make-long-tail` writes lists, '
            'and Places-LT, ImageNet-LT and iNaturalist 2018 are published with theirs'
        )
    return path


def _parse(line: str, number: int, path: str) -> LabelledImage:
    line = line.strip(_BLANKS)
    found = _LABEL.search(line)
    if found is None:
        shown = line if len(line) <= _SHOWN else f'{line[:_SHOWN]}…'
        raise ValueError(f'{path}, line {number}: got {shown!r}; expected "path label" with an integer as label')
    return LabelledImage(line[: found.start()].rstrip(_BLANKS), int(found[1]), f'line {number}')


def _check_labels(path: str, images: Sequence[LabelledImage], num_classes: int, hint_for_unknown: str = '') -> None:
    for image in images:
        if not 0 <= image.label < num_classes:
            hint = hint_for_unknown if image.label == UNKNOWN_LABEL else ''
            known = f'are 0 to {num_classes - 1}' if image.label >= 0 else 'begin with 0'
            raise ValueError(
                f'{path}, {image.place}: {image.path} has the label {image.label}, but classes {known}{hint}'
            )


def _check_repetitions(path: str, images: Sequence[LabelledImage]) -> None:
    first: dict[str, LabelledImage] = {}
    again = []
    for image in images:
        # a.png, ./a.png and x/../a.png are one file
        other = first.setdefault(posixpath.normpath(image.path), image)
        if other.label != image.label:
            spelling = '' if other.path == image.path else f' as {other.path}'
            raise ValueError(
                f'{path}: {image.path} has the label {other.label} in {other.place}{spelling} and {image.label} in '
                f'{image.place}; expected one label; remove the wrong one'
            )
        if other is not image:
            again.append((other, image))
    if again:
        other, image = again[0]
        print_log(
            f'{path} lists {len(again)} image(s) more than once, first {image.path} in {other.place} and '
            f'{image.place}: training and tests use them as often',
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
    # the number of leading folders that all images share; the last folder of a path always belongs to its name
    parts = zip(*(folder.split('/')[:-1] for folder in labels), strict=False)
    shared = sum(1 for _ in takewhile(lambda part: len(set(part)) == 1, parts))
    names = [str(number) for number in range(num_classes)]
    for label, found in folders.items():
        folder = min(found)
        if folder and len(found) == 1 and labels[folder] == {label}:
            names[label] = '/'.join(folder.split('/')[shared:])
    return names


def read_competition_json(path: str, num_classes: int) -> LabelList:
    """Read the JSON of an iNaturalist competition, with ``images``, ``annotations`` and ``categories``.

    The label is the id of the category, and the name of the class is the name of the category. An image with two
    annotations is warned of.

    Args:
        path: the JSON file.
        num_classes: number of classes C.

    Raises:
        FileNotFoundError: the file is missing.
        ValueError: the file is not JSON, or lacks a part; or, with the number of the entry, an id occurs twice, an
            annotation has an unknown image or a category outside [0, C), or an image has two labels.
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
            f'{path} has no {name!r}; expected images, annotations and categories, as in the JSON of the training and '
            'validation sets'
        )
    return content[name]


def _table(content: Any, path: str, part: str, value: str) -> dict[int | str, str]:
    """Return one field of every entry of a part, by the id of the entry."""
    table: dict[int | str, str] = {}
    for number, item in enumerate(_part(content, path, part)):
        place = f'{part}[{number}]'
        key = _field(item, 'id', (int, str), path, place)
        if key in table:
            raise ValueError(f'{path}, {place}: the id {key} occurs twice')
        table[key] = _field(item, value, (str,), path, place)
    return table


_KINDS = {int: 'an integer', str: 'a string'}


def _field(item: Any, name: str, kinds: tuple[type, ...], path: str, place: str) -> Any:
    if not isinstance(item, dict) or name not in item:
        found = list(item) if isinstance(item, dict) else str(item)[:_SHOWN]
        raise ValueError(f'{path}, {place}: got {found}; expected an object with {name!r}')
    if type(item[name]) not in kinds:
        expected = ' or '.join(_KINDS[kind] for kind in kinds)
        raise ValueError(f'{path}, {place}: got {name}={item[name]!r}; expected {expected}')
    return item[name]


def read_class_names(path: str) -> list[str]:
    """Read class names from a file, one per line; of a line with tabs ("n02123394 <tab> Persian cat") the last part.

    Raises:
        FileNotFoundError: the file is missing.
        ValueError: the file names no classes, or has a line without a name or text that is not UTF-8; names the line.
    """
    if not fileio.isfile(path):
        raise FileNotFoundError(f'classes: the file {path} is missing; expected the name of a class in every line')
    names = [(number, line.rpartition('\t')[2].strip()) for number, line in read_lines(path)]
    if not names:
        raise ValueError(f'{path} names no classes; expected the name of a class in every line')
    for number, name in names:
        if not name:
            raise ValueError(f'{path}, line {number}: got nothing after the tab; expected the name of the class')
    return [name for _, name in names]


def shot_groups(counts: Sequence[int], many: int = 100, few: int = 20) -> list[str]:
    """Return the group of every class by its number of training images.

    The groups are ``'many'`` above ``many`` images, ``'few'`` below ``few``, and ``'medium'`` otherwise, as in Liu et
    al., "Large-scale long-tailed recognition in an open world", CVPR 2019.

    Raises:
        ValueError: ``few`` is larger than ``many``.

    Example:
        >>> shot_groups([101, 100, 20, 19])
        ['many', 'medium', 'medium', 'few']
    """
    if few > many:
        raise ValueError(f'few is {few}, many {many}; expected few <= many')
    return ['many' if count > many else 'few' if count < few else 'medium' for count in counts]
