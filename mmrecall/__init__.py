"""Recall loss and its company: class imbalance for MMSegmentation and MMPretrain.

The losses and `mmrecall.functional` need PyTorch and NumPy alone. Importing the package registers whatever the
installed toolboxes allow.
"""

import importlib
from types import ModuleType
from typing import TYPE_CHECKING

from . import functional, losses
from .losses import *  # noqa: F403
from .upstream import missing, require

__version__ = '0.2.0'
__all__ = ['functional', 'losses', *losses.__all__]

_PARTS = ('registry', 'models', 'engine', 'datasets', 'evaluation')
_NEEDS = 'mmengine.registry'

# The parts are imported here, not when they are first used: custom_imports=dict(imports='mmrecall') in a config relies
# on this import to register all classes, which the config then names by strings.
if missing(_NEEDS) is None:
    for _part in _PARTS:
        importlib.import_module(f'{__name__}.{_part}')


if TYPE_CHECKING:
    from . import datasets as datasets
    from . import engine as engine
    from . import evaluation as evaluation
    from . import models as models
    from . import registry as registry
else:

    def __getattr__(name: str) -> ModuleType:
        """Import a part that needs mmengine; without mmengine the error says what to install."""
        if name in _PARTS:
            require(_NEEDS)
            return importlib.import_module(f'{__name__}.{name}')
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
