"""A figure of the report with its table, and its files."""

import io
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import matplotlib.figure
import pandas as pd

from mmrecall.io import atomic_write

_NO_METADATA = dict(Date=None, Creator=None, Format=None, Type=None)


@dataclass(frozen=True)
class Figure:
    """A figure of the report with its table."""

    name: str
    """Name of its files and of its place on the page."""
    title: str
    caption: str
    drawing: matplotlib.figure.Figure
    table: pd.DataFrame
    """The numbers, as the page shows them; its index is a column."""
    everything: pd.DataFrame | None = None
    """The contents of the CSV, where that is more than the table."""

    @property
    def width(self) -> int:
        """The width in pixels of a page."""
        return round(96 * self.drawing.get_figwidth())

    @cached_property
    def svg(self) -> str:
        """The drawing as a file."""
        file = io.StringIO()
        # The ids of the glyphs are made of it.
        with matplotlib.rc_context({'svg.hashsalt': self.name}):
            self.drawing.savefig(file, format='svg', metadata=_NO_METADATA)
        return file.getvalue()

    def inline_svg(self) -> str:
        """Return the drawing as an element of a page, with ids of its own."""
        text = self.svg[self.svg.index('<svg') :]
        # Equal pictures have equal ids, which nothing refers to.
        text = re.sub(r'(<image\b[^>]*?) id="[^"]*"', r'\1', text)
        # Every file numbers its glyphs and groups from one.
        return re.sub(r'(id="|href="#|url\(#)', rf'\g<1>{self.name}-', text)

    def write(self, folder: Path) -> list[str]:
        """Write NAME.png, NAME.svg and NAME.csv; return their names."""
        table = self.table if self.everything is None else self.everything
        writers = dict(
            png=lambda path: self.drawing.savefig(path, format='png', dpi=160),
            svg=lambda path: path.write_text(self.svg, encoding='utf-8'),
            csv=table.to_csv,
        )
        for suffix, write in writers.items():
            with atomic_write(folder / f'{self.name}.{suffix}', flush=False) as partial:
                write(partial)
        return [f'{self.name}.{suffix}' for suffix in writers]
