"""The class imbalance of a training set as a table and a chart."""

from pathlib import Path

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rich import box
from rich.markup import escape
from rich.table import Table

from mmrecall.datasets import LabelCounts
from mmrecall.functional import (
    effective_number_weights,
    enet_weights,
    inverse_frequency_weights,
    median_frequency_weights,
)
from mmrecall.io import atomic_write

_COLOR = '#0072B2'
# Largest number of classes whose names are legible in one figure, and rows of a column of bars.
_MOST_NAMES = 400
_ROWS = 75


def class_counts_table(found: LabelCounts) -> Table:
    """Return a row per class: count, share of all labels in %, images with the class, and weight by each scheme."""
    table = Table(title=f'{found.num_images:,} images', box=box.SIMPLE_HEAD, padding=(0, 1))
    table.add_column('class', no_wrap=True)
    weights = ('inverse\nfrequency', 'median\nfrequency', 'effective\nnumber', 'ENet')
    for head in (found.unit, '%', 'images', *weights):
        table.add_column(head, justify='right', no_wrap=True)
    for name, count, images, *row in zip(found.classes, found.counts, found.images, *_weights(found), strict=True):
        share = _percent(count, found.total)
        table.add_row(escape(name), f'{count:,}', share, f'{images:,}', *(f'{weight:.3g}' for weight in row))
    table.add_section()
    table.add_row('unlabelled', f'{found.ignored:,}', _percent(found.ignored, found.total))
    table.add_row('all', f'{found.total:,}')
    return table


def _weights(found: LabelCounts) -> list[list[float]]:
    counts = torch.tensor(found.counts)
    totals = None if found.image_totals is None else torch.tensor(found.image_totals)
    schemes = (
        inverse_frequency_weights(counts),
        median_frequency_weights(counts, totals),
        effective_number_weights(counts),
        enet_weights(counts),
    )
    return [weights.tolist() for weights in schemes]


def _percent(count: int, total: int) -> str:
    share = 100 * count / total
    return f'{share:.2f}' if share >= 0.01 or not count else f'{share:.1g}'


def draw_class_counts(path: str | Path, found: LabelCounts) -> None:
    """Write a PNG with a bar per class, the largest first, on a logarithmic scale; above 400 classes, with a curve."""
    order = np.argsort(found.counts, kind='stable')[::-1]
    figure = _bars(found, order) if len(order) <= _MOST_NAMES else _curve(found, order)
    figure.suptitle(f'{found.num_images:,} images, {len(order):,} classes')
    with atomic_write(path) as partial:
        figure.savefig(partial, dpi=110, format='png')


def _bars(found: LabelCounts, order: np.ndarray) -> Figure:
    columns = -(-len(order) // _ROWS)
    rows = -(-len(order) // columns)
    figure = Figure(figsize=(6.5 if columns == 1 else 3.6 * columns, 1.4 + 0.19 * rows), layout='constrained')
    for column, axis in enumerate(figure.subplots(1, columns, squeeze=False, sharex=True)[0]):
        part = order[column * rows : (column + 1) * rows]
        counts = [found.counts[number] for number in part]
        axis.barh(range(len(part)), counts, color=_COLOR)
        # A class may be called $x$, which is no formula.
        axis.set_yticks(range(len(part)), [_label(found, number) for number in part], fontsize=8, parse_math=False)
        axis.set_ylim(rows - 0.4, -0.6)
        axis.grid(axis='x', linewidth=0.4)
        axis.set_axisbelow(True)
        _scale(axis, found)
        axis.set_xlabel(found.unit)
    return figure


def _label(found: LabelCounts, number: int) -> str:
    name = found.classes[number]
    name = name if len(name) <= 28 else f'{name[:27]}…'
    # No bar would look like a short one.
    return name if found.counts[number] else f'{name} (none)'


def _scale(axis: Axes, found: LabelCounts) -> None:
    largest = max(found.counts)
    smallest = min((count for count in found.counts if count), default=1)
    axis.set_xscale('log')
    axis.set_xlim(smallest / 2, largest * 1.5)


def _curve(found: LabelCounts, order: np.ndarray) -> Figure:
    figure = Figure(figsize=(8, 4.5), layout='constrained')
    axis = figure.subplots()
    counts = np.asarray(found.counts)[order]
    axis.fill_between(range(1, len(counts) + 1), np.maximum(counts, 0.5), 0.5, color=_COLOR, step='mid')
    axis.set_yscale('log')
    axis.set_ylim(0.5)
    axis.set_xlim(1, len(counts))
    axis.set_xlabel(f'classes, the largest first ({int((counts == 0).sum())} without any)')
    axis.set_ylabel(found.unit)
    axis.grid(linewidth=0.4)
    return figure
