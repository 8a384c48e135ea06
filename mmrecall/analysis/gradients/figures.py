"""Where losses push the logits of every class: a table, a CSV and a figure."""

import csv
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from rich import box
from rich.markup import escape
from rich.table import Table

from mmrecall.analysis.display import plain_names
from mmrecall.analysis.gradients.class_gradients import ClassGradients, PushRow, push_rows
from mmrecall.io import atomic_write

# Okabe and Ito's, which the colour-blind tell apart
_RECALL, _PRECISION = '#0072B2', '#D55E00'
# more classes than this have no room for names, or numbers, below each other
_MOST_NAMES = 60
_MOST_NUMBERS = 20
# characters of a loss's name above its column
_HEAD = 12
# a larger ratio says no more
_LARGEST_RATIO = 999


def gradients_table(found: ClassGradients) -> Table:
    """A row per class, the most frequent first, and a column per loss; thrice: both pushes, and their ratio.

    A push is in % of all pushes of the loss, up and down, on all classes.
    """
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), collapse_padding=True, pad_edge=False)
    table.add_column('class', no_wrap=True)
    # a long name, at its hyphens
    losses = (name.replace('-', '-\n') if len(name) > _HEAD else name for name in found.pushes)
    for head in (f'% {found.unit}', '% recall', *map(escape, losses)):
        table.add_column(head, justify='right', no_wrap=True)
    sections = {
        'recall push, %': lambda row: _percent(row.recall_push_share),
        'precision push, %': lambda row: _percent(row.precision_push_share),
        'recall / precision': lambda row: _number(row.ratio),
    }
    for title, cell in sections.items():
        table.add_section()
        table.add_row(f'[bold]{title}')
        for rows in _by_class(found):
            cells = (_percent(rows[0].share), _percent(rows[0].recall))
            table.add_row(escape(rows[0].name), *cells, *map(cell, rows))
    return table


def _by_class(found: ClassGradients) -> list[list[PushRow]]:
    """The rows of every class, one per loss; the most frequent class first."""
    rows, number = push_rows(found), len(found.classes)
    classes = [rows[index::number] for index in range(number)]
    return sorted(classes, key=lambda same: -same[0].share)


def _percent(share: float) -> str:
    return '-' if math.isnan(share) else f'{100 * share:.1f}'


def _number(ratio: float) -> str:
    if math.isnan(ratio):
        return '-'
    if abs(ratio) > _LARGEST_RATIO:
        return f'>{_LARGEST_RATIO}' if ratio > 0 else f'<-{_LARGEST_RATIO}'
    return f'{ratio:.2f}'


def write_gradients(path: str | Path, found: ClassGradients) -> None:
    """Write a CSV with a row for every loss and class, see `PushRow`."""
    with atomic_write(path) as partial, partial.open('w', newline='', encoding='utf-8') as file:
        writer = csv.writer(file)
        writer.writerow(PushRow._fields)
        writer.writerows(push_rows(found))


@plain_names
def draw_gradients(paths: Sequence[str | Path], found: ClassGradients) -> None:
    """Write a figure: a panel per loss, for every class a bar up (recall) and a bar down (precision), in % of all.

    The most frequent class comes first; all panels have one scale.

    Args:
        paths: of the figure, in the format that the suffix names, .png or .svg for example.
        found: what `GradientComparison` measures.
    """
    classes = _by_class(found)
    width = min(max(6.5, 2 + 0.75 * len(classes)), 14)
    figure = Figure(figsize=(width, 1.3 + 1.55 * len(found.pushes)), layout='constrained')
    axes = figure.subplots(len(found.pushes), 1, sharex=True, sharey=True, squeeze=False)[:, 0]
    for axis, loss, number in zip(axes, found.pushes, range(len(found.pushes)), strict=True):
        _draw_loss(axis, [rows[number] for rows in classes])
        axis.set_title(loss, loc='left', fontsize=10, fontweight='bold')
    _name_classes(axes[-1], classes, found.unit)
    highest = max(abs(share) for rows in classes for row in rows for share in _shares(row))
    axes[-1].set_ylim(-130 * highest, 130 * highest)
    figure.suptitle('How each loss pushes the logit of every class, in % of all its pushes', fontsize=11)
    handles = [
        Patch(color=_RECALL, label='up, by samples of the class: recall'),
        Patch(color=_PRECISION, label='down, by samples of the other classes: precision'),
    ]
    figure.legend(handles=handles, loc='outside lower center', ncols=2, frameon=False, fontsize=9)
    for path in paths:
        with atomic_write(path) as partial:
            figure.savefig(partial, dpi=110, format=Path(path).suffix[1:])


def _shares(row: PushRow) -> tuple[float, float]:
    """Up, then down."""
    return row.recall_push_share, -row.precision_push_share


def _draw_loss(axis: Axes, rows: Sequence[PushRow]) -> None:
    positions = np.arange(len(rows))
    for shares, color in zip(zip(*map(_shares, rows), strict=True), (_RECALL, _PRECISION), strict=True):
        heights = [100 * share for share in shares]
        if len(rows) > _MOST_NAMES:  # a bar is an object, and takes its time
            axis.fill_between(positions, heights, step='mid', color=color, linewidth=0)
            continue
        axis.bar(positions, heights, color=color, width=0.8)
        if len(rows) <= _MOST_NUMBERS:
            _write_numbers(axis, heights)
    axis.axhline(0, color='black', linewidth=0.8)
    axis.yaxis.set_major_formatter(lambda value, _: f'{abs(value):g}')
    axis.grid(axis='y', linewidth=0.4)
    axis.set_axisbelow(True)
    axis.spines[['top', 'right']].set_visible(False)
    axis.tick_params(labelsize=8)


def _write_numbers(axis: Axes, heights: Sequence[float]) -> None:
    """At the ends of bars; a bar down that has no height has its number below, so that it is in no other bar."""
    for position, height in enumerate(heights):
        below = math.copysign(1, height) < 0
        axis.annotate(
            f'{abs(height):.1f}',
            (position, height),
            xytext=(0, -1 if below else 1),
            textcoords='offset points',
            ha='center',
            va='top' if below else 'bottom',
            fontsize=7,
        )


def _name_classes(axis: Axes, classes: Sequence[Sequence[PushRow]], unit: str) -> None:
    axis.set_xlim(-0.6, len(classes) - 0.4)
    if len(classes) > _MOST_NAMES:
        axis.set_xlabel('classes, the most frequent first')
        return
    few = len(classes) <= _MOST_NUMBERS
    names = [f'{rows[0].name}\n{_percent(rows[0].share)} %' if few else rows[0].name for rows in classes]
    axis.set_xticks(range(len(classes)), names, fontsize=8, rotation=0 if few else 90)
    axis.set_xlabel(f'class, and its share of the {unit}' if few else 'class, the most frequent first')
