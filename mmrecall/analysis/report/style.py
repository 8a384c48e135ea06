"""How figures look: colours that the colour-blind tell apart, each with a marker and a line of its own."""

import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import matplotlib
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from mmrecall.io import atomic_write

# Okabe and Ito's, without the yellow, which is too light for lines
COLORS = ('#0072B2', '#D55E00', '#009E73', '#CC79A7', '#E69F00', '#56B4E9')
BLACK, GREY = '#000000', '#767676'
# below the reference, and above it; told apart by all
DIVERGING = 'PuOr'
SEQUENTIAL = 'cividis'
_MARKERS = 'osD^vPX<>phd'
_LINES = ('-', '--', ':', '-.')
_SETTINGS = {
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
    # a class may be called $x$
    'text.parse_math': False,
    'svg.fonttype': 'path',
    'svg.hashsalt': 'mmrecall',
}
_LONGEST = 26


class Style(NamedTuple):
    """How the points and lines of a label look."""

    color: str
    marker: str
    line: str


class Drawn(NamedTuple):
    """A figure of the report with its table."""

    name: str
    """Of its files."""
    title: str
    caption: str
    figure: Figure
    table: pd.DataFrame
    """What is drawn, as the page shows it; its index is a column."""
    everything: pd.DataFrame | None = None
    """What the CSV holds, where that is more."""

    def write(self, folder: Path) -> None:
        """Write NAME.svg, NAME.png and NAME.csv."""
        with matplotlib.rc_context(_SETTINGS):
            for suffix, options in (('png', dict(dpi=160)), ('svg', dict(metadata=_NO_METADATA))):
                with atomic_write(folder / f'{self.name}.{suffix}', flush=False) as partial:
                    self.figure.savefig(partial, format=suffix, **options)
        with atomic_write(folder / f'{self.name}.csv', flush=False) as partial:
            (self.table if self.everything is None else self.everything).to_csv(partial)

    def svg(self) -> str:
        """The figure as an element of a page; its ids are its own."""
        file = io.StringIO()
        with matplotlib.rc_context({**_SETTINGS, 'svg.hashsalt': self.name}):
            self.figure.savefig(file, format='svg', metadata=_NO_METADATA)
        text = file.getvalue()
        text = text[text.index('<svg') :]
        # equal pictures have equal ids; nothing refers to them
        text = re.sub(r'(<image\b[^>]*?) id="[^"]*"', r'\1', text)
        # glyphs and groups are numbered anew in every file
        return re.sub(r'(id="|href="#|url\(#)', rf'\g<1>{self.name}-', text)

    @property
    def width(self) -> float:
        """In pixels of a page."""
        return 96 * self.figure.get_figwidth()


_NO_METADATA = dict(Date=None, Creator=None, Format=None, Type=None)


def styles(labels: Sequence[str], reference: str | None) -> dict[str, Style]:
    """A look for every label, the reference in black."""
    found = {}
    others = [label for label in labels if label != reference]
    for number, label in enumerate(others):
        line = _LINES[number // len(COLORS) % len(_LINES)]
        found[label] = Style(COLORS[number % len(COLORS)], _MARKERS[1 + number % (len(_MARKERS) - 1)], line)
    if reference is not None:
        found[reference] = Style(BLACK, _MARKERS[0], '-')
    return {label: found[label] for label in labels}


def new_figure(width: float, height: float) -> Figure:
    """An empty figure, in inches."""
    with matplotlib.rc_context(_SETTINGS):
        return Figure(figsize=(width, height), layout='constrained')


def new_axes(figure: Figure, rows: int = 1, columns: int = 1, **options) -> list[list[Axes]]:
    """Axes in rows and columns."""
    with matplotlib.rc_context(_SETTINGS):
        return figure.subplots(rows, columns, squeeze=False, **options).tolist()


def in_style(draw):
    """Draw with the settings of all figures."""

    def drawn(*args, **kwargs):
        with matplotlib.rc_context(_SETTINGS):
            return draw(*args, **kwargs)

    return drawn


def short(name: str, longest: int = _LONGEST) -> str:
    """A name on one line, cut to a length in its middle, because names differ at either end.

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
    """The type of a loss, and its arguments below."""
    kind, _, rest = label.partition(' ')
    return short(kind, 34) + (f'\n{short(rest, 34)}' if rest else '')


def legend(figure: Figure, looks: dict[str, Style]) -> None:
    """Below the axes; columns as the longest name allows."""
    names = [two_lines(name) for name in looks]
    handles = [
        Line2D([], [], color=look.color, linestyle=look.line, marker=look.marker, label=name)
        for name, look in zip(names, looks.values(), strict=True)
    ]
    figure.legend(handles=handles, loc='outside lower center', ncols=_columns(figure, names), fontsize=8)


def legend_height(figure_width: float, names: Sequence[str]) -> float:
    """Inches that `legend` takes."""
    names = [two_lines(name) for name in names]
    rows = -(-len(names) // _columns(figure_width, names))
    return 0.2 + rows * (0.3 if any('\n' in name for name in names) else 0.18)


def _columns(figure: Figure | float, names: Sequence[str]) -> int:
    width = figure.get_figwidth() if isinstance(figure, Figure) else figure
    longest = max((len(line) for name in names for line in name.split('\n')), default=1)
    return max(1, min(len(names), int(width / (0.068 * longest + 0.55))))


def plain_log(axis: Axis) -> None:
    """A logarithmic scale with numbers as they are written."""
    getattr(axis.axes, f'set_{axis.axis_name}scale')('log')
    low, high = axis.get_view_interval()
    axis.set_major_locator(LogLocator(subs=(1.0,) if high / low > 500 else (1.0, 2.0, 5.0)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f'{value:g}'))
    axis.set_minor_formatter(NullFormatter())
