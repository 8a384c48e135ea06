"""The page: one HTML file that needs nothing else."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jinja2
import pandas as pd
from markupsafe import Markup

from mmrecall.analysis.report.figures import Figure
from mmrecall.io import atomic_write

_MOST_ROWS = 120
_NOTHING = '-'
# The template writes it; the page of an earlier report is known by it.
_SIGN = 'This report, by mmrecall '
_FILE = re.compile(r'href="([\w-]+\.(?:png|svg|csv))"')


class Table(NamedTuple):
    """A table as a page shows it."""

    heads: list[str]
    rows: list[list[str]]
    numeric: list[bool]
    """Whether a column holds numbers, for every column."""
    left_out: int
    """Number of rows that are in the CSV alone."""


def as_table(frame: pd.DataFrame, decimals: int = 2) -> Table:
    """Return the frame as text, numbers with so many decimals.

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
    if pd.isna(value):
        return _NOTHING
    if not isinstance(value, float):
        return str(value)
    if value.is_integer() and spread is None and abs(value) >= 1000:
        return f'{value:.0f}'
    shown = _number(value, decimals)
    return shown if pd.isna(spread) else f'{shown} ± {_number(spread, decimals)}'


def _number(value: float, decimals: int) -> str:
    return f'{value:.{decimals}f}' if abs(value) >= 10 ** (1 - decimals) or value == 0 else f'{value:.3g}'


def _breakable(text: str) -> Markup:
    """Return text that breaks within long names, where a reader would break them."""
    parts = re.split(r'(?<=[_=./])|(?<=[a-z])(?=[A-Z])', str(text))
    return Markup('<wbr>').join(parts)


def files_of(page: Path) -> set[str]:
    """Return the names of the files that an earlier report in this place has written; none if it is another's page."""
    text = page.read_text(encoding='utf-8', errors='replace') if page.is_file() else ''
    # a drawing holds names of classes, which could look like a link
    links = re.sub(r'<svg\b.*?</svg>', '', text, flags=re.DOTALL)
    return set(_FILE.findall(links)) if _SIGN in text else set()


def write_page(path: Path, figures: Sequence[Figure], **sections: Any) -> None:
    """Write the page.

    Args:
        path: path of the HTML.
        figures: figures in their order.
        sections: values that the template names; tables as frames.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader('mmrecall.analysis.report', '.'), autoescape=True, undefined=jinja2.StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.filters |= dict(breakable=_breakable, as_table=as_table)
    template = environment.get_template('page.html.jinja')
    with atomic_write(path) as partial:
        partial.write_text(template.render(figures=figures, sign=_SIGN, **sections), encoding='utf-8')
