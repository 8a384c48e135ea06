"""Detection of image files that are damaged, cannot be read, or are read otherwise than they are stored."""

import os
from typing import Any

import cv2
import numpy as np
from PIL import Image

# formats that every build of OpenCV reads
_SUFFIXES = ('.jpg', '.jpeg', '.png', '.bmp', '.tif', '.tiff', '.webp', '.ppm')
_JPEG_BEGINS, _JPEG_ENDS = b'\xff\xd8', b'\xff\xd9'
_BASELINE, _TABLES, _SCAN = (0xC0, 0xC1), 0xC4, 0xDA
# a block of a disk has 512 bytes or more
_HOLE = bytes(128)
_ORIENTATION = 0x0112


class ReadableImages:
    """Mixin for data sets of image files; the error for a damaged or unreadable image names the file.

    OpenCV before 4.11 silently fills the missing part of a JPEG with grey, and every version decodes lost blocks.
    """

    def prepare_data(self, index: int) -> Any:
        """Return item ``index`` after the pipeline.

        Raises:
            FileNotFoundError: the image is missing.
            ValueError: the image is damaged or cannot be read.
        """
        path = self.get_data_info(index)['img_path']
        # paths of other storage backends are not files of this machine
        if os.path.isfile(path):
            check_complete(path)
        try:
            return super().prepare_data(index)
        except FileNotFoundError:
            raise
        except Exception as error:  # decoders raise errors of many types, without the name of the file
            if os.path.splitext(path)[1].lower() in _SUFFIXES and os.path.isfile(path) and not _decodes(path):
                raise unreadable_image(path) from error
            raise


def check_complete(path: str) -> None:
    """Check that a JPEG is neither truncated nor has a hole of zeros; other formats are only checked for being empty.

    Raises:
        FileNotFoundError: the file is missing.
        ValueError: the file is damaged or empty.
    """
    with open(path, 'rb') as file:
        content = file.read(2)
        if content == _JPEG_BEGINS:
            content += file.read()
    # some cameras and web sites append data to a complete JPEG, so that decoding must decide
    complete = content.endswith(_JPEG_ENDS) if content[:2] == _JPEG_BEGINS else bool(content)
    if not complete and not _is_whole(path):
        raise unreadable_image(path)
    if content[:2] == _JPEG_BEGINS and _has_hole(content):
        raise unreadable_image(path, 'a part of it is zeros, as of a copy that was interrupted')


def _has_hole(content: bytes) -> bool:
    """Return whether the scan of a baseline JPEG holds zeros that no encoder has written.

    The code of zeros alone is that of the first symbol of every Huffman table. If that of coefficients is "end of
    block", zeros are an even area or ramp; else they repeat one coefficient over many blocks, which no picture has.
    Progressive files are not looked into, because their zeros may be bits of coefficients.
    """
    position, components, symbols = 2, 0, set()
    while content[position : position + 1] == b'\xff':
        kind, length = content[position + 1], int.from_bytes(content[position + 2 : position + 4], 'big')
        segment = content[position + 4 : position + 2 + length]
        position += 2 + length
        if kind in _BASELINE:
            components = segment[5]
        while kind == _TABLES and len(segment) > 17:
            # a table of coefficients, not of means
            if segment[0] >> 4:
                symbols.add(segment[17])
            segment = segment[17 + sum(segment[1:17]) :]
        if kind == _SCAN:
            # a scan of one colour has zeros where the picture has none
            if segment[0] != components:
                return False
            break
    else:
        return False
    if symbols <= {0}:
        return False
    end = content.find(_JPEG_ENDS, position)
    return content.find(_HOLE, position, end if end >= 0 else len(content)) >= 0


def check_not_turned(path: str, image: np.ndarray) -> None:
    """Check that an image is not turned when it is read, as OpenCV and Pillow do by the orientation in its EXIF data.

    Raises:
        ValueError: the image is turned, so that a label of the same place would not fit it.
    """
    try:
        with Image.open(path) as file:
            # Pillow decodes all of a PNG to look for EXIF data behind the pixels.
            has_none = file.format == 'PNG' and 'exif' not in file.info
            orientation = 1 if has_none else file.getexif().get(_ORIENTATION, 1)
    except Exception:  # the loader of the image has read what Pillow cannot
        return
    if orientation not in range(2, 9):
        return
    stored = cv2.imread(path, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    turned = cv2.imread(path, cv2.IMREAD_COLOR)
    # the image may have been resized, or have another number of channels
    if stored is not None and turned is not None and _distance(turned, image) < _distance(stored, image):
        raise ValueError(
            f'{path} has the EXIF orientation {orientation}, by which it is turned when it is read, and its label is '
            "not; save it as its label is, without the tag, or set color_type='color_ignore_orientation' of "
            'LoadImageFromFile if the label fits the image as it is stored'
        )


def _distance(one: np.ndarray, image: np.ndarray) -> float:
    """Return the mean difference of the grey values of two images, the first resized to the second."""
    height, width = image.shape[:2]
    grey, other = (np.atleast_3d(array).astype(np.float32).mean(axis=2) for array in (one, image))
    return float(np.abs(cv2.resize(grey, (width, height)) - other).mean())


def _is_whole(path: str) -> bool:
    try:
        with Image.open(path) as image:
            image.load()
    except Exception:
        return False
    return True


def _decodes(path: str) -> bool:
    try:
        return cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR) is not None
    except cv2.error:
        return False


def unreadable_image(path: str, reason: object = 'it cannot be decoded as a whole') -> ValueError:
    """Return the error for a file that is not an image, or only a part of one."""
    return ValueError(f'{path} is not an image that can be read ({reason}); it may be truncated: fetch it again')
