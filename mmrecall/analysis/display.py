"""Tables on a terminal, and short names for them."""

import re
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

# Width beyond that of any table.
_UNLIMITED = 10_000


def print_table(table: Table) -> None:
    """Print a table; where the output is no terminal, at its full width."""
    console = Console()
    if not console.is_terminal:
        console.width = max(console.width, Console(width=_UNLIMITED).measure(table).maximum)
    console.print(table)


def short_names(labels: Sequence[str]) -> list[str]:
    """Return labels without the parts, between ``/`` and ``-``, that all of them begin or end with.

    Example:
        >>> short_names(['runs/ce-seed0', 'runs/weighted-ce-seed0'])
        ['ce', 'weighted-ce']
        >>> short_names(['r18-recall-1k', 'r18-recall-ema0.1-1k'])
        ['recall', 'recall-ema0.1']
    """
    # Every second element is a separator.
    parts = [re.split('([/-])', label) for label in labels]
    shortest = min(map(len, parts))
    # The end comes first, because `recall` and `recall-ema0.1` also have their beginning in common.
    end = _common([words[::-1] for words in parts], shortest)
    parts = [words[: len(words) - end] for words in parts]
    begin = _common(parts, shortest - end)
    return [''.join(words[begin:]) for words in parts]


def _common(parts: Sequence[Sequence[str]], shortest: int) -> int:
    """Return how many elements all lists begin with, an even number that leaves one in the shortest."""
    count = 0
    while count + 2 < shortest and all(words[: count + 2] == parts[0][: count + 2] for words in parts):
        count += 2
    return count
