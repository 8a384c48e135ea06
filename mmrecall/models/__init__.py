"""Backbones, classifiers, heads and converters for mmpretrain."""

import importlib
from types import ModuleType

from mmrecall.upstream import missing, require

from . import losses

__all__ = ['losses']

_NEED_MMPRETRAIN = ('backbones', 'classifiers', 'heads')
_MMPRETRAIN = 'mmpretrain.models'

if missing(_MMPRETRAIN) is None:
    from . import backbones, classifiers, heads

    __all__ += ['backbones', 'classifiers', 'heads']


def __getattr__(name: str) -> ModuleType:
    """Import a part that needs mmpretrain; without mmpretrain the error says what to install."""
    if name in _NEED_MMPRETRAIN:
        require(_MMPRETRAIN)
        return importlib.import_module(f'{__name__}.{name}')
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
