"""Reading labels that mmseg's own loader does not read."""

import numpy as np

from mmrecall.registry import TRANSFORMS, register
from mmrecall.toolboxes import require

require('mmseg.datasets')

import cv2  # noqa: E402
from mmcv.transforms import BaseTransform  # noqa: E402

_IDS = 16
_UNKNOWN = 254


@register(TRANSFORMS)
class LoadSynthiaAnnotations(BaseTransform):
    """Read a label of SYNTHIA: a 16-bit PNG whose first channel (red) is the class id.

    mmseg's `LoadAnnotations` reads such a file as three channels of zeros. Needs ``seg_map_path`` and ``label_map``,
    adds ``gt_seg_map``, uint8 (H, W). After an image it needs the label in the image's size.

    Raises:
        FileNotFoundError: the label is missing.
        ValueError: it is no PNG, has not 16 bits or three channels, is of another size than its image, or has an id
            above 15; names the file.
    """

    def transform(self, results: dict) -> dict:
        """Add ``gt_seg_map``."""
        path = results['seg_map_path']
        ids = _read_ids(path)
        # without an image (when classes are counted) there is nothing to compare with
        if 'ori_shape' in results and ids.shape != tuple(results['ori_shape'][:2]):
            raise ValueError(
                f'{path} has {ids.shape[1]}x{ids.shape[0]} pixels, but its image {results["img_path"]} has '
                f'{results["ori_shape"][1]}x{results["ori_shape"][0]}'
            )
        if ids.max() >= _IDS:
            raise ValueError(f'{path} has the class id {ids.max()}; ids of SYNTHIA are 0 to {_IDS - 1}')
        lookup = np.full(_IDS, _UNKNOWN, np.uint8)
        for old, new in results['label_map'].items():
            lookup[old] = new
        results['gt_seg_map'] = lookup[ids]
        results['seg_fields'].append('gt_seg_map')
        return results


def _read_ids(path: str) -> np.ndarray:
    with open(path, 'rb') as file:
        data = np.frombuffer(file.read(), np.uint8)
    label = cv2.imdecode(data, cv2.IMREAD_UNCHANGED) if data.size else None
    if label is None:
        raise ValueError(f'{path} is not an image that can be read; it may be truncated')
    if label.dtype != np.uint16 or label.ndim != 3:
        channels = 1 if label.ndim == 2 else label.shape[2]
        raise ValueError(
            f'{path} is {label.dtype} with {channels} channel(s); labels of SYNTHIA are 16-bit with three channels, '
            'the class id in the first (GT/LABELS, not GT/COLOR)'
        )
    # OpenCV gives blue, green, red (and alpha)
    return label[..., 2]
