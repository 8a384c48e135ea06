"""Reading labels: one id per pixel, of the image's size, each a class or ignored, or an error that names the file."""

import io
from collections.abc import Mapping

import numpy as np

from mmrecall.datasets.sources import wrong_label
from mmrecall.registry import TRANSFORMS, register
from mmrecall.upstream import require

require('mmseg.datasets')

import cv2  # noqa: E402
from mmcv.transforms import BaseTransform  # noqa: E402
from mmengine import fileio  # noqa: E402
from PIL import Image  # noqa: E402

Array = np.ndarray

_IGNORED = 255
_UNKNOWN = 254
_SYNTHIA_IDS = 16
# one number per pixel, colours of a palette included
_GREY = ('1', 'L', 'P', 'I', 'I;16', 'I;16B')


class _LoadIds(BaseTransform):
    """From the file to ``gt_seg_map``; what the files of a data set hold is in `_decode` and `_classes`."""

    def transform(self, results: dict) -> dict:
        """Add ``gt_seg_map``, uint8 (H, W); an image to predict, of which nobody knows a label, stays as it is."""
        if 'seg_fields' not in results:
            return results
        if 'seg_map_path' not in results:
            raise ValueError(f'{results.get("img_path")} has no label; set seg_map_path in data_prefix of the data set')
        path = results['seg_map_path']
        content = fileio.get(path)
        # of the header alone, before room is made for the pixels
        image = _open(content, path)
        _check_size(image.size, results)
        results['gt_seg_map'] = self._classes(self._decode(image, content, path), results)
        results['seg_fields'].append('gt_seg_map')
        return results

    def _decode(self, image: Image.Image, content: bytes, path: str) -> Array:
        """Ids (H, W) of the file's own, from the image, which is not decoded yet, or the content of the file."""
        raise NotImplementedError

    def _classes(self, ids: Array, results: dict) -> Array:
        """Classes of the data set."""
        raise NotImplementedError


@register(TRANSFORMS)
class LoadCheckedAnnotations(_LoadIds):
    """Read a label as mmseg's `LoadAnnotations` does, and name the file if it is not one.

    mmseg reads a label of RGB as three channels, keeps the last eight bits of one of 16, resizes one of another size
    than its image's, and names no file where PIL can read none. Needs ``seg_map_path``, ``label_map`` and
    ``reduce_zero_label``; adds ``gt_seg_map``, uint8 (H, W).

    Args:
        num_classes: labels are 0 to ``num_classes - 1``, or 255 (ignored).

    Raises:
        FileNotFoundError: the label is missing.
        ValueError: it is no image or truncated, has not one channel, is of another size than its image, or a label is
            neither a class nor ignored; names the file.
    """

    def __init__(self, num_classes: int) -> None:
        self.num_classes = num_classes

    def _decode(self, image: Image.Image, content: bytes, path: str) -> Array:
        if image.mode not in _GREY:
            raise ValueError(
                f'{path} is a picture of mode {image.mode}, but labels are one number per pixel; take the files of '
                'ids, not of colours'
            )
        try:
            ids = np.asarray(image)
        except Exception as error:
            raise _unreadable(path, error) from error
        if ids.dtype not in (np.uint8, np.bool_) and (ids.min() < 0 or ids.max() > _IGNORED):
            raise ValueError(f'{path} has the label {ids.max()}; labels are 0 to {_IGNORED}')
        return ids.astype(np.uint8, copy=False)

    def _classes(self, ids: Array, results: dict) -> Array:
        lookup = _lookup(results.get('label_map'), results['reduce_zero_label'])
        wrong = (lookup >= self.num_classes) & (lookup != _IGNORED)
        # several times as fast as numpy
        if cv2.LUT(ids, wrong.astype(np.uint8)).any():
            label = ids[wrong[ids]][0]
            raise wrong_label(results['seg_map_path'], label, (ids == label).sum(), self.num_classes, _IGNORED)
        return cv2.LUT(ids, lookup)


def _lookup(label_map: Mapping[int, int] | None, reduce_zero_label: bool) -> Array:
    """(256,) uint8: the label of every id."""
    reduced = np.arange(256)
    if reduce_zero_label:
        # 0 becomes 255, which stays
        reduced = np.where(reduced == _IGNORED, _IGNORED, (reduced - 1) % 256)
    lookup = reduced.copy()
    for old, new in (label_map or {}).items():
        lookup[reduced == old] = new
    return lookup.astype(np.uint8)


@register(TRANSFORMS)
class LoadSynthiaAnnotations(_LoadIds):
    """Read a label of SYNTHIA: a 16-bit PNG whose first channel (red) is the class id.

    mmseg's `LoadAnnotations` reads such a file as three channels of zeros. Needs ``seg_map_path`` and ``label_map``,
    adds ``gt_seg_map``, uint8 (H, W). After an image it needs the label in the image's size.

    Raises:
        FileNotFoundError: the label is missing.
        ValueError: it is no PNG, has not 16 bits or three channels, is of another size than its image, or has an id
            above 15; names the file.
    """

    def _decode(self, image: Image.Image, content: bytes, path: str) -> Array:
        try:
            label = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
        except cv2.error as error:
            raise _unreadable(path, error) from error
        if label is None:
            raise _unreadable(path, 'OpenCV cannot decode it')
        if label.dtype != np.uint16 or label.ndim != 3 or label.shape[2] < 3:
            channels = 1 if label.ndim == 2 else label.shape[2]
            raise ValueError(
                f'{path} is {label.dtype} with {channels} channel(s); labels of SYNTHIA are 16-bit with three channels,'
                ' the class id in the first (GT/LABELS, not GT/COLOR)'
            )
        # OpenCV gives blue, green, red (and alpha)
        ids = label[..., 2]
        if ids.max() >= _SYNTHIA_IDS:
            raise ValueError(f'{path} has the class id {ids.max()}; ids of SYNTHIA are 0 to {_SYNTHIA_IDS - 1}')
        return ids

    def _classes(self, ids: Array, results: dict) -> Array:
        lookup = np.full(_SYNTHIA_IDS, _UNKNOWN, np.uint8)
        for old, new in results['label_map'].items():
            lookup[old] = new
        return lookup[ids]


def _open(content: bytes, path: str) -> Image.Image:
    try:
        return Image.open(io.BytesIO(content))
    except Exception as error:
        raise _unreadable(path, error) from error


def _check_size(size: tuple[int, int], results: dict) -> None:
    # without an image (when classes are counted) there is nothing to compare with
    if 'ori_shape' not in results:
        return
    height, width = results['ori_shape'][:2]
    if size != (width, height):
        raise ValueError(
            f'{results["seg_map_path"]} has {size[0]}x{size[1]} pixels, but its image {results["img_path"]} has '
            f'{width}x{height}'
        )


def _unreadable(path: str, reason: object) -> ValueError:
    return ValueError(f'{path} is not an image that can be read ({reason}); it may be truncated: fetch it again')
