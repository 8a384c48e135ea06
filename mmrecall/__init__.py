"""Recall loss and its company: class imbalance for MMSegmentation and MMPretrain.

The losses and `mmrecall.functional` need PyTorch and NumPy alone. Importing the package registers whatever the
installed toolboxes allow.
"""

import importlib
from types import ModuleType

from . import functional, losses
from .losses import *  # noqa: F403
from .upstream import missing, require

__version__ = '0.2.0'
__all__ = ['functional', 'losses', *losses.__all__]

_PARTS = ('registry', 'models', 'engine', 'datasets', 'evaluation')
_NEEDS = 'mmengine.registry'

if missing(_NEEDS) is None:
    for _part in _PARTS:
        importlib.import_module(f'{__name__}.{_part}')


def __getattr__(name: str) -> ModuleType:
    """A part without mmengine: importing it says what to install."""
    if name in _PARTS:
        require(_NEEDS)
        return importlib.import_module(f'{__name__}.{name}')
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
