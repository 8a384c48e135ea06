"""Figures of trainings: losses, accuracies and validations over the iterations."""

import inspect
from collections.abc import Sequence
from typing import Any, NamedTuple

import matplotlib
import numpy as np
import pandas as pd

from mmrecall.analysis.report.configs import loss_class, loss_of
from mmrecall.analysis.report.style import (
    BLACK,
    Drawn,
    Style,
    in_style,
    legend,
    legend_height,
    new_axes,
    new_figure,
    plain_log,
    styles,
)
from mmrecall.analysis.report.tables import Comparison

_MOST_POINTS = 120
_TABLE_ROWS = 20
_VALIDATED = ('mAcc', 'mIoU', 'shot/top1', 'shot/many', 'shot/medium', 'shot/few', 'accuracy/top1')
# the head whose option alpha is that of the running recall
_HEAD_WITH_ALPHA = 'SDNHead'


class Curves(NamedTuple):
    """A logged number by label: over the iterations, mean and deviation over the seeds."""

    name: str
    means: pd.DataFrame
    deviations: pd.DataFrame


@in_style
def draw_curves(comparison: Comparison) -> Drawn | None:
    """The trainings of all losses."""
    caption = (
        'Mean over the seeds, with a band of one standard deviation. Losses of different kinds have scales of their'
        ' own: compare their shapes, not their heights.'
    )
    looks = styles(comparison.labels, comparison.reference)
    return _draw('curves', 'Training curves', caption, comparison, looks)


@in_style
def draw_alpha_curves(comparison: Comparison) -> Drawn | None:
    """The trainings that differ in alpha; None where there are not two."""
    alphas = alphas_of(comparison)
    if len(alphas) < 2:
        return None
    colors = matplotlib.colormaps['plasma'](np.linspace(0.05, 0.85, len(alphas)))
    lines = ('-', '--', '-.', ':')
    looks = {} if comparison.reference is None else {comparison.reference: Style(BLACK, 'o', '-')}
    for number, label in enumerate(sorted(alphas, key=alphas.get)):
        color = matplotlib.colors.to_hex(colors[number])
        looks[label] = Style(color, 'sD^vPX<>phd'[number % 11], lines[number % 4])
    caption = (
        'Alpha is the weight of the batch in the running recall; the smaller, the slower the class weights move, and'
        ' the longer they stay near those of cross entropy. The lighter the colour, the larger alpha.'
    )
    without = [label for label, alpha in alphas.items() if 'alpha' not in label and alpha == 1]
    caption += ''.join(f' {label} has alpha 1.' for label in without)
    return _draw('curves-alpha', 'Training curves by alpha', caption, comparison, looks)


def alphas_of(comparison: Comparison) -> dict[str, float]:
    """Alpha by label, of the loss or head that has the most of them; 1 is the recall of the batch."""
    found: dict[str, dict[str, float]] = {}
    for one in comparison.runs:
        kind, arguments = loss_of(one.run.config)
        alpha = _alpha(kind, arguments)
        if alpha is not None and arguments.get('metric', 'recall') == 'recall' and '+' not in kind:
            found.setdefault(kind, {})[one.label] = float(alpha)
    return max(found.values(), key=len, default={})


def _alpha(kind: str, arguments: dict[str, Any]) -> float | None:
    loss = loss_class(kind)
    if loss is None:
        return arguments.get('alpha') if kind == _HEAD_WITH_ALPHA else None
    option = inspect.signature(loss).parameters.get('alpha')
    return None if option is None else arguments.get('alpha', option.default)


def _draw(name: str, title: str, caption: str, comparison: Comparison, looks: dict[str, Style]) -> Drawn | None:
    panels = [*_training(comparison, list(looks)), *_validation(comparison, list(looks))]
    if not panels:
        return None
    columns = min(2, len(panels))
    rows = -(-len(panels) // columns)
    named = {label: look for label, look in looks.items() if any(label in panel.means for panel in panels)}
    width = 4.4 * columns + 0.2
    figure = new_figure(width, 3.1 * rows + legend_height(width, list(named)))
    axes = [axis for row in new_axes(figure, rows, columns) for axis in row]
    for axis, panel in zip(axes, panels, strict=False):
        for label, look in named.items():
            if label not in panel.means:
                continue
            values = panel.means[label].dropna()
            spread = panel.deviations[label].reindex(values.index)
            axis.plot(
                values.index, values, color=look.color, linestyle=look.line, marker=look.marker, linewidth=1.4,
                markersize=4, markevery=max(1, len(values) // 6),
            )  # fmt: skip
            if spread.notna().any():
                axis.fill_between(
                    values.index, values - spread, values + spread, color=look.color, alpha=0.15, linewidth=0
                )
        axis.set_title(panel.name)
        axis.set_xlabel('iteration')
        if panel.name.startswith('training loss'):
            plain_log(axis.yaxis)
    for axis in axes[len(panels) :]:
        axis.set_visible(False)
    legend(figure, named)
    everything = _long(panels)
    if not any(panel.name.startswith('validation') for panel in panels):
        caption += ' There is no curve of the validation, since no run was validated more than once.'
    return Drawn(name, title, caption, figure, _thinned(panels), everything)


def _training(comparison: Comparison, labels: Sequence[str]) -> list[Curves]:
    frames = {label: _frames(comparison, label, 'training') for label in labels}
    columns = dict.fromkeys(column for found in frames.values() for frame in found for column in frame)
    accuracy = next((name for name in ('decode.acc_seg', *columns) if name in columns and 'acc' in name), None)
    wanted = [(column, f'training {name}') for column, name in (('loss', 'loss'), (accuracy, 'accuracy, %')) if column]
    return [panel for column, name in wanted if (panel := _over_seeds(frames, column, name)) is not None]


def _validation(comparison: Comparison, labels: Sequence[str]) -> list[Curves]:
    frames = {label: _frames(comparison, label, 'validation') for label in labels}
    panels = [_over_seeds(frames, column, f'validation {column}, %') for column in _VALIDATED]
    # of one validation there is no curve
    return [panel for panel in panels if panel is not None and len(panel.means) > 1]


def _frames(comparison: Comparison, label: str, which: str) -> list[pd.DataFrame]:
    return [getattr(one.run.scalars, which) for one in comparison.runs if one.label == label]


def _over_seeds(frames: dict[str, list[pd.DataFrame]], column: str, name: str) -> Curves | None:
    means, deviations = {}, {}
    for label, found in frames.items():
        series = [frame[column].dropna() for frame in found if column in frame]
        if series:
            grouped = pd.concat(series).groupby(level=0)
            means[label], deviations[label] = _binned(grouped.mean()), _binned(grouped.std())
    if not means:
        return None
    return Curves(name, pd.DataFrame(means).sort_index(), pd.DataFrame(deviations).sort_index())


def _binned(series: pd.Series) -> pd.Series:
    """At most so many points: means of neighbours, at the last iteration of each group."""
    size = -(-len(series) // _MOST_POINTS)
    if size < 2:
        return series
    groups = np.arange(len(series)) // size
    last = series.index.to_series().groupby(groups).last().to_numpy()
    return pd.Series(series.groupby(groups).mean().to_numpy(), index=last, name=series.name)


def _long(panels: Sequence[Curves]) -> pd.DataFrame:
    parts = []
    for panel in panels:
        part = panel.means.rename_axis('iteration').melt(ignore_index=False, var_name='loss', value_name='mean')
        spread = panel.deviations.melt(ignore_index=False, value_name='std')['std']
        part['std'] = spread.to_numpy()
        part.insert(0, 'quantity', panel.name)
        parts.append(part.dropna(subset=['mean']))
    return pd.concat(parts)


def _thinned(panels: Sequence[Curves]) -> pd.DataFrame:
    """Some of the iterations, the last always."""
    parts = []
    for panel in panels:
        places = np.unique(np.linspace(0, len(panel.means) - 1, _TABLE_ROWS // len(panels) + 2).astype(int))
        part = panel.means.iloc[places].rename_axis('iteration').reset_index()
        part.insert(0, 'quantity', panel.name)
        parts.append(part)
    return pd.concat(parts, ignore_index=True).set_index('quantity')
