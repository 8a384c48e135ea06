"""Class counts of any training set; for MMSegmentation, data sets and a generator of street scenes."""

from mmrecall.toolboxes import missing, require

require('mmengine.dataset')

from .class_counts import LabelCounts, count_classes  # noqa: E402
from .sources import data_key  # noqa: E402

__all__ = ['LabelCounts', 'count_classes', 'data_key']

_SEGMENTATION = [
    'CamVidDataset',
    'LoadSynthiaAnnotations',
    'SynthiaSequenceDataset',
    'street_scene',
    'write_street_scenes',
]

if missing('mmseg.datasets') is None:
    from .camvid import CamVidDataset  # noqa: F401
    from .street_scenes import street_scene, write_street_scenes  # noqa: F401
    from .synthia import SynthiaSequenceDataset  # noqa: F401
    from .transforms import LoadSynthiaAnnotations  # noqa: F401

    __all__ += _SEGMENTATION


def __getattr__(name: str) -> None:
    """A data set whose toolbox is missing: importing it says what to install."""
    if name in _SEGMENTATION:
        require('mmseg.datasets')
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
