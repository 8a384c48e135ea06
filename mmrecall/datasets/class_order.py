"""Class names in two places, compared by their order."""

from collections.abc import Callable, Sequence

_SHOWN = 10


def check_class_order(
    source: str, names: Sequence[str], data: str, classes: Sequence[str], remedy: str, warn: Callable[[str], None]
) -> None:
    """Compare class names with those of data, in which a number stands for the class.

    Args:
        source: where the names are from.
        names: the class names there, in order.
        data: whose class names they are compared with.
        classes: those names, in order.
        remedy: clause on what to do when the order is another.
        warn: called with a message for other names, because classes may have been renamed.

    Raises:
        ValueError: the names are the same in another order.
    """
    names, classes = list(map(str, names)), list(map(str, classes))
    if names == classes:
        return
    if sorted(names) == sorted(classes):
        raise ValueError(
            f'{source} has the classes of {data} in another order, so that class numbers stand for other classes: '
            f'{_difference(names, classes)}; {remedy}'
        )
    warn(
        f'{source} has other class names than {data}: {_difference(names, classes)}. Classes are taken by their '
        'numbers, which is right only if they were renamed'
    )


def _difference(names: Sequence[str], classes: Sequence[str]) -> str:
    both = f'({some_of(names)}; and {some_of(classes)})'
    for number, (name, other) in enumerate(zip(names, classes, strict=False)):
        if name != other:
            return f'class {number} is {name!r} there and {other!r} in the data {both}'
    return f'there are {len(names)}, and {len(classes)} in the data {both}'


def some_of(names: Sequence[str]) -> str:
    """Return the first names, separated by commas.

    Example:
        >>> some_of(['road', 'pole'])
        'road, pole'
        >>> some_of('abcdefghijklm')
        'a, b, c, d, e, f, g, h, i, j, …'
    """
    return ', '.join(names[:_SHOWN]) + (', …' if len(names) > _SHOWN else '')
