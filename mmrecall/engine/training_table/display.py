"""The progress of a table: bars on a terminal, lines elsewhere."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn


class Display:
    """Progress of a table on standard error: a line for each run that ends and, on a terminal, progress bars.

    One bar is for all runs, and one for each run in training.

    Args:
        runs: number of runs.
    """

    def __init__(self, runs: int) -> None:
        self._console = Console(stderr=True)
        columns = (TextColumn('{task.description}', markup=False), BarColumn(), MofNCompleteColumn())
        self._bars = Progress(*columns, TimeElapsedColumn(), console=self._console, transient=True)
        self._all = self._bars.add_task('runs', total=runs)
        self._of_run: dict[str, int] = {}

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Show the bars during a block, if standard error is a terminal."""
        if not self._console.is_terminal:
            yield
            return
        with self._bars:
            yield

    def begin(self, name: str, log: Path) -> None:
        """Show that a run is trained from now on, whose output is in a file."""
        if self._console.is_terminal:
            self._of_run[name] = self._bars.add_task(name, total=None)
        else:
            self.say(f'{name}: training; output in {log}')

    def end(self, name: str, outcome: str) -> None:
        """Print how a run has ended, or why it was not started."""
        if name in self._of_run:
            self._bars.remove_task(self._of_run.pop(name))
        self._bars.advance(self._all)
        done = self._bars.tasks[0]
        self.say(f'[{done.completed:.0f}/{done.total:.0f}] {name}: {outcome}')

    def say(self, text: str) -> None:
        """Print a line."""
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)
