"""Checks before training that the heads of a model call the losses of this package as the losses expect."""

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Any

from mmengine.dist import get_world_size
from mmengine.registry import MODELS as ROOT_MODELS
from mmengine.registry import Registry
from mmengine.runner import Runner
from mmengine.utils import get_object_from_string
from torch import nn

from mmrecall import registry
from mmrecall.engine.runner import unwrap_model
from mmrecall.losses import BaseLoss, FeatureLoss, LDAMLoss, WeightedCrossEntropyLoss
from mmrecall.registry import MODELS

_LOSSES = (BaseLoss, FeatureLoss)
_PREFIX = 'mmrecall.'
Path = tuple[str, ...]


def check_losses(runner: Runner) -> None:
    """Look at the losses of a runner's model.

    Raises:
        ValueError: see `check_names`, `check_named_losses` and `complete_query_heads`.
    """
    model = unwrap_model(runner)
    check_names(runner.cfg.get('model'))
    check_named_losses(runner.cfg.get('model'), model)
    complete_query_heads(model)
    skipped = losses_that_may_be_skipped(model)
    if skipped and get_world_size() > 1:
        runner.logger.warning(
            f'{", ".join(skipped)}: a MultiTaskHead does not call the loss of a task of which a batch has no sample, '
            'and the other ranks would wait for it; set sync=False in this loss if that may happen'
        )


def check_names(config: Any) -> None:
    """Look for a ``type`` with the prefix ``mmrecall.`` that names nothing.

    mmengine refuses an unknown name when it builds the part, but not under a key that a head ignores.

    Raises:
        ValueError: there is one; names its key and the names that are close to it.
    """
    registries = [one for one in vars(registry).values() if isinstance(one, Registry)]
    known = {f'{_PREFIX}{name}' for one in registries for name in one.module_dict}
    for path, name in _types(config, ()):
        if not isinstance(name, str) or not name.startswith(_PREFIX) or name in known:
            continue
        # a config of classes is saved with their modules
        if get_object_from_string(name) is None:
            close = get_close_matches(name, sorted(known)) or ['one of mmrecall.losses.__all__']
            key = '.'.join(('model', *path, 'type'))
            raise ValueError(f'got {key}={name!r}; expected a class of mmrecall; set {" or ".join(close)}')


def check_named_losses(config: Any, model: nn.Module) -> None:
    """Compare the losses that a config names with those of the model that was built of it.

    A head that accepts any keyword ignores a loss that it does not use, as Mask2Former's does ``loss_decode``.
    The model must have a loss of the same class for each path, in the smallest part that the path in the config leads
    to; a part that keeps the config, to build the loss later, passes.

    Args:
        config: config of the model; anything that is no dict passes.
        model: without a wrapper such as DistributedDataParallel.

    Raises:
        ValueError: the model does not have a loss; names it, its key and the head.
    """
    named = [(path, cls, _part(model, path)) for path, cls in _named_losses(config)]
    # those that are just where the config has them, then the others from the smallest part to the largest: a part may
    # have losses that belong to a path which leads further into it
    named.sort(key=lambda one: -1 if isinstance(one[2], one[1]) else sum(1 for _ in one[2].modules()))
    found: dict[int, Path] = {}
    for path, cls, part in named:
        losses = [module for module in part.modules() if isinstance(module, cls)]
        # the very class first: another loss may be of a class that inherits from it
        free = sorted((one for one in losses if id(one) not in found), key=lambda one: type(one) is not cls)
        if free:
            found[id(free[0])] = path
        elif not _keeps(part, cls):
            beside = f' beside that of model.{".".join(found[id(losses[0])])}' if losses else ''
            raise ValueError(
                f'got model.{".".join(path)} of type {cls.__name__}, but the {type(part).__name__} that was built of '
                f'this config has no such loss{beside} and would train without it; {_remedy(part)}'
            )


def complete_query_heads(model: nn.Module) -> None:
    """Set ``class_weight`` to ones in the heads that expect it in the config of ``loss_cls``, if that loss is ours.

    Mask2Former and MaskFormer add it up over the queries, for ``avg_factor``. With ones that is the number of queries,
    which is what the losses here understand by it; a scheme or a dict could not be added up.

    Raises:
        ValueError: a loss that is not for the C classes and "no object".
    """
    for name, head in model.named_modules():
        loss = getattr(head, 'loss_cls', None)
        if not (isinstance(loss, BaseLoss) and hasattr(head, 'class_weight') and hasattr(head, 'cls_embed')):
            continue
        where, cls, channels = f'model.{name}.loss_cls', type(loss).__name__, head.num_classes + 1
        if isinstance(loss, LDAMLoss):
            raise ValueError(
                f'got {where} of type {cls}; expected RecallLoss or WeightedCrossEntropyLoss: {cls} depends on the '
                'number of samples of every class, and "no object" of this head has none in the training set'
            )
        if loss.num_classes not in (None, channels):
            raise ValueError(
                f'got {where} of type {cls} for {loss.num_classes} classes; expected {channels}, those of the data and '
                f'"no object"; {_query_head_remedy(loss, head.num_classes)}'
            )
        head.class_weight = [1.0] * channels


def _query_head_remedy(loss: BaseLoss, num_classes: int) -> str:
    if getattr(loss, 'no_object_weight', None) is not None:
        return f'no_object_weight adds one to num_classes and to a list of weights: give those of {num_classes} classes'
    if not isinstance(loss, WeightedCrossEntropyLoss):
        return f'set class_weight=[1.0] * {num_classes} + [0.1]'
    return 'set no_object_weight=0.1'


def losses_that_may_be_skipped(model: nn.Module) -> list[str]:
    """Return the names of the losses of mmpretrain's `MultiTaskHead` in whose call all ranks meet."""
    heads = [name for name, head in model.named_modules() if type(head).__name__ == 'MultiTaskHead']
    return [
        name
        for name, loss in model.named_modules()
        if isinstance(loss, _LOSSES) and loss.sync and any(name.startswith(f'{head}.') for head in heads)
    ]


def _named_losses(config: Any) -> Iterator[tuple[Path, type]]:
    """Yield the path in the config and the class of every loss of this package."""
    for path, name in _types(config, ()):
        cls = _loss_class(name)
        if cls is not None:
            yield path, cls


def _types(config: Any, path: Path) -> Iterator[tuple[Path, Any]]:
    """Yield the path and the ``type`` of every part of a config."""
    if isinstance(config, Mapping):
        if 'type' in config:
            yield path, config['type']
        # a training schedule may name a loss for later
        items: Any = [(key, value) for key, value in config.items() if key not in ('train_cfg', 'test_cfg')]
    else:
        items = enumerate(config) if isinstance(config, (list, tuple)) else ()
    for key, value in items:
        yield from _types(value, (*path, str(key)))


def _loss_class(name: Any) -> type | None:
    """Return the class if a ``type`` of a config is that of a loss of this package."""
    if isinstance(name, str):
        # the name may be another project's too, in the scope of the config
        ours = MODELS.module_dict.get(name.rpartition('.')[2])
        if ours is None or not issubclass(ours, _LOSSES):
            return None
        with ROOT_MODELS.switch_scope_and_registry(None) as scoped:
            name = scoped.get(name)
    return name if isinstance(name, type) and issubclass(name, _LOSSES) else None


def _part(model: nn.Module, path: Path) -> nn.Module:
    """Return the smallest part of the model that the path leads to."""
    for key in path:
        child = model._modules.get(key)
        if child is None:
            break
        model = child
    return model


def _keeps(part: nn.Module, cls: type) -> bool:
    """Return whether a part keeps a loss, or its config, elsewhere than among its modules."""
    # what is no submodule: a teacher in a list, the config of a loss that is built later
    kept = (value for module in part.modules() for name, value in vars(module).items() if name != '_modules')
    return any(_holds(value, cls) for value in kept)


def _holds(value: Any, cls: type) -> bool:
    if isinstance(value, nn.Module):
        return any(isinstance(module, cls) for module in value.modules())
    if isinstance(value, Mapping):
        return _loss_class(value.get('type')) is cls or any(_holds(one, cls) for one in value.values())
    if isinstance(value, (list, tuple)):
        return any(_holds(one, cls) for one in value)
    # a plain object that keeps the loss
    return any(isinstance(one, cls) for one in getattr(value, '__dict__', {}).values())


def _remedy(part: nn.Module) -> str:
    names = [name for name, _ in part.named_children() if name.startswith('loss')]
    if 'loss_cls' in names:
        return 'this head takes its classification loss as loss_cls'
    takes = f'its losses are {", ".join(names)}' if names else 'it takes no loss of this name'
    return f'{takes}; take the key out of the config'
