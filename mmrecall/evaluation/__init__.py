"""Scores of predictions."""

from mmrecall.upstream import missing, require

require('mmengine.registry')

from .segmentation import ClassScores, class_scores, confusion_matrix  # noqa: E402
from .shot_accuracy import ShotAccuracy  # noqa: E402

__all__ = ['ClassScores', 'ShotAccuracy', 'class_scores', 'confusion_matrix']

_SEGMENTATION = ['RareClassIoU', 'frequency_groups']
_MMSEG = 'mmseg.evaluation'

if missing(_MMSEG) is None:
    from .rare_classes import RareClassIoU, frequency_groups  # noqa: F401

    __all__ += _SEGMENTATION


def __getattr__(name: str) -> None:
    """Raise an error that says what to install, for a metric whose toolbox is missing."""
    if name in _SEGMENTATION:
        require(_MMSEG)
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
