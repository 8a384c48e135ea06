"""Class names of the data that is trained on."""

from collections.abc import Sequence

from mmengine.runner import Runner

_SHOWN = 10


def trained_classes(runner: Runner) -> Sequence[str] | None:
    """The names in order, if the training set has any."""
    return getattr(runner.train_dataloader.dataset, 'metainfo', {}).get('classes')


def some_of(names: Sequence[str]) -> str:
    """The first names, separated by commas.

    Example:
        >>> some_of(['road', 'pole'])
        'road, pole'
        >>> some_of('abcdefghijklm')
        'a, b, c, d, e, f, g, h, i, j, …'
    """
    return ', '.join(names[:_SHOWN]) + (', …' if len(names) > _SHOWN else '')
