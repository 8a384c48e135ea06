"""Fuzzing of the readers of labels and images with changed PNG, JPEG, TIFF and BMP files.

python tests/fuzz/labels.py --minutes 10
"""

import struct
import tempfile
import zlib
from pathlib import Path

import cv2
import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from refusals import outcome

from mmrecall.datasets import CamVidDataset, LoadCheckedAnnotations, LoadSynthiaAnnotations, SynthiaSequenceDataset
from mmrecall.datasets.image_files import check_complete
from mmrecall.datasets.label_sources import Source

FOLDER = Path(tempfile.mkdtemp())
SIZES = [(6, 8), (8, 6), (1, 1), (1, 9)]


def encoded(suffix, image):
    return cv2.imencode(suffix, image)[1].tobytes()


@st.composite
def files(draw):
    """Draw a valid picture of some format and size."""
    size, channels = draw(st.sampled_from(SIZES)), draw(st.sampled_from([0, 1, 3, 4]))
    highest = draw(st.sampled_from([1, 10, 11, 15, 16, 255, 256, 65535]))
    depth = np.uint8 if highest < 256 and draw(st.booleans()) else np.uint16
    rng = np.random.default_rng(draw(st.integers(0, 9)))
    image = rng.integers(0, highest + 1, (*size, channels) if channels else size, depth)
    suffix = draw(st.sampled_from(['.png', '.png', '.png', '.jpg', '.tiff', '.bmp']))
    return encoded(suffix, image if suffix in ('.png', '.tiff') else image.astype(np.uint8))


def chunks(content):
    """Yield type and data of the chunks of a PNG."""
    place = 8
    while place + 8 <= len(content):
        length = struct.unpack('>I', content[place : place + 4])[0]
        yield content[place + 4 : place + 8], content[place + 8 : place + 8 + length]
        place += 12 + length


def png(parts):
    """Return a PNG of such chunks with correct checksums, so that a reader does not stop at them."""
    packed = (
        struct.pack('>I', len(data)) + kind + data + struct.pack('>I', zlib.crc32(kind + data)) for kind, data in parts
    )
    return b'\x89PNG\r\n\x1a\n' + b''.join(packed)  # fmt: skip


@st.composite
def with_other_header(draw, content):
    """Draw the PNG with another size, bit depth, colour type, interlacing or pixels."""
    parts = list(chunks(content))
    header = bytearray(parts[0][1])
    place = draw(st.integers(0, len(header) - 1))
    header[place] = draw(st.sampled_from([0, 1, 2, 3, 4, 6, 8, 16, 127, 255]))
    pixels = b''.join(data for kind, data in parts if kind == b'IDAT')
    if draw(st.booleans()):
        pixels = zlib.compress(draw(st.binary(max_size=60)))
    return png([(b'IHDR', bytes(header)), (b'IDAT', pixels), (b'IEND', b'')])


@st.composite
def spoilt(draw):
    """Draw a picture with flipped bits, missing parts or another header."""
    content = draw(files())
    if content.startswith(b'\x89PNG') and draw(st.booleans()):
        content = draw(with_other_header(content))
    changed = bytearray(content)
    for place, bit in draw(st.lists(st.tuples(st.integers(0, 10**4), st.integers(0, 7)), max_size=3)):
        changed[place % len(changed)] ^= 1 << bit
    cut = draw(st.none() | st.integers(0, len(changed)))
    return bytes(changed[:cut]) + draw(st.sampled_from([b'', b'', b'\0', b'\xff\xd9']))


class OneLabel:
    """Data set of one label file."""

    def __init__(self, info, loader):
        self.info = info
        self.pipeline = type('Pipeline', (), dict(transforms=[loader]))
        self.metainfo = dict(classes=[str(number) for number in range(11)])

    def __len__(self):
        return 1

    def get_data_info(self, index):
        return {**self.info, 'seg_fields': []}


def read_and_count(content, loader, label_map, shape):
    path = FOLDER / 'label.png'
    path.write_bytes(content)
    info = dict(seg_map_path=str(path), label_map=label_map, reduce_zero_label=False, seg_fields=[])
    if shape is not None:
        info.update(img_path='image.png', ori_shape=shape)
    found = outcome(lambda: loader.transform({**info, 'seg_fields': []})['gt_seg_map'], path)
    counted = outcome(lambda: Source(OneLabel(info, loader), np.arange(1), np.arange(1)).count(0, 13), path)
    assert (found is None) == (counted is None)
    if found is not None:
        assert found.dtype == np.uint8
        assert found.ndim == 2
        assert shape in (None, found.shape)
        labels = np.unique(found[found != 255])
        np.testing.assert_array_equal(counted.classes, labels)
        assert (labels < 13).all()
        assert counted.numbers.sum() + counted.ignored == found.size


shapes = st.none() | st.sampled_from(SIZES)


@given(spoilt(), shapes)
def grey_labels(content, shape):
    read_and_count(content, LoadCheckedAnnotations(11), CamVidDataset.get_label_map(), shape)


@given(spoilt(), shapes)
def synthia_labels(content, shape):
    read_and_count(content, LoadSynthiaAnnotations(), SynthiaSequenceDataset.get_label_map(), shape)


@given(spoilt())
def images(content):
    path = FOLDER / 'image.jpg'
    path.write_bytes(content)
    outcome(lambda: check_complete(str(path)), path)


if __name__ == '__main__':
    from campaign import main

    main([grey_labels, synthia_labels, images])
