"""Class names in messages."""

from collections.abc import Sequence

_SHOWN = 10


def some_of(names: Sequence[str]) -> str:
    """The first names, separated by commas.

    Example:
        >>> some_of(['road', 'pole'])
        'road, pole'
        >>> some_of('abcdefghijklm')
        'a, b, c, d, e, f, g, h, i, j, …'
    """
    return ', '.join(names[:_SHOWN]) + (', …' if len(names) > _SHOWN else '')
