"""Fuzzing of the readers of lists, competition JSON, class names and class counts.

python tests/fuzz/lists.py --minutes 10
"""

import json
import tempfile
from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from mmengine.logging import MMLogger
from refusals import outcome

from mmrecall.datasets import LabelCounts
from mmrecall.datasets.label_lists import read_class_names, read_competition_json, read_list
from mmrecall.losses.class_counts import read_class_counts

# warnings of the readers would hide the progress of the fuzzing
MMLogger.get_current_instance().setLevel('ERROR')
FOLDER = Path(tempfile.mkdtemp())

paths = st.text(max_size=12) | st.sampled_from(['a.jpg', 'train/cat/1 (2).jpg', 'a\u2028b.png', '/x/ü.jpg', '../a'])
numbers = st.integers(-2, 12) | st.sampled_from([2**31, 10**18, 10**5000, -(10**20)])
gaps = st.sampled_from([' ', '\t', '   ', '\u3000', '\f', ''])
labels = numbers.map(hex) | numbers.map(lambda number: str(number % 10**30))
odd = ['', ' ', '\t', '7', ' 7', 'n01\tcat', 'n02\t', '\ufeff', 'a.jpg ٣', ' ' * 3000, 'a' * 3000 + ' 1']
lines = st.builds('{}{}{}'.format, paths, gaps, labels) | paths | st.sampled_from(odd)
ends = st.sampled_from(['\n', '\r\n', '\r', '\n\n', '', '\x0b', '\x1c', '\x85', '\0'])
texts = st.lists(st.tuples(lines, ends)).map(lambda parts: ''.join(line + end for line, end in parts))


@st.composite
def spoilt(draw, texts):
    """Draw the bytes of a text in some encoding, with some of them changed or cut off."""
    text, encoding = draw(texts), draw(st.sampled_from(['utf-8', 'utf-8', 'utf-8-sig', 'utf-16', 'latin-1', 'cp1252']))
    content = bytearray(text.encode(encoding, 'replace'))
    for place, byte in draw(st.lists(st.tuples(st.integers(0, 10**4), st.integers(0, 255)), max_size=3)):
        if content:
            content[place % len(content)] = byte
    cut = draw(st.none() | st.integers(0, len(content)))
    return draw(st.binary(max_size=3)) * draw(st.sampled_from([0, 0, 0, 1])) + bytes(content[:cut])


def result(read, name, content, *arguments):
    """Return the outcome of a reader for a file with such content."""
    path = FOLDER / name
    path.write_bytes(content)
    return outcome(lambda: read(str(path), *arguments), path)


@given(spoilt(texts), st.none() | st.integers(1, 20))
def lists(content, num_classes):
    found = result(read_list, 'list.txt', content, num_classes)
    if found is not None:
        assert found.images
        assert all(0 <= image.label < len(found.classes) and image.path for image in found.images)
        assert num_classes in (None, len(found.classes))


@given(spoilt(texts))
def class_names(content):
    found = result(read_class_names, 'classes.txt', content)
    assert found is None or (found and all(found))


keys = st.sampled_from(
    ['images', 'annotations', 'categories', 'id', 'file_name', 'image_id', 'category_id', 'name', 'classes', 'counts',
     'image_totals', 'ignored', 'total', 'num_images', 'unit']
)  # fmt: skip
scalars = (
    st.none() | st.booleans() | st.integers(-2, 5) | st.sampled_from([10**30, 2**63, float('nan'), float('inf'), 1e300])
    | st.floats(0, 9) | st.text(max_size=4)
)  # fmt: skip
anything = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4), max_leaves=12
)
ids = st.integers(0, 4) | anything


def either(right):
    """Draw mostly valid values, and sometimes any others."""
    return st.integers(0, 9).flatmap(lambda number: anything if number == 0 else right)


competitions = either(
    st.fixed_dictionaries(
        dict(
            images=either(st.lists(either(st.fixed_dictionaries(dict(id=ids, file_name=either(paths)))), max_size=4)),
            annotations=either(
                st.lists(either(st.fixed_dictionaries(dict(image_id=ids, category_id=ids))), max_size=4)
            ),
            categories=either(st.lists(either(st.fixed_dictionaries(dict(id=ids, name=either(paths)))), max_size=4)),
        )
    )
)
count_lists = either(st.lists(st.integers(0, 10**6), min_size=1, max_size=4) | st.lists(scalars, max_size=4))
counts = either(
    count_lists
    | st.fixed_dictionaries(
        dict(counts=count_lists),
        optional=dict(
            classes=either(st.lists(st.text(max_size=3), max_size=4)),
            image_totals=count_lists,
            images=count_lists,
            ignored=anything,
            total=anything,
            num_images=anything,
            unit=anything,
        ),
    )
)
nested = st.sampled_from(['[' * 10**5, '{"counts": ' * 3000, '[1' + '0' * 5000 + ']', '- ' * 3000])


@given(spoilt(competitions.map(json.dumps) | nested), st.integers(1, 5))
def competition_json(content, num_classes):
    found = result(read_competition_json, 'train.json', content, num_classes)
    if found is not None:
        assert len(found.classes) == num_classes
        assert all(0 <= image.label < num_classes and isinstance(image.path, str) for image in found.images)


@given(spoilt(counts.map(json.dumps) | nested), st.sampled_from(['counts.json', 'counts.yaml', 'counts.npy']))
def class_counts(content, name):
    found = result(read_class_counts, name, content, draw_classes(content))
    if found is not None:
        assert all(np.isfinite(count) and count >= 0 for count in found.counts)
        assert found.image_totals is None or len(found.image_totals) == len(found.counts)
    result(LabelCounts.read, name, content)


def draw_classes(content):
    """Return class names to compare with the file for half of the contents."""
    return ['a', 'b'] if len(content) % 2 else None


if __name__ == '__main__':
    from campaign import main

    main([lists, class_names, competition_json, class_counts])
