import importlib
from types import ModuleType

from mmrecall.toolboxes import missing, require

from . import losses

__all__ = ['losses']

_HEADS_NEED = 'mmpretrain.models'

if missing(_HEADS_NEED) is None:
    from . import heads

    __all__ += ['heads']


def __getattr__(name: str) -> ModuleType:
    """Heads without mmpretrain: importing them says what to install."""
    if name == 'heads':
        require(_HEADS_NEED)
        return importlib.import_module(f'{__name__}.{name}')
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
