"""Images that cannot be read, named."""

import os
from typing import Any

import cv2
import numpy as np
from PIL import Image

# that OpenCV surely reads
_SUFFIXES = ('.jpg', '.jpeg', '.png', '.bmp', '.tif', '.tiff', '.webp', '.ppm')
_JPEG_BEGINS, _JPEG_ENDS = b'\xff\xd8', b'\xff\xd9'


class ReadableImages:
    """Base of a data set of images in files: one that cannot be read, or of which a part is missing, is named.

    OpenCV before 4.11 fills up what a truncated JPEG lacks with grey and says nothing.
    """

    def prepare_data(self, index: int) -> Any:
        """Item ``index`` after the pipeline.

        Raises:
            FileNotFoundError: its image is missing.
            ValueError: its image cannot be read.
        """
        path = self.get_data_info(index)['img_path']
        # a storage backend has paths of its own
        if os.path.isfile(path):
            check_complete(path)
        try:
            return super().prepare_data(index)
        except FileNotFoundError:
            raise
        except Exception as error:  # what a decoder raises does not name the file
            if os.path.splitext(path)[1].lower() in _SUFFIXES and os.path.isfile(path) and not _decodes(path):
                raise _unreadable(path) from error
            raise


def check_complete(path: str) -> None:
    """Check that no part of a JPEG is missing at its end; files of other kinds are not looked into.

    Raises:
        FileNotFoundError: it is missing.
        ValueError: it was cut off, or is empty.
    """
    with open(path, 'rb') as file:
        begin = file.read(2)
        if begin == _JPEG_BEGINS:
            file.seek(-2, os.SEEK_END)
            complete = file.read(2) == _JPEG_ENDS
        else:
            complete = bool(begin)
    # some cameras and web sites put something behind the end
    if not complete and not _is_whole(path):
        raise _unreadable(path)


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


def _unreadable(path: str) -> ValueError:
    return ValueError(f'{path} is not an image that can be read as a whole; it may be truncated: fetch it again')
