"""The labels of runs, and the differences between their configs."""

import inspect
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

from mmrecall import losses
from mmrecall.analysis.report.runs import Run
from mmrecall.losses import BaseLoss

# Keys that decide how a model comes out; the others say where files are and what is logged.
_TRAINING = (
    'model',
    'data_preprocessor',
    'train_dataloader',
    'train_cfg',
    'optim_wrapper',
    'param_scheduler',
    'custom_hooks',
    'auto_scale_lr',
    'randomness',
    'load_from',
)
_WITHOUT_EFFECT = (
    'randomness.seed',
    'train_cfg.val_interval',
    'train_dataloader.num_workers',
    'train_dataloader.persistent_workers',
    'train_dataloader.pin_memory',
    'train_dataloader.prefetch_factor',
)
# Arguments that are part of the name of a loss even where all runs share them.
_ALWAYS_NAMED = ('class_weight', 'alpha', 'metric', 'loss', 'first_stage')
_NEVER_NAMED = ('type', 'num_classes', 'in_channels', 'loss_name', 'class_counts')
# Heads by their names, since a report is made without mmpretrain. Heads whose default loss is a cross entropy:
_HEADS = ('LinearClsHead', 'StackedLinearClsHead', 'VisionTransformerClsHead', 'FeatureLossClsHead')
# Heads that train in another way than others with the same loss:
_METHODS = ('BBNHead',)
# The head whose option alpha is that of the running recall:
_HEAD_WITH_ALPHA = 'SDNHead'
_CHECKPOINTS = ('.pth', '.pt')
_SEED = re.compile(r'[-_.]?seed[-_]?\d+')


def flatten(value: Any, key: str = '') -> Iterator[tuple[str, Any]]:
    """Yield the values of nested dicts and lists of dicts with their dotted names.

    Of a path, only the last part; of that of a checkpoint also the work dir, without its seed.

    Example:
        >>> dict(flatten(dict(model=dict(loss=[dict(type='A')]), file='a/b.txt', load_from='a/ce-seed0/b.pth')))
        {'model.loss.0.type': 'A', 'file': 'b.txt', 'load_from': 'ce/b.pth'}
    """
    if isinstance(value, dict) and value:
        for name, part in value.items():
            yield from flatten(part, f'{key}.{name}' if key else str(name))
    elif isinstance(value, list | tuple) and any(isinstance(part, dict | list) for part in value):
        for number, part in enumerate(value):
            yield from flatten(part, f'{key}.{number}')
    elif key and isinstance(value, str) and '/' in value:
        yield key, _without_place(value)
    elif key:
        yield key, list(value) if isinstance(value, tuple) else value


def _without_place(path: str) -> str:
    *folders, name = path.rstrip('/').split('/')
    if not name.endswith(_CHECKPOINTS):
        return name
    runs = [run for folder in folders if (run := _SEED.sub('', folder))]
    return '/'.join([*runs[-1:], name])


def training_settings(config: dict[str, Any]) -> dict[str, Any]:
    """Return the settings that decide how a model comes out, without the seed."""
    chosen = {name: config[name] for name in _TRAINING if config.get(name) is not None}
    hooks = [hook for hook in chosen.pop('custom_hooks', []) if _short(hook.get('type', '')) != 'ClassWeightHook']
    chosen |= dict(custom_hooks=hooks) if hooks else {}
    return {key: value for key, value in flatten(chosen) if key not in _WITHOUT_EFFECT}


def dataset_settings(dataset: dict[str, Any]) -> dict[str, Any]:
    """Return the settings of a data set without its transforms."""
    return {key: value for key, value in flatten(dataset) if 'pipeline' not in key.split('.')}


def labels_of(runs: Sequence[Run]) -> list[str]:
    """Return the label of every run: its loss, and what distinguishes it from the others.

    Runs whose training settings differ in the seed alone have the same label.
    """
    settings = [training_settings(run.config) for run in runs]
    kinds: list[dict[str, Any]] = []
    of_run = []
    for one in settings:
        if one not in kinds:
            kinds.append(one)
        of_run.append(kinds.index(one))
    losses = [loss_of(runs[of_run.index(kind)].config) for kind in range(len(kinds))]
    labels = _told_apart([_label(loss, losses) for loss in losses], kinds)
    return [labels[kind] for kind in of_run]


def loss_of(config: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return the type of the loss without its scope, and its arguments.

    The head stands for its loss where it has none of its own, and beside it where it makes another training of the
    same loss. A second stage is its head and its first stage, which say more than the loss.
    """
    model = config['model']
    head = model.get('decode_head') or model['head']
    head = head[-1] if isinstance(head, list) else head
    if model.get('first_stage'):
        first = _without_place(str(model['first_stage']))
        return _short(head.get('type', '?')), dict(first_stage=first.rpartition('/')[0] or first)
    loss = head.get('loss_decode') or head.get('loss')
    if loss is None and ('decode_head' in model or _short(head.get('type', '')) in _HEADS):
        loss = dict(type='CrossEntropyLoss')
    loss = head if loss is None else loss
    several = [
        *(loss if isinstance(loss, list) else [loss]),
        *([head['feature_loss']] if 'feature_loss' in head else []),
    ]
    arguments = {}
    for number, one in enumerate(several):
        prefix = f'{number}.' if len(several) > 1 else ''
        named = {key: value for key, value in one.items() if key not in _NEVER_NAMED}
        arguments |= {prefix + key.removesuffix('.type'): value for key, value in flatten(named)}
    kind = ' + '.join(_short(one.get('type', '?')) for one in several)
    method = _short(head.get('type', ''))
    return (method, dict(loss=kind) | arguments) if method in _METHODS and loss is not head else (kind, arguments)


def is_cross_entropy(config: dict[str, Any]) -> bool:
    """Return whether a config trains with plain cross entropy."""
    kind, arguments = loss_of(config)
    loss = _loss_class(kind)
    if loss is not None:
        return loss.is_plain_config(arguments)
    given = arguments.get('class_weight') is not None or arguments.get('use_sigmoid')
    return kind == 'CrossEntropyLoss' and not given


def alpha_of(config: dict[str, Any]) -> tuple[str, float] | None:
    """Return the loss or head and its weight of the batch in the running recall; 1 is the recall of the batch.

    None for a loss without a running recall.
    """
    kind, arguments = loss_of(config)
    loss = _loss_class(kind)
    if arguments.get('metric', 'recall') != 'recall':
        return None
    if kind == _HEAD_WITH_ALPHA:
        alpha = arguments.get('alpha')
    else:
        options = inspect.signature(loss).parameters if loss else {}
        alpha = arguments.get('alpha', options['alpha'].default) if 'alpha' in options else None
    return None if alpha is None else (kind, float(alpha))


def _loss_class(name: str) -> type[BaseLoss] | None:
    """Return the loss of this package with this name, if there is one."""
    loss = getattr(losses, name, None)
    return loss if isinstance(loss, type) and issubclass(loss, BaseLoss) else None


def _short(name: Any) -> str:
    return str(name).rpartition('.')[2]


def _label(loss: tuple[str, dict[str, Any]], losses: Sequence[tuple[str, dict[str, Any]]]) -> str:
    """Return the type and the arguments that are always named; of losses alike, also what they differ in."""
    kind, arguments = loss
    alike = [others for name, others in losses if (name, _always(others)) == (kind, _always(arguments))]
    told = {key for key in differing(alike) if key in arguments} | set(_always(arguments))
    return ' '.join([kind, *(f'{key}={shown(value)}' for key, value in arguments.items() if key in told)])


def _always(arguments: dict[str, Any]) -> dict[str, Any]:
    return {
        key: value for key, value in arguments.items() if key.rpartition('.')[2] in _ALWAYS_NAMED and value is not None
    }


def shown(value: Any) -> str:
    """Return a value of a config as text, shortened."""
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= 60 else f'{text[:57]}…'


def _told_apart(labels: list[str], kinds: Sequence[dict[str, Any]]) -> list[str]:
    """Return the labels, equal ones with what their configs differ in."""
    alike = defaultdict(list)
    for place, label in enumerate(labels):
        alike[label].append(place)
    for places in alike.values():
        keys = differing([kinds[place] for place in places])
        for number, place in enumerate(places if len(places) > 1 else []):
            named = [
                f'{".".join(key.split(".")[-2:])}={shown(kinds[place][key])}' for key in keys if key in kinds[place]
            ]
            labels[place] = ' '.join([labels[place], *named[:2]])
            if len(keys) > 2 or not named:
                labels[place] += f' #{number + 1}'
    return labels


def differing(settings: Sequence[dict[str, Any]]) -> list[str]:
    """Return the names of the settings that are not the same in all."""
    keys = dict.fromkeys(key for one in settings for key in one)
    missing = object()
    return [key for key in keys if any(one.get(key, missing) != settings[0].get(key, missing) for one in settings)]
