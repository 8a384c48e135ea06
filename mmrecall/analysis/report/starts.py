"""The starts of a training, in the order in which they continue each other."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from mmrecall.analysis.report.logs import TIMESTAMP, Log, Scalars


class Start(NamedTuple):
    """The logs of one start of a training."""

    folder: Path
    scalars: Scalars
    log: Log | None
    resumed: int
    """Iteration of the checkpoint of this run that it started from; 0 if it started from none, or another run's."""

    def reached(self) -> int:
        """Return the last iteration in its log."""
        training = self.scalars.training
        return self.resumed if training.empty else int(training.index[-1])


def starts(folder: Path) -> list[Path]:
    """Return the folders that mmengine made in a work dir, one per start, in the order of their names.

    The names are times of the clock, in the time zone of the machine.
    """
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if TIMESTAMP.fullmatch(path.name) and path.is_dir())


def in_order(named: Sequence[Start], interval: int) -> list[Start]:
    """Return starts, each behind one that reached the iteration it was resumed from, else in the given order.

    A clock that was set back, the end of summer time or a machine in another time zone put a resumed start before the
    one that wrote its checkpoint. A start whose checkpoint none of them can have written keeps its place among those
    of its kind.

    Args:
        named: the starts in the order of their names.
        interval: iterations between two lines of the log: a start may have gone further than its last line, by less.
    """
    waiting, ordered = list(named), []
    while waiting:
        furthest = max((one.reached() for one in ordered), default=-interval)
        possible = (not one.resumed or one.resumed - furthest < interval for one in waiting)
        ordered.append(waiting.pop(next((number for number, may in enumerate(possible) if may), 0)))
    return ordered
