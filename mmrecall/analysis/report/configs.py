"""Loss and architecture of a config."""

import inspect
from typing import Any

import pandas as pd

from mmrecall import losses
from mmrecall.analysis.report.settings import compared, flatten, short, without_place
from mmrecall.losses import BaseLoss

# Arguments that say nothing about a loss.
_NEVER_NAMED = ('type', 'num_classes', 'in_channels', 'loss_name', 'class_counts')
# Heads by their names, since a report is made without mmpretrain. Heads whose default loss is a cross entropy:
_HEADS = ('LinearClsHead', 'StackedLinearClsHead', 'VisionTransformerClsHead', 'FeatureLossClsHead')
# Heads that train in another way than others with the same loss:
_METHODS = ('BBNHead',)
# The head whose option alpha is that of the running recall:
_HEAD_WITH_ALPHA = 'SDNHead'
# Arguments of a backbone that say which of its kind it is, the first that there is.
_SIZES = ('depth', 'arch', 'model_name')
# Heads whose older logs have their first term under the name of the sum, `loss`:
_FIRST_TERM_AS_LOSS = ('FeatureLossClsHead', 'OLTRHead')


def loss_of(config: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return the type of the loss without its scope, and its arguments.

    The head stands for its loss where it has none of its own, and beside it where it makes another training of the
    same loss. A second stage is its head and its first stage, which say more than the loss.
    """
    model = config['model']
    head = model.get('decode_head') or model['head']
    head = head[-1] if isinstance(head, list) else head
    if model.get('first_stage'):
        first = without_place(str(model['first_stage']))
        return short(head.get('type', '?')), dict(first_stage=first.rpartition('/')[0] or first)
    loss = head.get('loss_decode') or head.get('loss')
    if loss is None and ('decode_head' in model or short(head.get('type', '')) in _HEADS):
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
        arguments |= {prefix + key.removesuffix('.type'): compared(key, value) for key, value in flatten(named)}
    kind = ' + '.join(short(one.get('type', '?')) for one in several)
    method = short(head.get('type', ''))
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


def parts_of_model(config: dict[str, Any]) -> dict[str, str]:
    """Return the names of the parts of a model, by which a reader knows an architecture.

    Example:
        >>> backbone, head = dict(type='ResNetV1c', depth=18), dict(type='FCNHead')
        >>> parts_of_model(dict(model=dict(type='EncoderDecoder', backbone=backbone, decode_head=head)))
        {'model': 'EncoderDecoder', 'backbone': 'ResNetV1c-18', 'neck': '', 'head': 'FCNHead'}
    """
    model = config['model']
    return {
        'model': _part_name({name: model[name] for name in ('type', 'model_name') if name in model}),
        'backbone': _part_name(model.get('backbone')),
        'neck': _part_name(model.get('neck')),
        'head': _part_name(model.get('decode_head') or model.get('head')),
    }


def _part_name(part: Any) -> str:
    several = [one for one in (part if isinstance(part, list | tuple) else [part]) if isinstance(one, dict)]
    return '+'.join('-'.join([short(one.get('type', '')), *_size(one)]).strip('-') for one in several)


def _size(part: dict[str, Any]) -> list[str]:
    sizes = [str(part[name]) for name in _SIZES if isinstance(part.get(name), int | str)]
    return sizes[:1]


def with_total_loss(config: dict[str, Any], training: pd.DataFrame) -> pd.DataFrame:
    """Return the lines of a training whose ``loss`` is the sum of all terms.

    mmengine logs the sum as ``loss``. Where a head calls its first term so too, as `FeatureLossClsHead` and `OLTRHead`
    once did, the log has that term instead; today's have it as ``loss_cls``.
    """
    head = config['model'].get('head')
    if not isinstance(head, dict) or short(head.get('type', '')) not in _FIRST_TERM_AS_LOSS or 'loss' not in training:
        return training
    others = [name for name in training if name.startswith('loss_') and name != 'loss_cls']
    total = training['loss'] + training[others].sum(axis=1)
    # A training may have gone on with another version of the head.
    old = training['loss_cls'].isna() if 'loss_cls' in training else [True] * len(training)
    return training.assign(loss=training['loss'].mask(old, total))
