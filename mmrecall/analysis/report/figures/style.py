"""The look of the figures: colours that colour-blind readers can distinguish, each with its own marker and line."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import matplotlib
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

# Okabe and Ito's colours without the yellow, which is too light for lines.
COLORS = ('#0072B2', '#D55E00', '#009E73', '#CC79A7', '#E69F00', '#56B4E9')
GREY = '#767676'
MARKERS = 'sD^vPX<>phd'
_LINES = ('-', '--', ':', '-.')
_LONGEST = 26

styled = matplotlib.rc_context(
    {
        'font.size': 9,
        'font.family': 'DejaVu Sans',
        'axes.titlesize': 9.5,
        'axes.spines.top': False,
        'axes.spines.right': False,
        'axes.grid': True,
        'axes.axisbelow': True,
        'grid.linewidth': 0.4,
        'grid.color': '#cccccc',
        'legend.frameon': False,
        # A class may be called $x$, which is no formula.
        'text.parse_math': False,
        'svg.fonttype': 'path',
    }
)
"""Decorator of functions that draw and write figures."""


class Style(NamedTuple):
    """The look of the points and lines of a label."""

    color: str
    marker: str
    line: str


REFERENCE = Style('#000000', 'o', '-')
# The line through a reference.
DASHED = dict(color=REFERENCE.color, linestyle='--', linewidth=0.8, zorder=1)


def styles(labels: Sequence[str], reference: str | None = None) -> dict[str, Style]:
    """Return a look for every label, the reference in black."""
    others = [label for label in labels if label != reference]
    found = {
        label: Style(
            COLORS[number % len(COLORS)],
            MARKERS[number % len(MARKERS)],
            _LINES[number // len(COLORS) % len(_LINES)],
        )
        for number, label in enumerate(others)
    }
    return {label: found.get(label, REFERENCE) for label in labels}


def new_panels(
    count: int, columns: int, width: float, row_height: float, extra: float = 0, legend: dict[str, Style] | None = None,
    **options: Any,
) -> tuple[Figure, list[Axes]]:  # fmt: skip
    """Return a figure with axes in rows and columns, and a legend below.

    Args:
        count: number of axes.
        columns: largest number of axes in a row.
        width: width of the figure, in inches.
        row_height: height of a row of axes, in inches.
        extra: height that the figure has beside rows and legend, in inches.
        legend: looks by name.
        options: arguments of ``Figure.subplots``.
    """
    columns = min(columns, count)
    rows = -(-count // columns)
    handles = [
        Line2D([], [], color=look.color, linestyle=look.line, marker=look.marker, label=two_lines(name))
        for name, look in (legend or {}).items()
    ]
    lines = [handle.get_label().split('\n') for handle in handles]
    longest = max((len(line) for name in lines for line in name), default=1)
    legend_columns = max(1, min(len(handles), int(width / (0.068 * longest + 0.55))))
    if handles:
        extra += 0.2 + -(-len(handles) // legend_columns) * (0.3 if max(map(len, lines)) > 1 else 0.18)
    figure = Figure(figsize=(width, rows * row_height + extra), layout='constrained')
    axes = figure.subplots(rows, columns, squeeze=False, **options).ravel().tolist()
    for axis in axes[count:]:
        axis.set_visible(False)
    if handles:
        figure.legend(handles=handles, loc='outside lower center', ncols=legend_columns, fontsize=8)
    return figure, axes[:count]


def draw_line(axis: Axes, values: pd.Series, look: Style, width: float, markers: int) -> None:
    """Draw values over their index, with about so many markers."""
    values = values.dropna()
    axis.plot(
        values.index, values, color=look.color, linestyle=look.line, marker=look.marker, linewidth=width,
        markersize=2.5 * width + 0.5, markevery=max(1, len(values) // markers),
    )  # fmt: skip


def short(name: str, longest: int = _LONGEST) -> str:
    """Return a name on one line, cut to a length in its middle, because names differ at either end.

    Example:
        >>> short('a very long name of a class', 13)
        'a very… class'
    """
    name = ' '.join(str(name).split())
    if len(name) <= longest:
        return name
    end = (longest - 1) // 2
    return f'{name[: longest - 1 - end].rstrip()}…{name[-end:]}'


def two_lines(label: str) -> str:
    """Return the type of a loss, and its arguments below."""
    kind, _, rest = label.partition(' ')
    return short(kind, 34) + (f'\n{short(rest, 34)}' if rest else '')


def first_names(names: Sequence[str], most: int = 20) -> str:
    """Return the first of many names, and the number of the others."""
    more = f' and {len(names) - most} more' if len(names) > most else ''
    return ', '.join(names[:most]) + more


def plain_log(axis: Axis) -> None:
    """Set a logarithmic scale with numbers as they are written."""
    getattr(axis.axes, f'set_{axis.axis_name}scale')('log')
    low, high = axis.get_view_interval()
    axis.set_major_locator(LogLocator(subs=(1.0,) if high / low > 500 else (1.0, 2.0, 5.0)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f'{value:g}'))
    axis.set_minor_formatter(NullFormatter())


def captioned(*sentences: object) -> str:
    """Return the sentences, one behind the other; what is false is left out."""
    return ' '.join(filter(None, sentences))


def ends(names: Iterable[str], most: int, either: int) -> list[str]:
    """Return the first and the last names, where there are more than so many."""
    names = list(names)
    return names if len(names) <= most else names[:either] + names[-either:]
