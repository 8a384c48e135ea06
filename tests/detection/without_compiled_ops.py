"""Import before mmdet where mmcv has no compiled ops, as in the wheel of the forks: then Faster R-CNN runs there.

Where ``mmcv._ext`` is there, nothing happens. Otherwise `nms` is torchvision's, and every other op says its name when
it is called; RoIAlign has an option of its own for torchvision's. The data sets of mmdet import imgaug, which needs
scikit-image, for the augmentation of lanes alone: an empty one stands in for it.
"""

import sys
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType

from torchvision.ops import nms

IMGAUG = {
    'imgaug': (),
    'imgaug.augmenters': (),
    'imgaug.augmentables': (),
    'imgaug.augmentables.lines': ('LineString', 'LineStringsOnImage'),
    'imgaug.augmentables.segmaps': ('SegmentationMapsOnImage',),
}


class Extension(ModuleType):
    """Stand-in for ``mmcv._ext``."""

    def __getattr__(self, name):
        if name.startswith('__'):
            raise AttributeError(name)

        def missing(*args, **kwargs):
            raise RuntimeError(f'got a call of the op {name}; expected an mmcv with compiled ops')

        return missing

    @staticmethod
    def nms(boxes, scores, iou_threshold, offset):
        """Indices of the boxes that stay, the highest score first."""
        assert offset == 0
        return nms(boxes, scores, iou_threshold)


def install():
    """Put the stand-ins where the modules are missing."""
    if find_spec('mmdet') is None:
        return
    if find_spec('mmcv._ext') is None:
        add(Extension('mmcv._ext'))
    if find_spec('imgaug') is None:
        for name, contents in IMGAUG.items():
            module = ModuleType(name)
            vars(module).update(dict.fromkeys(contents))
            add(module)
        sys.modules['imgaug'].augmenters = sys.modules['imgaug.augmenters']


def add(module):
    module.__spec__ = ModuleSpec(module.__name__, None)
    sys.modules[module.__name__] = module


install()
