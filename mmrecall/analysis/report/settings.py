"""The settings of runs by their dotted names: those that decide how a model is trained, and how it is evaluated."""

import posixpath
import re
from collections.abc import Iterator, Sequence
from typing import Any

# Keys that decide how a model is trained; the others say where files are and what is logged.
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
# Arguments of metrics that say where results are written or collected, and of transforms where images are read.
_PLACES = (
    'out_dir',
    'output_dir',
    'out_file_path',
    'outfile_prefix',
    'keep_results',
    'collect_device',
    'collect_dir',
    'backend_args',
    'file_client_args',
    'meta_keys',
)
# Arguments of data sets that are paths, and those of them that lie within the first.
_DATA = ('data_root', 'ann_file', 'data_prefix')
_IN_ROOT = ('ann_file', 'data_prefix')
EVALUATION = ('evaluator', 'evaluated')
"""First parts of the names of evaluation settings: of the metrics, and of the pipeline of the images."""
_CHECKPOINTS = ('.pth', '.pt', '.ckpt', '.bin', '.safetensors', '.tar', '.pkl', '.npz', '.h5')
_SEED = re.compile(r'[-_.]?seed[-_]?\d+')
_CLASS = re.compile(r"(?:<class ')?([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+)(?:'>)?")
# Packages whose classes every registry knows without a scope.
_COMMON = ('mmengine', 'mmcv', 'torch', 'torchvision')


def plain_names(config: dict[str, Any]) -> dict[str, Any]:
    """Return a config whose Python classes are named as in an old-style config: ``FCNHead``, without its module.

    A new-style config imports its classes and is saved with their modules, and one that was made in a program with the
    classes themselves.

    Example:
        >>> model = dict(decode_head=dict(type='mmseg.models.decode_heads.FCNHead'), loss='mmrecall.losses.RecallLoss')
        >>> plain_names(dict(model=model))
        {'model': {'decode_head': {'type': 'FCNHead'}, 'loss': 'mmrecall.RecallLoss'}}
    """
    own = 'mmseg' if 'decode_head' in (config.get('model') or {}) else 'mmpretrain'
    return _renamed(config, '', config.get('default_scope') or own)


def _renamed(value: Any, key: str, scope: str) -> Any:
    if isinstance(value, dict):
        return {name: _renamed(part, name, scope) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_renamed(part, key, scope) for part in value)
    match = _CLASS.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        return value
    package, *modules, name = match[1].split('.')
    if package in (scope, *_COMMON):
        return name
    if _is_openmmlab(package):
        return f'{package}.{name}'
    return name if key == 'type' and modules else value


def _is_openmmlab(package: str) -> bool:
    return package.startswith('mm')


def compared(key: str, value: Any) -> Any:
    """Return a value as it is compared: the type of a class without a scope that other configs may leave out."""
    if key.rpartition('.')[2] != 'type' or not isinstance(value, str):
        return value
    scope, _, name = value.rpartition('.')
    return value if _is_openmmlab(scope) and scope != 'mmrecall' else name


def flatten(value: Any, key: str = '') -> Iterator[tuple[str, Any]]:
    """Yield the values of nested dicts and lists of dicts with their dotted names.

    Of a path, only the last part, but of one within a ``data_root`` all; of that of a checkpoint also the work dir,
    without its seed.

    Example:
        >>> dict(flatten(dict(model=dict(loss=[dict(type='A')]), file='a/b.txt', load_from='a/ce-seed0/b.pth')))
        {'model.loss.0.type': 'A', 'file': 'b.txt', 'load_from': 'ce/b.pth'}
        >>> dict(flatten(dict(data_root='data/CIFAR', ann_file='meta/train.txt')))
        {'data_root': 'CIFAR', 'ann_file': 'meta/train.txt'}
    """
    for name, part, in_root in _leaves(value, key, in_root=False):
        if not isinstance(part, str) or '/' not in part:
            yield name, list(part) if isinstance(part, tuple) else part
        else:
            yield name, posixpath.normpath(part) if in_root else without_place(part)


def _leaves(value: Any, key: str, in_root: bool) -> Iterator[tuple[str, Any, bool]]:
    """Yield values with their dotted names, and whether they are paths within a ``data_root``."""
    if isinstance(value, dict) and value:
        for name, part in value.items():
            within = in_root or (name in _IN_ROOT and bool(value.get('data_root')))
            yield from _leaves(part, f'{key}.{name}' if key else str(name), within)
    elif isinstance(value, list | tuple) and any(isinstance(part, dict | list) for part in value):
        for number, part in enumerate(value):
            yield from _leaves(part, f'{key}.{number}', in_root)
    elif key:
        yield key, value, in_root and isinstance(value, str) and not value.startswith('/') and '://' not in value


def uncompared_places(dataset: dict[str, Any]) -> dict[str, str]:
    """Return the paths of a data set of which `flatten` leaves out the first parts, which machines differ in.

    Example:
        >>> uncompared_places(dict(data_root='/scratch/CIFAR', ann_file='meta/train.txt'))
        {'data_root': '/scratch/CIFAR'}
    """
    return {
        key: part
        for key, part, in_root in _leaves(dataset, '', in_root=False)
        if not in_root and isinstance(part, str) and '/' in part.rstrip('/') and set(key.split('.')) & set(_DATA)
    }


def without_place(path: str) -> str:
    """Return the last part of a path; of a checkpoint also the work dir, without its seed."""
    *folders, name = path.rstrip('/').split('/')
    if not name.endswith(_CHECKPOINTS):
        return name
    return '/'.join([*without_seed(folders)[-1:], name])


def without_seed(folders: Sequence[str]) -> list[str]:
    """Return the parts of a path without the seeds in them.

    Example:
        >>> without_seed(['runs', 'ce-seed0', 'seed_1'])
        ['runs', 'ce']
    """
    return [run for folder in folders if (run := _SEED.sub('', folder))]


def training_settings(config: dict[str, Any]) -> dict[str, Any]:
    """Return the settings that decide how a model is trained, without the seed."""
    chosen = {name: config[name] for name in _TRAINING if config.get(name) is not None}
    hooks = [hook for hook in chosen.pop('custom_hooks', []) if short(hook.get('type', '')) != 'ClassWeightHook']
    chosen |= dict(custom_hooks=hooks) if hooks else {}
    return {key: value for key, value in flatten(chosen) if key not in _WITHOUT_EFFECT}


def dataset_settings(dataset: dict[str, Any]) -> dict[str, Any]:
    """Return the settings of a data set without its transforms."""
    return {key: value for key, value in flatten(dataset) if 'pipeline' not in key.split('.')}


def evaluation_settings(evaluator: Any, dataset: dict[str, Any]) -> dict[str, Any]:
    """Return the settings of the metrics and of the transforms, on which the numbers of an evaluation depend.

    Example:
        >>> evaluation_settings([dict(type='ShotAccuracy', many=100, out_dir='a')], dict(pipeline=[dict(scale=2)]))
        {'evaluator.type': 'ShotAccuracy', 'evaluator.many': 100, 'evaluated.pipeline.0.scale': 2}
    """
    several = evaluator if isinstance(evaluator, list | tuple) else [evaluator]
    # The stock tools add DumpResults, to keep the predictions.
    metrics = [one for one in several if isinstance(one, dict) and short(one.get('type', '')) != 'DumpResults']
    images = {key: value for key, value in flatten(dataset, 'evaluated') if 'pipeline' in key.split('.')}
    found = dict(flatten(metrics[0] if len(metrics) == 1 else metrics, 'evaluator')) if metrics else {}
    found |= images
    return {key: value for key, value in found.items() if not set(key.split('.')) & set(_PLACES)}


def differing(settings: Sequence[dict[str, Any]]) -> list[str]:
    """Return the names of the settings that are not the same in all."""
    keys = dict.fromkeys(key for one in settings for key in one)
    missing = object()
    values = {key: [compared(key, one.get(key, missing)) for one in settings] for key in keys}
    return [key for key, found in values.items() if any(value != found[0] for value in found)]


def short(name: Any) -> str:
    """Return the name of a class without its scope or module."""
    return str(name).rpartition('.')[2]


def shown(value: Any) -> str:
    """Return a value of a config as text, shortened."""
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= 60 else f'{text[:57]}…'


def said(key: str) -> str:
    """Return the name of a setting as labels have it: its last two parts.

    Example:
        >>> said('optim_wrapper.optimizer.lr'), said('evaluator.1.many')
        ('optimizer.lr', 'evaluator.many')
    """
    parts = key.split('.')
    if parts[0] in EVALUATION:
        parts = [part for part in parts if not part.isdecimal()]
    return '.'.join(parts[-2:])
