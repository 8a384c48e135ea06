"""The conditions that a resumed training must share with the one that wrote its checkpoint."""

from collections.abc import Iterator, Mapping
from typing import Any

from mmengine.hooks import CheckpointHook
from mmengine.runner import IterBasedTrainLoop, Runner

from mmrecall.datasets.class_order import some_of
from mmrecall.engine.runner import accumulated_steps
from mmrecall.engine.training_items import checksum_of_items

_SETTINGS = 'settings'


def training_conditions(runner: Runner) -> dict[str, Any]:
    """Return the settings that the batches of a training and the steps of its optimizer depend on, as plain values."""
    loader = runner.train_dataloader
    batches, sampler = loader.batch_sampler, sampler_of(runner)
    return dict(
        seed=runner.seed,
        ranks=runner.world_size,
        batches_of_an_epoch=len(loader),
        batch_size=getattr(batches, 'batch_size', loader.batch_size),
        accumulative_counts=accumulated_steps(runner),
        sampler=type(sampler).__name__,
        shuffle=getattr(sampler, 'shuffle', None),
        items=len(loader.dataset),
        checksum_of_the_list_of_items=checksum_of_items(loader.dataset),
        **{_SETTINGS: dict(_settings(runner.cfg))},
    )


def sampler_of(runner: Runner) -> Any:
    """Return the sampler of the training's items."""
    loader = runner.train_dataloader
    return getattr(loader.batch_sampler, 'sampler', loader.sampler)


def _settings(config: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield the settings of the optimizer, of its schedules and of the losses, by their dotted names."""
    for part in ('optim_wrapper', 'param_scheduler'):
        yield from plain_settings(config.get(part), part)
    for key, value in plain_settings(config.get('model'), 'model'):
        if any(name.startswith('loss') for name in key.split('.')):
            yield key, value


def plain_settings(value: Any, key: str) -> Iterator[tuple[str, Any]]:
    """Yield the values of nested dicts and lists; of a class or a function its name, of another object its class."""
    if isinstance(value, Mapping):
        for name, part in value.items():
            yield from plain_settings(part, f'{key}.{name}')
    elif isinstance(value, (list, tuple)):
        for number, part in enumerate(value):
            yield from plain_settings(part, f'{key}.{number}')
    elif value is None or isinstance(value, (bool, int, float, str)):
        yield key, value
    else:
        yield key, getattr(value, '__qualname__', type(value).__qualname__)


def changed_conditions(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """Return a text on the conditions that differ; one that an older version did not save is left out.

    Example:
        >>> changed_conditions(dict(seed=0, batch_size=64), dict(seed=0, batch_size=79, items=10))
        'batch_size was 64, is 79'
    """
    pairs = [(key, before[key], value) for key, value in now.items() if key in before and key != _SETTINGS]
    old, new = before.get(_SETTINGS), now.get(_SETTINGS, {})
    if old is not None:
        pairs += [(key, old.get(key), new.get(key)) for key in {**old, **new}]
    changes = [(key, f'{key} was {was}, is {value}') for key, was, value in pairs if was != value]
    text = some_of([change for _, change in changes])
    if any(key.startswith(('optim_wrapper.', 'param_scheduler.')) for key, _ in changes):
        text += (
            '; the optimizer and its schedules go on with the learning rate and the other settings that the checkpoint '
            'holds. To train with the new ones, set load_from without resume, in another work_dir'
        )
    return text


def check_exact(runner: Runner) -> None:
    """Check that a checkpoint would hold all that a resumed training needs.

    Raises:
        ValueError: one would be written between two steps of an optimizer that accumulates gradients, which it does not
            hold, or another hook takes batches of the training.
    """
    loop, counts = runner.train_loop, accumulated_steps(runner)
    if isinstance(loop, IterBasedTrainLoop):
        for hook in runner.hooks:
            # mmpretrain's, which may not be installed
            if type(hook).__name__ == 'PreciseBNHook':
                raise ValueError(
                    'PreciseBNHook takes batches out of a training by iterations, of which a resumed one does not '
                    'know; train by epochs, or leave PreciseBNHook or ExactResumeHook out'
                )
    length = len(runner.train_dataloader)
    for hook in runner.hooks:
        if not isinstance(hook, CheckpointHook):
            continue
        name, moments = type(hook).__name__, []
        unit = length if hook.by_epoch else 1
        if hook.interval > 0:
            moments += [(hook.interval * unit, f'the interval of the {name}')]
            moments += [(hook.save_begin * unit, f'save_begin of the {name}')]
        if hook.save_best and runner.val_loop is not None:
            # The last checkpoint is written again after the best one.
            unit = 1 if isinstance(loop, IterBasedTrainLoop) else length
            moments += [(interval * unit, 'val_interval (because of save_best)') for interval in loop.dynamic_intervals]
        for iterations, what in moments:
            # The optimizer steps in the last iteration, whatever has been accumulated.
            if iterations % counts and iterations < loop.max_iters:
                raise ValueError(
                    f'a checkpoint every {iterations} iterations falls between two steps of the optimizer '
                    f'(accumulative_counts={counts}), whose gradients it does not hold; make {what} a multiple of '
                    f'{counts} iterations, or leave ExactResumeHook out'
                )
