"""Tables on a terminal, or wherever else the output goes."""

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
