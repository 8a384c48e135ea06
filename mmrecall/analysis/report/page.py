"""The page: one HTML file that needs nothing else."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jinja2
import pandas as pd
from markupsafe import Markup

from mmrecall.analysis.report.style import Drawn
from mmrecall.io import atomic_write

_MOST_ROWS = 120
_NOTHING = '-'


class Table(NamedTuple):
    """A table as a page shows it."""

    heads: list[str]
    rows: list[list[str]]
    numeric: list[bool]
    """By column."""
    left_out: int
    """Rows that are in the CSV alone."""


class Figure(NamedTuple):
    """A figure as a page shows it."""

    name: str
    title: str
    caption: str
    svg: Markup
    width: int
    table: Table


def as_table(frame: pd.DataFrame, decimals: int = 2) -> Table:
    """Numbers with so many decimals; a deviation behind its mean.

    A column ``X std`` is shown in column X, as mean ± deviation; the index is a column if it has a name.
    """
    frame = frame.reset_index() if frame.index.name else frame
    spreads = {name: f'{name} std' for name in frame if f'{name} std' in frame.columns}
    names = [name for name in frame if name not in spreads.values()]
    numeric = [pd.api.types.is_numeric_dtype(frame[name]) for name in names]
    rows = []
    for row in frame.head(_MOST_ROWS).to_dict('records'):
        rows.append([_cell(row[name], row.get(spreads.get(name)), decimals) for name in names])
    return Table([str(name) for name in names], rows, numeric, max(0, len(frame) - _MOST_ROWS))


def _cell(value: Any, spread: float | None, decimals: int) -> str:
    if value is None or value is pd.NA or value != value:
        return _NOTHING
    if not isinstance(value, float):
        return str(value)
    if value.is_integer() and spread is None and abs(value) >= 1000:
        return f'{value:.0f}'
    shown = _number(value, decimals)
    return shown if spread is None or spread != spread else f'{shown} ± {_number(spread, decimals)}'


def _number(value: float, decimals: int) -> str:
    return f'{value:.{decimals}f}' if abs(value) >= 10 ** (1 - decimals) or value == 0 else f'{value:.3g}'


def as_figure(drawn: Drawn) -> Figure:
    """What the page needs of a figure."""
    # the library escapes what it writes
    svg = Markup(drawn.svg())
    return Figure(drawn.name, drawn.title, drawn.caption, svg, round(drawn.width), as_table(drawn.table))


def _breakable(text: str) -> Markup:
    """Let long names break where a reader would."""
    parts = re.split(r'(?<=[_=./])|(?<=[a-z])(?=[A-Z])', str(text))
    return Markup('<wbr>').join(parts)


def write_page(path: Path, figures: Sequence[Drawn], **sections: Any) -> None:
    """Write the page.

    Args:
        path: of the HTML.
        figures: in their order.
        sections: what the template names.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader('mmrecall.analysis.report', '.'), autoescape=True, undefined=jinja2.StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.filters['breakable'] = _breakable
    template = environment.get_template('page.html.jinja')
    text = template.render(figures=[as_figure(drawn) for drawn in figures], **sections)
    with atomic_write(path) as partial:
        partial.write_text(text, encoding='utf-8')
