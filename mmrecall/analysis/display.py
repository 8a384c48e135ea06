"""Tables on a terminal, and names in tables and figures."""

import re
from collections.abc import Sequence

import matplotlib
from rich.console import Console
from rich.table import Table

# of what goes to a file: wider than any table
_UNLIMITED = 10_000


def print_table(table: Table) -> None:
    """Print a table, at its whole width where the output is no terminal."""
    console = Console()
    if not console.is_terminal:  # a file has no width
        console.width = max(console.width, Console(width=_UNLIMITED).measure(table).maximum)
    console.print(table)


def short_names(labels: Sequence[str]) -> list[str]:
    """What labels have of their own: without the parts, between ``/`` and ``-``, that all begin or end with.

    Example:
        >>> short_names(['runs/ce-seed0', 'runs/weighted-ce-seed0'])
        ['ce', 'weighted-ce']
        >>> short_names(['r18-recall-1k', 'r18-recall-ema0.1-1k'])
        ['recall', 'recall-ema0.1']
    """
    # every second part is what is between two others
    parts = [re.split('([/-])', label) for label in labels]
    shortest = min(map(len, parts))
    # the end first, or of `recall` and `recall-ema0.1` nothing would be left but the ends
    end = _common([words[::-1] for words in parts], shortest)
    parts = [words[: len(words) - end] for words in parts]
    begin = _common(parts, shortest - end)
    return [''.join(words[begin:]) for words in parts]


def _common(parts: Sequence[Sequence[str]], shortest: int) -> int:
    """How many parts all lists begin with, an even number that leaves one in the shortest."""
    count = 0
    while count + 2 < shortest and all(words[: count + 2] == parts[0][: count + 2] for words in parts):
        count += 2
    return count


# a decorator of what draws: a class may be called $x$, which is no formula
plain_names = matplotlib.rc_context({'text.parse_math': False})
