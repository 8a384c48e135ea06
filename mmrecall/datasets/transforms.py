"""Loaders of segmentation labels that check type, size and ids, with errors that name the file."""

import io
import os
from collections.abc import Mapping

import numpy as np

from mmrecall.datasets.image_files import check_not_turned, unreadable_image
from mmrecall.datasets.label_sources import wrong_label
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
# modes of Pillow with one number per pixel, which includes palettes
_GREY = ('1', 'L', 'P', 'I', 'I;16', 'I;16B')


class _LoadIds(BaseTransform):
    """Base of the loaders: reads the file, checks its size and adds ``gt_seg_map``."""

    def transform(self, results: dict) -> dict:
        """Add ``gt_seg_map``, uint8 (H, W); an image for prediction, which has no label, passes unchanged."""
        if 'seg_fields' not in results:
            return results
        if 'seg_map_path' not in results:
            raise ValueError(f'{results.get("img_path")} has no label; set seg_map_path in data_prefix of the data set')
        image_path = results.get('img_path')
        # paths of other storage backends are not files of this machine
        if 'img' in results and image_path is not None and os.path.isfile(image_path):
            check_not_turned(image_path, results['img'])
        path = results['seg_map_path']
        content = fileio.get(path)
        try:
            # reads the header alone, so that the size is checked before memory for the pixels is allocated
            image = Image.open(io.BytesIO(content))
        except Exception as error:
            raise unreadable_image(path, error) from error
        _check_size(image.size, results)
        results['gt_seg_map'] = self._classes(self._decode(image, content, results), results)
        results['seg_fields'].append('gt_seg_map')
        return results

    def _decode(self, image: Image.Image, content: bytes, results: dict) -> Array:
        """Return the ids in the file, (H, W), from the Pillow image, which is not decoded yet, or the content."""
        raise NotImplementedError

    def _classes(self, ids: Array, results: dict) -> Array:
        """Return the classes for the ids of a file."""
        raise NotImplementedError


@register(TRANSFORMS)
class LoadCheckedAnnotations(_LoadIds):
    """Loader of labels that reads them as mmseg's `LoadAnnotations` does, and raises an error for invalid files.

    mmseg accepts most invalid files: it reads an RGB label as three channels, keeps the last eight bits of 16, resizes
    a label that differs from its image in size, and does not name a file that Pillow cannot read. Needs
    ``seg_map_path``, ``label_map`` and ``reduce_zero_label``; adds ``gt_seg_map``, uint8 (H, W). The index of a palette
    is the label, as in Pascal VOC; with ``palette``, the colours of the classes, it is compared with these.

    Args:
        num_classes: number of classes C; labels are 0 to C - 1, or 255 (ignored).

    Raises:
        FileNotFoundError: the label is missing.
        ValueError: the file is not an image, is truncated, has several channels, white pixels of 1 bit, a palette
            with labels in the colours of others or another size than its image, or holds a label that is neither a
            class nor ignored; or the image is turned by its EXIF data. Names the file.
    """

    def __init__(self, num_classes: int) -> None:
        self.num_classes = num_classes

    def _decode(self, image: Image.Image, content: bytes, results: dict) -> Array:
        path = results['seg_map_path']
        if image.mode not in _GREY:
            raise ValueError(
                f'{path} is a picture of mode {image.mode}; expected one number per pixel; set seg_map_path to the '
                'files of ids, not of colours'
            )
        try:
            ids = np.asarray(image)
        except Exception as error:
            raise unreadable_image(path, error) from error
        if ids.dtype not in (np.uint8, np.bool_) and (ids.min() < 0 or ids.max() > _IGNORED):
            raise ValueError(f'{path} has the label {ids.max()}; expected 0 to {_IGNORED}')
        if image.mode == '1' and ids.any():
            raise ValueError(
                f'{path} has 1 bit per pixel; expected 8, because Pillow reads the white pixels as 1 and OpenCV as '
                f'{_IGNORED}; save it in mode L, with the labels as values'
            )
        if image.mode == 'P':
            self._check_palette(image, ids, results)
        return ids.astype(np.uint8, copy=False)

    def _check_palette(self, image: Image.Image, ids: Array, results: dict) -> None:
        """Check that no index of a palette, which is the label, has the colour of another label."""
        lookup = _lookup(results.get('label_map'), results['reduce_zero_label']).tolist()
        colours = [tuple(colour) for colour in np.reshape(image.getpalette(), (-1, 3)).tolist()]
        in_file = np.flatnonzero(np.bincount(ids.ravel())).tolist()
        used = [index for index in in_file if index < len(colours) and lookup[index] < self.num_classes]
        if len({colours[index] for index in used}) < len(used):
            # without a colour for every label, the colours do not tell them apart
            return
        labels_of_greys = {(grey,) * 3: label for grey, label in enumerate(lookup)}
        classes = {tuple(colour): label for label, colour in enumerate(results.get('palette', ()))}
        # unlabelled pixels are black in many data sets
        for labels in (labels_of_greys, {(0, 0, 0): _IGNORED, **classes}):
            found = [labels.get(colour) for colour in colours]
            # other colours are there to be looked at, such as Pascal VOC's, and say nothing of labels
            if any(label is None or self.num_classes <= label < _IGNORED for label in found):
                continue
            for index in used:
                # a mask in black and white has the labels 0 and 1
                if found[index] != lookup[index] and (found[index] != _IGNORED or index > 1):
                    raise ValueError(
                        f'{results["seg_map_path"]} has a palette whose index {index}, the label {lookup[index]}, is '
                        f'{colours[index]}, the colour of the label {found[index]}; expected labels as indices; save '
                        'it in mode L, with the labels as values'
                    )

    def _classes(self, ids: Array, results: dict) -> Array:
        lookup = _lookup(results.get('label_map'), results['reduce_zero_label'])
        wrong = (lookup >= self.num_classes) & (lookup != _IGNORED)
        # cv2.LUT is several times as fast as indexing with NumPy
        if cv2.LUT(ids, wrong.astype(np.uint8)).any():
            label = ids[wrong[ids]][0]
            raise wrong_label(results['seg_map_path'], label, (ids == label).sum(), self.num_classes, _IGNORED)
        return cv2.LUT(ids, lookup)


def _lookup(label_map: Mapping[int, int] | None, reduce_zero_label: bool) -> Array:
    """Return the label of every id, (256,) uint8."""
    reduced = np.arange(256)
    if reduce_zero_label:
        # 0 becomes 255, and 255 stays
        reduced = np.where(reduced == _IGNORED, _IGNORED, (reduced - 1) % 256)
    lookup = reduced.copy()
    for old, new in (label_map or {}).items():
        lookup[reduced == old] = new
    return lookup.astype(np.uint8)


@register(TRANSFORMS)
class LoadSynthiaAnnotations(_LoadIds):
    """Loader of SYNTHIA's labels, 16-bit PNGs whose first channel (red) is the class id.

    mmseg's `LoadAnnotations` reads such a file as three channels of zeros. Needs ``seg_map_path`` and ``label_map``;
    adds ``gt_seg_map``, uint8 (H, W).

    Raises:
        FileNotFoundError: the label is missing.
        ValueError: the file is not an image, has not 16 bits and three channels, differs from its image in size, or has
            an id above 15; or the image is turned by its EXIF data. Names the file.
    """

    def _decode(self, image: Image.Image, content: bytes, results: dict) -> Array:
        path = results['seg_map_path']
        try:
            label = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
        except cv2.error as error:
            raise unreadable_image(path, error) from error
        if label is None:
            raise unreadable_image(path)
        if label.dtype != np.uint16 or label.ndim != 3 or label.shape[2] < 3:
            channels = 1 if label.ndim == 2 else label.shape[2]
            raise ValueError(
                f'{path} is {label.dtype} with {channels} channel(s); expected 16 bits and three channels, the first '
                'with the class id; set seg_map_path to GT/LABELS, not GT/COLOR'
            )
        # OpenCV gives blue, green, red (and alpha)
        ids = label[..., 2]
        if ids.max() >= _SYNTHIA_IDS:
            raise ValueError(f'{path} has the class id {ids.max()}; expected 0 to {_SYNTHIA_IDS - 1}')
        return ids

    def _classes(self, ids: Array, results: dict) -> Array:
        lookup = np.full(_SYNTHIA_IDS, _UNKNOWN, np.uint8)
        for old, new in results['label_map'].items():
            lookup[old] = new
        return lookup[ids]


def _check_size(size: tuple[int, int], results: dict) -> None:
    # counting the classes reads labels without their images
    if 'ori_shape' not in results:
        return
    height, width = results['ori_shape'][:2]
    if size != (width, height):
        raise ValueError(
            f'{results["seg_map_path"]} has {size[0]}x{size[1]} pixels, but its image {results["img_path"]} has '
            f'{width}x{height}'
        )
