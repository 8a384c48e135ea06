"""Export of a trained decoupled network as a stock classifier."""

import copy
import inspect
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from mmengine.config import Config
from mmengine.registry import MODELS, TRANSFORMS, Registry
from mmpretrain.models import ImageClassifier
from torch import nn

from mmrecall.config_files import read_config
from mmrecall.exclusive import only_writer
from mmrecall.io import atomic_write, read_checkpoint, read_literals
from mmrecall.models.converters.weights_files import check_absent, write_weights
from mmrecall.models.heads import SDNHead
from mmrecall.models.heads.sdn_head import complete_part

_KEPT, _DROPPED = 'head.classifier_head', ('head.feature_head.', 'head.classifier_head.loss_module.')
_STOCK = ('mmpretrain', 'mmcv', 'mmengine')


class Exported(NamedTuple):
    """Files that the export has written."""

    checkpoint: Path
    config: Path
    has_pipeline: bool
    """Whether the config has the test pipeline."""


def sdn_to_classifier(checkpoint: str, out: str | Path, config: str | None = None) -> Exported:
    """Write the classifier that predicts in a decoupled network, as a model that works without mmrecall.

    The checkpoint keeps the class names and the weights of backbone, neck and h, under the names of a stock head. After
    a training with an `EMAHook` these are the averaged weights, which testing takes as well. It drops g, the losses
    with their state and class counts, optimizer and logs.

    The config (``out`` with the suffix .py) keeps the model, its data preprocessor, and the test pipeline if all of its
    transforms are stock; the head has its default loss. It drops data sets, metrics, hooks and all other settings.

    Neither the checkpoint nor the config in it can run code, so their source may be unknown: see `read_checkpoint` and
    `read_literals`; and a part of the network has to be a class of PyTorch or OpenMMLab, or an `nn.Module`.

    Args:
        checkpoint: checkpoint of an `ImageClassifier` with an `SDNHead`; a file of this machine.
        out: checkpoint to write, ending in .pth; nothing is overwritten.
        config: config of the network; by default the one that mmengine has saved in the checkpoint.

    Raises:
        FileNotFoundError: there is no such checkpoint or config.
        FileExistsError: one of the files to write is there already.
        OSError: a file cannot be written; names it. No file is left.
        ValueError: no checkpoint, no config in it, not of a decoupled network, weights that do not fit the config, or
            a network of which mmpretrain has not all the modules.
    """
    out = Path(out)
    config_out = out.with_suffix('.py')
    if out.suffix != '.pth':
        raise ValueError(f'{out} must end with .pth; the config is written beside it, with .py')
    check_absent(out, config_out)
    loaded = read_checkpoint(checkpoint)
    if not isinstance(loaded.get('state_dict'), Mapping):
        raise ValueError(f"{checkpoint} has no 'state_dict'; take a checkpoint that mmengine has saved")
    saved = loaded['meta'] if isinstance(loaded.get('meta'), Mapping) else {}
    network = read_config(config) if config is not None else _saved_config(saved, checkpoint)
    exported = Config(_classifier_config(network, checkpoint))
    model = _build(exported.model)
    _fill(model, loaded['state_dict'], checkpoint)
    meta = dict(cfg=exported.pretty_text)
    classes = (saved.get('dataset_meta') or {}).get('classes')
    if classes:
        meta['dataset_meta'] = dict(classes=[str(name) for name in classes])
    with only_writer(out), atomic_write(config_out) as config_file:
        check_absent(config_out)
        config_file.write_text(exported.pretty_text, encoding='utf-8')
        # The writes are nested, so that neither file is left if there is no room for the larger one.
        write_weights(out, model.state_dict(), meta)
    return Exported(out, config_out, 'test_dataloader' in exported)


def _saved_config(meta: Mapping[str, Any], checkpoint: str) -> Config:
    text = meta.get('cfg')
    if not isinstance(text, str):
        raise ValueError(f'{checkpoint} has no config in its meta; give the one it was trained with by --config')
    network = Config(read_literals(text, checkpoint))
    foreign = [name for name in _foreign_imports(network) if name.partition('.')[0] not in _STOCK]
    if foreign:
        raise ValueError(
            f'{checkpoint}: its config imports {", ".join(map(str, foreign))}, and what a checkpoint says is not run; '
            'give the config by --config'
        )
    _check_parts(network.get('model', {}), checkpoint)
    return network


def _check_parts(model: dict[str, Any], checkpoint: str) -> None:
    # Models of other types fetch code from the network.
    if _find(MODELS, model.get('type')) is not ImageClassifier:
        raise ValueError(f'{checkpoint}: the model of its config is {model.get("type")!r}, not an ImageClassifier')
    # mmengine imports whatever a type with a dot names, and calls it.
    for name in _types(model):
        if '.' in str(name):
            found = _find(MODELS, name)
            if not (inspect.isclass(found) and (issubclass(found, nn.Module) or _root(found) in _STOCK)):
                raise ValueError(f'{checkpoint}: its config has a part of type {name!r}, which is no part of a network')


def _classifier_config(network: Config, checkpoint: str) -> dict[str, Any]:
    model = copy.deepcopy(network.get('model', {}))
    head = model.get('head') or {}
    if _find(MODELS, head.get('type')) is not SDNHead:
        raise ValueError(f'{checkpoint}: the head of its config is {head.get("type")!r}, not an SDNHead')
    sizes = dict(num_classes=head.num_classes, in_channels=head.in_channels)
    model.head = complete_part(head.get('classifier_head'), **sizes)
    # Prediction needs no loss, and the default one has no state.
    model.head.pop('loss', None)
    model.setdefault('data_preprocessor', network.get('data_preprocessor'))
    # The setting holds batch augmentations such as mixup.
    model.pop('train_cfg', None)
    exported = dict(default_scope='mmpretrain', model=model)
    imports = _foreign_imports(network)
    if imports:
        exported['custom_imports'] = dict(imports=imports, allow_failed_imports=False)
    pipeline = (network.get('test_dataloader') or {}).get('dataset', {}).get('pipeline')
    if pipeline is not None and all(_is_stock(name) for name in _types(pipeline)):
        # The type is stock, because mmpretrain asks the data set for class names when the checkpoint has none.
        exported['test_dataloader'] = dict(dataset=dict(type='CustomDataset', pipeline=_with_short_names(pipeline)))
    return exported


def _foreign_imports(network: Config) -> list[str]:
    """Return the imports of a config for parts of other projects."""
    imports = (network.get('custom_imports') or {}).get('imports', [])
    imports = [imports] if isinstance(imports, str) else imports
    return [name for name in imports if name.partition('.')[0] != 'mmrecall']


def _find(registry: Registry, name: Any) -> Any:
    """Return the class of a ``type`` in a config for mmpretrain."""
    if not isinstance(name, str):
        return name
    with registry.switch_scope_and_registry('mmpretrain') as scoped:
        return scoped.get(name)


def _types(config: Any) -> Iterator[Any]:
    """Yield every ``type`` in a nested config."""
    if isinstance(config, Mapping):
        if 'type' in config:
            yield config['type']
        config = list(config.values())
    if isinstance(config, (list, tuple)):
        for item in config:
            yield from _types(item)


def _is_stock(transform: Any) -> bool:
    found = _find(TRANSFORMS, transform)
    return inspect.isclass(found) and _root(found) in _STOCK


def _with_short_names(transforms: Any) -> Any:
    """Return a copy of a pipeline whose classes and full names are registered names.

    mmpretrain's inferencer loads images itself, and takes 'LoadImageFromFile' out of the pipeline by that name alone;
    a new-style config has 'mmcv.transforms.LoadImageFromFile'.
    """
    if isinstance(transforms, (list, tuple)):
        return [_with_short_names(one) for one in transforms]
    if not isinstance(transforms, Mapping):
        return transforms
    short = {key: _with_short_names(value) for key, value in transforms.items()}
    found = _find(TRANSFORMS, short.get('type'))
    if inspect.isclass(found) and _find(TRANSFORMS, found.__name__) is found:
        short['type'] = found.__name__
    return short


def _root(cls: type) -> str:
    return cls.__module__.partition('.')[0]


def _build(model: dict[str, Any]) -> nn.Module:
    built = MODELS.build({**copy.deepcopy(model), '_scope_': 'mmpretrain'})
    for name, module in built.named_modules():
        cls = type(module)
        if _root(cls) == 'mmrecall':
            raise ValueError(
                f'got {name or "a classifier"} of type mmrecall.{cls.__name__}; expected modules of mmpretrain, '
                'because the exported classifier is a stock model'
            )
    return built


def _fill(model: nn.Module, weights: Mapping[str, Any], checkpoint: str) -> None:
    kept = {name: value for name, value in weights.items() if not name.startswith(_DROPPED)}
    renamed = OrderedDict((_stock_name(name), value) for name, value in kept.items())
    # By these versions, modules convert the weights of older ones.
    versions = getattr(weights, '_metadata', {})
    renamed._metadata = OrderedDict((_stock_name(name), value) for name, value in versions.items())
    try:
        model.load_state_dict(renamed)
    except RuntimeError as error:
        raise ValueError(f'{checkpoint} does not fit its config: {error}') from error


def _stock_name(name: str) -> str:
    return name.replace(_KEPT, 'head', 1) if name.startswith(_KEPT) else name
