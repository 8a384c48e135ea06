"""Recall loss and its company: class imbalance for MMSegmentation and MMPretrain.

Importing the package registers whatever the installed toolboxes allow; `mmrecall.functional` needs PyTorch alone.
"""

import importlib
from types import ModuleType

from . import functional
from .toolboxes import missing

__version__ = '0.1.0'
__all__ = ['functional']

# subpackage: the toolbox module that it needs
_PARTS = {'models': 'mmengine.registry', 'engine': 'mmengine.registry', 'datasets': 'mmseg.datasets'}

for _part, _needs in _PARTS.items():
    if missing(_needs) is None:
        importlib.import_module(f'{__name__}.{_part}')


def __getattr__(name: str) -> ModuleType:
    """A part whose toolbox is missing: importing it says what to install."""
    if name in _PARTS:
        return importlib.import_module(f'{__name__}.{name}')
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
