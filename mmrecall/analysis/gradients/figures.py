"""The gradients of losses by class as a table, a CSV and a figure."""

import csv
import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from rich import box
from rich.markup import escape
from rich.table import Table

from mmrecall.analysis.gradients.comparison import ComparedGradients
from mmrecall.io import atomic_write

# Okabe and Ito's blue and vermilion, which colour-blind readers can distinguish.
_POSITIVE, _NEGATIVE = '#0072B2', '#D55E00'
# Largest numbers of classes whose names, and whose numbers, fit side by side.
_MOST_NAMES = 60
_MOST_NUMBERS = 20
# Longest name of a loss that is not broken above its column.
_HEAD = 12
# Larger ratios are shown as >999.
_LARGEST_RATIO = 999


class GradientRow(NamedTuple):
    """Gradients of one loss in one class; their shares are of the sum of both gradients over all classes."""

    name: str
    """Name of the class."""
    share: float
    """Share of the class in the labels."""
    recall: float
    """Recall of the model; NaN for a class without labels."""
    loss: str
    positive_gradient: float
    negative_gradient: float
    positive_gradient_share: float
    negative_gradient_share: float
    ratio: float
    """Ratio of the positive to the negative gradient; NaN if both are 0."""


def gradient_rows(found: ComparedGradients) -> list[GradientRow]:
    """Return a row for every loss and class, in their order."""
    support = found.statistics.support.double()
    shares = (support / support.sum()).tolist()
    recalls = (found.statistics.true_positives / support).tolist()
    rows = []
    for loss, gradients in found.gradients.items():
        total = sum(term.abs().sum() for term in gradients)
        # A loss without any gradient has 0 / 0.
        parts = [(term / total).nan_to_num() for term in gradients]
        columns = [*gradients, *parts, gradients.positive / gradients.negative]
        values = zip(*((column + 0.0).tolist() for column in columns), strict=True)
        for name, share, recall, row in zip(found.classes, shares, recalls, values, strict=True):
            rows.append(GradientRow(name, share, recall, loss, *row))
    return rows


def gradients_table(found: ComparedGradients) -> Table:
    """Return a row per class, the most frequent first, and a column per loss, for both gradients and their ratio.

    A gradient is in % of the sum of both gradients of the loss over all classes.
    """
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), collapse_padding=True, pad_edge=False)
    table.add_column('class', no_wrap=True)
    # A long name is broken at its hyphens.
    losses = (name.replace('-', '-\n') if len(name) > _HEAD else name for name in found.gradients)
    for head in (f'% {found.unit}', '% recall', *map(escape, losses)):
        table.add_column(head, justify='right', no_wrap=True)
    sections = {
        'positive gradient, %': lambda row: _percent(row.positive_gradient_share),
        'negative gradient, %': lambda row: _percent(row.negative_gradient_share),
        'positive / negative': lambda row: _number(row.ratio),
    }
    for title, cell in sections.items():
        table.add_section()
        table.add_row(f'[bold]{title}')
        for rows in _by_class(found):
            cells = (_percent(rows[0].share), _percent(rows[0].recall))
            table.add_row(escape(rows[0].name), *cells, *map(cell, rows))
    return table


def _by_class(found: ComparedGradients) -> list[list[GradientRow]]:
    """Return the rows of every class, one per loss, with the most frequent class first."""
    rows, number = gradient_rows(found), len(found.classes)
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


def write_gradients(path: str | Path, found: ComparedGradients) -> None:
    """Write a CSV with a row for every loss and class, see `GradientRow`."""
    with atomic_write(path) as partial, partial.open('w', newline='', encoding='utf-8') as file:
        writer = csv.writer(file)
        writer.writerow(GradientRow._fields)
        writer.writerows(gradient_rows(found))


# A class may be called $x$, which is no formula.
@rc_context({'text.parse_math': False})
def draw_gradients(paths: Sequence[str | Path], found: ComparedGradients) -> None:
    """Write a figure with a panel per loss, where every class has a positive bar upwards and a negative one downwards.

    Bars are in % of the sum of both gradients of the loss over all classes. The most frequent class comes first; all
    panels have one scale.

    Args:
        paths: paths of the figure, in the format of their suffix, such as .png or .svg.
        found: gradients of all losses.
    """
    classes = _by_class(found)
    width = min(max(6.5, 2 + 0.75 * len(classes)), 14)
    figure = Figure(figsize=(width, 1.3 + 1.55 * len(found.gradients)), layout='constrained')
    axes = figure.subplots(len(found.gradients), 1, sharex=True, sharey=True, squeeze=False)[:, 0]
    for number, (axis, loss) in enumerate(zip(axes, found.gradients, strict=True)):
        _draw_loss(axis, [rows[number] for rows in classes])
        axis.set_title(loss, loc='left', fontsize=10, fontweight='bold')
    _name_classes(axes[-1], classes, found.unit)
    highest = max(abs(share) for rows in classes for row in rows for share in _shares(row))
    axes[-1].set_ylim(-130 * highest, 130 * highest)
    figure.suptitle("Gradient of each loss by class, in % of the loss's sum over all classes", fontsize=11)
    handles = [
        Patch(color=_POSITIVE, label='positive: samples of the class raise its logit'),
        Patch(color=_NEGATIVE, label='negative: samples of other classes lower it'),
    ]
    figure.legend(handles=handles, loc='outside lower center', ncols=2, frameon=False, fontsize=9)
    for path in paths:
        with atomic_write(path) as partial:
            figure.savefig(partial, dpi=110, format=Path(path).suffix[1:])


def _shares(row: GradientRow) -> tuple[float, float]:
    """Return the heights of the bars upwards and downwards."""
    # matplotlib would write the number of a bar without height above it, into the other bar.
    return row.positive_gradient_share, -(row.negative_gradient_share or 1e-9)


def _draw_loss(axis: Axes, rows: Sequence[GradientRow]) -> None:
    positions = np.arange(len(rows))
    for shares, color in zip(zip(*map(_shares, rows), strict=True), (_POSITIVE, _NEGATIVE), strict=True):
        heights = [100 * share for share in shares]
        if len(rows) > _MOST_NAMES:  # Hundreds of bars would take seconds.
            axis.fill_between(positions, heights, step='mid', color=color, linewidth=0)
            continue
        bars = axis.bar(positions, heights, color=color, width=0.8)
        if len(rows) <= _MOST_NUMBERS:
            axis.bar_label(bars, [f'{abs(height):.1f}' for height in heights], padding=1, fontsize=7)
    axis.axhline(0, color='black', linewidth=0.8)
    axis.yaxis.set_major_formatter(lambda value, _: f'{abs(value):g}')
    axis.grid(axis='y', linewidth=0.4)
    axis.set_axisbelow(True)
    axis.spines[['top', 'right']].set_visible(False)
    axis.tick_params(labelsize=8)


def _name_classes(axis: Axes, classes: Sequence[Sequence[GradientRow]], unit: str) -> None:
    axis.set_xlim(-0.6, len(classes) - 0.4)
    if len(classes) > _MOST_NAMES:
        axis.set_xlabel('classes, the most frequent first')
        return
    few = len(classes) <= _MOST_NUMBERS
    names = [f'{rows[0].name}\n{_percent(rows[0].share)} %' if few else rows[0].name for rows in classes]
    axis.set_xticks(range(len(classes)), names, fontsize=8, rotation=0 if few else 90)
    axis.set_xlabel(f'class, and its share of the {unit}' if few else 'class, the most frequent first')
