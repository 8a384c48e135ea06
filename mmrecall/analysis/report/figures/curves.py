"""Figures of trainings: losses, accuracies and validations over the iterations."""

from collections.abc import Sequence
from typing import NamedTuple

import matplotlib
import numpy as np
import pandas as pd

from mmrecall.analysis.report.configs import alpha_of
from mmrecall.analysis.report.figures import style
from mmrecall.analysis.report.figures.figure import Figure
from mmrecall.analysis.report.tables import Comparison

_MOST_POINTS = 120
_TABLE_ROWS = 20
_VALIDATED = ('mAcc', 'mIoU', 'shot/top1', 'shot/many', 'shot/medium', 'shot/few', 'accuracy/top1')


class Curves(NamedTuple):
    """A logged number by label: over the iterations, mean and deviation over the seeds."""

    name: str
    means: pd.DataFrame
    deviations: pd.DataFrame


def draw_curves(comparison: Comparison) -> Figure | None:
    """Draw the trainings of all losses."""
    caption = (
        'Mean over the seeds, with a band of one standard deviation. Losses of different kinds have scales of their'
        ' own: compare their shapes, not their heights.'
    )
    looks = style.styles(comparison.labels, comparison.reference)
    return _draw('curves', 'Training curves', caption, comparison, looks)


def draw_alpha_curves(comparison: Comparison) -> Figure | None:
    """Draw the trainings that differ in alpha, where there are two."""
    alphas = alphas_of(comparison)
    if len(alphas) < 2:
        return None
    colors = matplotlib.colormaps['plasma'](np.linspace(0.05, 0.85, len(alphas)))
    lines = ('-', '--', '-.', ':')
    looks = {} if comparison.reference is None else {comparison.reference: style.REFERENCE}
    for number, label in enumerate(sorted(alphas, key=alphas.get)):
        color = matplotlib.colors.to_hex(colors[number])
        looks[label] = style.Style(color, style.MARKERS[number % len(style.MARKERS)], lines[number % 4])
    caption = style.captioned(
        'Alpha is the weight of the batch in the running recall; the smaller, the slower the class weights move, and'
        ' the longer they stay near those of cross entropy. The lighter the colour, the larger alpha.',
        *(f'{label} has alpha 1.' for label, alpha in alphas.items() if 'alpha' not in label and alpha == 1),
    )
    return _draw('curves-alpha', 'Training curves by alpha', caption, comparison, looks)


def alphas_of(comparison: Comparison) -> dict[str, float]:
    """Return alpha by label, of the loss or head that has the most of them."""
    found: dict[str, dict[str, float]] = {}
    for one in comparison.runs:
        if (alpha := alpha_of(one.run.config)) is not None:
            found.setdefault(alpha[0], {})[one.label] = alpha[1]
    return max(found.values(), key=len, default={})


def _draw(name: str, title: str, caption: str, comparison: Comparison, looks: dict[str, style.Style]) -> Figure | None:
    panels = _panels(comparison, list(looks))
    if not panels:
        return None
    named = {label: look for label, look in looks.items() if any(label in panel.means for panel in panels)}
    figure, axes = style.new_panels(len(panels), 2, 4.4 * min(2, len(panels)) + 0.2, 3.1, legend=named)
    for axis, panel in zip(axes, panels, strict=True):
        for label in panel.means:
            look, values = named[label], panel.means[label].dropna()
            style.draw_line(axis, values, look, width=1.4, markers=6)
            spread = panel.deviations[label].reindex(values.index)
            if spread.notna().any():
                axis.fill_between(
                    values.index, values - spread, values + spread, color=look.color, alpha=0.15, linewidth=0
                )
        axis.set(title=panel.name, xlabel='iteration')
        if panel.name.startswith('training loss'):
            style.plain_log(axis.yaxis)
    validated = any(panel.name.startswith('validation') for panel in panels)
    caption = style.captioned(
        caption,
        not validated and 'There is no curve of the validation, since no run was validated more than once.',
    )
    return Figure(name, title, caption, figure, _thinned(panels), _long(panels))


def _panels(comparison: Comparison, labels: Sequence[str]) -> list[Curves]:
    training, validation = (
        {label: [getattr(one.run.scalars, part) for one in comparison.runs if one.label == label] for label in labels}
        for part in ('training', 'validation')
    )
    columns = dict.fromkeys(column for found in training.values() for frame in found for column in frame)
    accuracy = next((name for name in ('decode.acc_seg', *columns) if name in columns and 'acc' in name), '')
    losses = [_over_seeds(training, 'loss', 'training loss'), _over_seeds(training, accuracy, 'training accuracy, %')]
    results = [_over_seeds(validation, column, f'validation {column}, %') for column in _VALIDATED]
    # A single validation is no curve.
    return [panel for panel in losses if panel] + [panel for panel in results if panel and len(panel.means) > 1]


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
    """Return at most so many points: means of neighbours, at the last iteration of each group."""
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
        part['std'] = panel.deviations.melt()['value'].to_numpy()
        part.insert(0, 'quantity', panel.name)
        parts.append(part.dropna(subset=['mean']))
    return pd.concat(parts)


def _thinned(panels: Sequence[Curves]) -> pd.DataFrame:
    """Return some of the iterations, the last always."""
    parts = []
    for panel in panels:
        places = np.unique(np.linspace(0, len(panel.means) - 1, _TABLE_ROWS // len(panels) + 2).astype(int))
        part = panel.means.iloc[places].rename_axis('iteration').reset_index()
        part.insert(0, 'quantity', panel.name)
        parts.append(part)
    return pd.concat(parts, ignore_index=True).set_index('quantity')
