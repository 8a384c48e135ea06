"""Detection of image files that are truncated or cannot be read."""

import os
from typing import Any

import cv2
import numpy as np
from PIL import Image

# formats that every build of OpenCV reads
_SUFFIXES = ('.jpg', '.jpeg', '.png', '.bmp', '.tif', '.tiff', '.webp', '.ppm')
_JPEG_BEGINS, _JPEG_ENDS = b'\xff\xd8', b'\xff\xd9'


class ReadableImages:
    """Mixin for data sets of image files; the error for a truncated or unreadable image names the file.

    OpenCV before 4.11 silently fills the missing part of a JPEG with grey.
    """

    def prepare_data(self, index: int) -> Any:
        """Return item ``index`` after the pipeline.

        Raises:
            FileNotFoundError: the image is missing.
            ValueError: the image is truncated or cannot be read.
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
    """Check that a JPEG is not truncated; other formats are only checked for being empty.

    Raises:
        FileNotFoundError: the file is missing.
        ValueError: the file is truncated or empty.
    """
    with open(path, 'rb') as file:
        begin = file.read(2)
        if begin == _JPEG_BEGINS:
            file.seek(-2, os.SEEK_END)
            complete = file.read(2) == _JPEG_ENDS
        else:
            complete = bool(begin)
    # some cameras and web sites append data to a complete JPEG, so that decoding must decide
    if not complete and not _is_whole(path):
        raise unreadable_image(path)


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
