"""Names of runs and configs that are as short as tells them apart."""

import re
from collections.abc import Sequence


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
