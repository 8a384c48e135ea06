"""The post-hoc logit adjustment as a table, a CSV and a figure."""

import csv
import math
from collections.abc import Sequence
from pathlib import Path

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rich import box
from rich.markup import escape
from rich.table import Table

from mmrecall.analysis.logit_adjustment.sweep import AdjustedScores
from mmrecall.analysis.logit_adjustment.trained_model import SEGMENTATION
from mmrecall.io import atomic_write

# Okabe and Ito's colours, which colour-blind readers can distinguish.
_COLORS = ('#D55E00', '#0072B2', '#009E73', '#CC79A7', '#E69F00', '#56B4E9', '#000000')
_MARKERS = 'sD^vPX*'
# The lines over τ, and the two axes of the trade-off.
_LINES = {
    SEGMENTATION: {
        'mAcc_rare': 'recall, rare classes',
        'mIoU_rare': 'IoU, rare classes',
        'mAcc': 'recall, all classes',
        'mIoU': 'IoU, all classes',
    },
    'classification': {'few': 'few-shot', 'medium': 'medium-shot', 'many': 'many-shot', 'top1': 'all images'},
}
_TRADE_OFF = {
    SEGMENTATION: (('mIoU', 'mean IoU, %'), ('mAcc_rare', 'recall of the rare classes, %')),
    'classification': (('top1', 'accuracy of all images, %'), ('few', 'accuracy of few-shot classes, %')),
}


def adjustment_table(curve: AdjustedScores, others: Sequence[AdjustedScores]) -> Table:
    """Return a row for every τ, and one for every other model."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), pad_edge=False)
    heads = list(curve.rows()[0])
    table.add_column('model', no_wrap=True)
    for head in ('τ', *heads[1:]):
        table.add_column(head, justify='right', no_wrap=True)
    for scores in (curve, *others):
        for row in scores.rows():
            cells = ('-' if math.isnan(row[head]) else f'{row[head]:.1f}' for head in heads[1:])
            table.add_row(escape(scores.name), f'{row["tau"]:g}', *cells)
        table.add_section()
    return table


def write_adjustment(path: str | Path, curve: AdjustedScores, others: Sequence[AdjustedScores]) -> None:
    """Write a CSV with a row for every model and τ: the figures of `AdjustedScores.rows`, then every class."""
    with atomic_write(path) as partial, partial.open('w', newline='', encoding='utf-8') as file:
        writer = csv.writer(file)
        writer.writerow(['model', *curve.rows()[0]])
        for scores in (curve, *others):
            for row in scores.rows():
                writer.writerow([scores.name, *(f'{value:.4f}' for value in row.values())])


# A class may be called $x$, which is no formula.
@rc_context({'text.parse_math': False, 'axes.spines.top': False, 'axes.spines.right': False})
def draw_adjustment(paths: Sequence[str | Path], curve: AdjustedScores, others: Sequence[AdjustedScores]) -> None:
    """Write a figure of the scores over τ, and of the trade-off along τ with other models as points.

    Args:
        paths: paths of the figure, in the format of their suffix, such as .png or .svg.
        curve: scores of the adjusted model.
        others: scores of other models, as they are.
    """
    figure = Figure(figsize=(10.5, 4.4), layout='constrained')
    left, right = figure.subplots(1, 2)
    _draw_over_tau(left, curve)
    _draw_trade_off(right, curve, others)
    for path in paths:
        with atomic_write(path) as partial:
            figure.savefig(partial, dpi=110, format=Path(path).suffix[1:])


def _draw_over_tau(axis: Axes, curve: AdjustedScores) -> None:
    rows = curve.rows()
    for (key, label), color, marker in zip(_LINES[curve.kind].items(), _COLORS, _MARKERS, strict=False):
        axis.plot(curve.taus, [row[key] for row in rows], color=color, marker=marker, markersize=4, label=label)
    axis.set(xlabel='τ, strength of the adjustment (0: the model as it is)', ylabel='%')
    axis.set_title(curve.name, loc='left', fontsize=10)
    axis.grid(linewidth=0.4)
    axis.legend(frameon=False, fontsize=9)


def _draw_trade_off(axis: Axes, curve: AdjustedScores, others: Sequence[AdjustedScores]) -> None:
    (x, x_label), (y, y_label) = _TRADE_OFF[curve.kind]
    rows = curve.rows()
    look = dict(color='#767676', marker='o', markersize=4, label=f'{curve.name}, adjusted by τ')
    axis.plot([row[x] for row in rows], [row[y] for row in rows], **look)
    for row in rows:
        axis.annotate(f'{row["tau"]:g}', (row[x], row[y]), (4, 4), textcoords='offset points', fontsize=7)
    for number, other in enumerate(others):
        (row,) = other.rows()
        color, marker = _COLORS[number % len(_COLORS)], _MARKERS[number % len(_MARKERS)]
        axis.plot(row[x], row[y], color=color, marker=marker, markersize=8, linestyle='', label=other.name)
    axis.set(xlabel=x_label, ylabel=y_label)
    axis.grid(linewidth=0.4)
    axis.legend(frameon=False, fontsize=9)
