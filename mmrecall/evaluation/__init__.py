"""Scores of predictions."""

from mmrecall.upstream import missing, require

require('mmengine.registry')

from .segmentation import ClassScores, class_scores, confusion_matrix  # noqa: E402
from .shot_accuracy import ShotAccuracy  # noqa: E402

__all__ = ['ClassScores', 'ShotAccuracy', 'class_scores', 'confusion_matrix']

_SEGMENTATION = ['RareClassIoU', 'frequency_groups']
_MMSEG = 'mmseg.evaluation'

if missing(_MMSEG) is None:
    # `as`, because type checkers do not know what is added to __all__ here
    from .rare_classes import RareClassIoU as RareClassIoU
    from .rare_classes import frequency_groups as frequency_groups

    __all__ += _SEGMENTATION


def __getattr__(name: str) -> None:
    """Raise an error that says what to install, for a metric whose toolbox is missing."""
    if name in _SEGMENTATION:
        require(_MMSEG)
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
