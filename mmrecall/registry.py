"""Registries of scope ``mmrecall``, children of those of mmengine, with the losses in them.

mmengine imports this module by its name when it meets ``type='mmrecall.…'``, so the prefix works without any import
in a config.
"""

from collections.abc import Callable
from typing import TypeVar

from . import losses
from .upstream import require

require('mmengine.registry')

from mmengine import registry as root  # noqa: E402
from mmengine.registry import Registry  # noqa: E402

DATASETS = Registry('dataset', parent=root.DATASETS, scope='mmrecall')
DATA_SAMPLERS = Registry('data sampler', parent=root.DATA_SAMPLERS, scope='mmrecall')
HOOKS = Registry('hook', parent=root.HOOKS, scope='mmrecall')
LOOPS = Registry('loop', parent=root.LOOPS, scope='mmrecall')
METRICS = Registry('metric', parent=root.METRICS, scope='mmrecall')
MODELS = Registry('model', parent=root.MODELS, scope='mmrecall')
TRANSFORMS = Registry('transform', parent=root.TRANSFORMS, scope='mmrecall')

Class = TypeVar('Class', bound=type)


def register(registry: Registry) -> Callable[[Class], Class]:
    """Return a decorator that registers a class in this registry and, for its bare name, in mmengine's root.

    Example:
        >>> import mmrecall, mmengine
        >>> MODELS.get('RecallLoss') is mmengine.registry.MODELS.get('RecallLoss')
        True
    """

    def decorate(cls: Class) -> Class:
        registry.register_module(module=cls)
        registry.parent.register_module(module=cls)
        return cls

    return decorate


def _register_losses() -> None:
    bases = (losses.BaseLoss, losses.FeatureLoss)
    for name in losses.__all__:
        loss = getattr(losses, name)
        if isinstance(loss, type) and issubclass(loss, bases) and loss not in bases:
            for registry in (MODELS, root.MODELS):
                registry.register_module(name=name, module=loss)


_register_losses()
