"""Figures of the class weights that ClassWeightHook has logged."""

from collections.abc import Collection
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import PowerNorm

from mmrecall.analysis.report.placement import place_names
from mmrecall.analysis.report.style import (
    BLACK,
    COLORS,
    GREY,
    SEQUENTIAL,
    Drawn,
    in_style,
    legend,
    legend_height,
    new_axes,
    new_figure,
    plain_log,
    short,
    styles,
)
from mmrecall.analysis.report.tables import Comparison

_WEIGHTS = {
    'class_weight': '',
    'would_be_recall_weight': 'would-be recall weight',
    'would_be_focal_weight': 'would-be focal weight',
}
# a panel for every class up to here, else of the most and of the least frequent
_MOST_PANELS, _EITHER_END = 12, 6
_MOST_NAMES = 40
_MOST_POINTS = 60


class Weights(NamedTuple):
    """The weights of one loss over the iterations, mean over the seeds."""

    name: str
    values: pd.DataFrame
    """A row per iteration, a column per class, the most frequent first."""


def weights_of(comparison: Comparison) -> list[Weights]:
    """What was logged, by loss; where a model has several, each by itself."""
    found: dict[tuple[str, str, str], list[pd.DataFrame]] = {}
    for one in comparison.runs:
        for (quantity, module), frame in one.run.scalars.classes.items():
            if quantity in _WEIGHTS:
                found.setdefault((one.label, quantity, module), []).append(frame)
    modules = {label: {key[2] for key in found if key[0] == label} for label, *_ in found}
    series = []
    for (label, quantity, module), frames in found.items():
        parts = [label, module if len(modules[label]) > 1 else '', _WEIGHTS[quantity]]
        mean = pd.concat(frames).groupby(level=0).mean()
        series.append(Weights(', '.join(filter(None, parts)), mean[_order(comparison, mean.columns)]))
    return series


def _order(comparison: Comparison, names: Collection[str]) -> list[str]:
    """The most frequent class first, where that is known."""
    if comparison.shares is None:
        return list(names)
    known = [name for name in comparison.shares.index if name in names]
    return known + [name for name in names if name not in comparison.shares.index]


@in_style
def draw_weight_maps(comparison: Comparison) -> Drawn | None:
    """The weight of every class over the iterations, a panel per loss; figure 1a of the earlier paper."""
    series = weights_of(comparison)
    if not series:
        return None
    columns = min(2, len(series))
    rows = -(-len(series) // columns)
    classes = _order(comparison, dict.fromkeys(name for one in series for name in one.values))
    most = len(classes)
    figure = new_figure(8.6 if columns == 2 else 5.6, rows * (1.0 + min(4.5, max(1.4, 0.2 * most))) + 0.6)
    axes = [axis for row in new_axes(figure, rows, columns, sharey=True) for axis in row]
    largest = float(np.nanquantile(np.concatenate([one.values.to_numpy().ravel() for one in series]), 0.995))
    for axis, one in zip(axes, series, strict=False):
        picture = _map(axis, one, classes, largest)
    for axis in axes[len(series) :]:
        axis.set_visible(False)
    bar = figure.colorbar(picture, ax=axes, location='bottom', shrink=0.5, aspect=40, pad=0.02)
    ticks = largest * np.linspace(0, 1, 6) ** 2
    bar.set_ticks(ticks, labels=[f'{tick:.2g}' for tick in ticks])
    bar.set_label('weight; those of the classes of a batch add up to 1', fontsize=8)
    caption = 'The most frequent class is on top. ' if comparison.shares is not None else ''
    caption += 'Grey: not in the batch. The table has means over the first and the last tenth of the logged iterations.'
    return Drawn('weights-map', 'Class weights over iterations', caption, figure, _begin_and_end(series), _long(series))


def _map(axis: Axes, one: Weights, classes: list[str], largest: float):
    values = _binned(one.values, _MOST_POINTS).reindex(columns=classes).T
    axis.grid(False)
    axis.set_facecolor('#bbbbbb')
    steps = values.columns
    picture = axis.imshow(
        values, aspect='auto', cmap=SEQUENTIAL, norm=PowerNorm(0.5, 0, largest), interpolation='nearest',
        extent=(steps[0], steps[-1] + (steps[-1] - steps[0]) / max(1, len(steps) - 1), len(values) - 0.5, -0.5),
    )  # fmt: skip
    axis.set_title(short(one.name, 60), fontsize=8.5)
    axis.set_xlabel('iteration')
    if len(values) <= _MOST_NAMES:
        axis.set_yticks(range(len(values)), [short(name) for name in values.index], fontsize=8)
    else:
        axis.set_ylabel(f'{len(values)} classes, frequent to rare')
    return picture


@in_style
def draw_weight_lines(comparison: Comparison) -> Drawn | None:
    """The weights of all losses over the iterations, a panel per class."""
    series = weights_of(comparison)
    if not series:
        return None
    classes = _order(comparison, dict.fromkeys(name for one in series for name in one.values))
    shown = classes if len(classes) <= _MOST_PANELS else classes[:_EITHER_END] + classes[-_EITHER_END:]
    columns = min(4, len(shown))
    rows = -(-len(shown) // columns)
    looks = styles([one.name for one in series], None)
    figure = new_figure(9.2, 1.75 * rows + 0.4 + legend_height(9.2, list(looks)))
    axes = [axis for row in new_axes(figure, rows, columns, sharex=True, sharey=True) for axis in row]
    for axis, name in zip(axes, shown, strict=False):
        for one in series:
            if name in one.values:
                values = _binned(one.values[[name]], _MOST_POINTS)[name].dropna()
                look = looks[one.name]
                axis.plot(
                    values.index, values, color=look.color, linestyle=look.line, linewidth=1.2, marker=look.marker,
                    markersize=3.5, markevery=max(1, len(values) // 5),
                )  # fmt: skip
        share = '' if comparison.shares is None else f', {_percent(comparison.shares.get(name, np.nan))}'
        axis.set_title(short(name, 20) + share, fontsize=8.5)
        axis.tick_params(labelsize=7.5)
    for axis in axes[len(shown) :]:
        axis.set_visible(False)
    for axis in axes[max(0, len(shown) - columns) : len(shown)]:
        axis.tick_params(labelbottom=True)
    for axis in axes[(rows - 1) * columns : len(shown)]:
        axis.set_xlabel('iteration', fontsize=8)
    axes[0].set_ylim(bottom=0)
    figure.supylabel('weight', fontsize=9)
    legend(figure, looks)
    caption = 'Means over the seeds and over neighbouring iterations.'
    if comparison.shares is not None:
        caption += ' The share of a class in the labels is beside its name.'
    if len(shown) < len(classes):
        caption += f' Of {len(classes)} classes, the {_EITHER_END} most and the {_EITHER_END} least frequent.'
    caption += ' All numbers are in weights-map.csv.'
    return Drawn('weights-lines', 'Class weights by class', caption, figure, _begin_and_end(series).loc[shown])


@in_style
def draw_weight_shares(comparison: Comparison) -> Drawn | None:
    """The mean weight of every class against its share of the labels; figure 4 of the paper."""
    series = weights_of(comparison)
    if not series or comparison.shares is None:
        return None
    table = pd.DataFrame({one.name: one.values.mean() for one in series})
    table.insert(0, '% of labels', comparison.shares.reindex(table.index))
    table = table[table['% of labels'] > 0].sort_values('% of labels', ascending=False).rename_axis('class')
    ratios = _ratios(series).reindex(table.index)
    looks = styles([one.name for one in series], None)
    width = 8.8 if len(ratios.columns) else 5.6
    figure = new_figure(width, 4.2 + legend_height(width, list(looks)))
    left, *right = new_axes(figure, 1, 2 if len(ratios.columns) else 1)[0]
    for one in series:
        look = looks[one.name]
        left.plot(table['% of labels'], table[one.name], color=look.color, marker=look.marker, linestyle=look.line,
                  linewidth=0.8, markersize=5)  # fmt: skip
    left.set_title('mean weight over the iterations')
    left.set_ylim(bottom=0)
    for axis in right:
        _draw_ratios(axis, table['% of labels'], ratios)
    for axis in (left, *right):
        _share_scale(axis)
    legend(figure, looks)
    caption = 'From the most frequent class, on the right, to the rarest.'
    if len(ratios.columns):
        caption += (
            ' Right: what the recall loss would weigh a class, over what focal loss would, both by the predictions of'
            ' one model that is trained with cross entropy; above 1 the recall loss weighs it more.'
        )
        _name_ratios(figure, right[0], table['% of labels'], ratios)
    for column in ratios:
        table[column] = ratios[column]
    return Drawn('weights-share', 'Class weights against the share of the class', caption, figure, table)


def _ratios(series: list[Weights]) -> pd.DataFrame:
    """Would-be recall weight over would-be focal weight, by what they were both logged of."""
    recall, focal = _WEIGHTS['would_be_recall_weight'], _WEIGHTS['would_be_focal_weight']
    by_name = {one.name: one.values.mean() for one in series}
    pairs = {name: name.removesuffix(recall) + focal for name in by_name if name.endswith(recall)}
    return pd.DataFrame(
        {
            f'{name}, over focal': by_name[name] / by_name[other].where(by_name[other] > 0)
            for name, other in pairs.items()
            if other in by_name
        }
    )


def _draw_ratios(axis: Axes, shares: pd.Series, ratios: pd.DataFrame) -> None:
    for number, column in enumerate(ratios):
        axis.plot(shares, ratios[column], color=COLORS[number % len(COLORS)], marker='os^D'[number % 4], linestyle='',
                  markersize=5)  # fmt: skip
    axis.axhline(1, color=BLACK, linestyle='--', linewidth=0.8)
    axis.set_title('would-be recall weight / would-be focal weight')


def _name_ratios(figure, axis: Axes, shares: pd.Series, ratios: pd.DataFrame) -> None:
    if len(ratios) > _MOST_NAMES / 2 or len(ratios.columns) > 1:
        return
    axis.margins(0.16, 0.14)
    FigureCanvasAgg(figure).draw()
    figure.set_layout_engine('none')
    found = ratios.iloc[:, 0].dropna()
    points = [(shares[name], value) for name, value in found.items()]
    place_names(axis, points, [short(name, 18) for name in found.index], [GREY] * len(found))


def _share_scale(axis: Axes) -> None:
    axis.set_xlabel('share of the labels, %')
    plain_log(axis.xaxis)


def _binned(values: pd.DataFrame, most: int) -> pd.DataFrame:
    """Means of neighbours, so that there are at most so many rows; at the first iteration of each group."""
    size = -(-len(values) // most)
    groups = np.arange(len(values)) // size
    binned = values.groupby(groups).mean()
    binned.index = values.index[::size]
    return binned


def _begin_and_end(series: list[Weights]) -> pd.DataFrame:
    columns = {}
    for one in series:
        tenth = max(1, len(one.values) // 10)
        columns[f'{one.name}: begin'] = one.values.iloc[:tenth].mean()
        columns[f'{one.name}: end'] = one.values.iloc[-tenth:].mean()
    order = dict.fromkeys(name for one in series for name in one.values)
    return pd.DataFrame(columns).reindex(list(order)).rename_axis('class')


def _long(series: list[Weights]) -> pd.DataFrame:
    parts = []
    for one in series:
        part = one.values.rename_axis('iteration').melt(ignore_index=False, var_name='class', value_name='weight')
        part.insert(0, 'loss', one.name)
        parts.append(part.dropna())
    return pd.concat(parts)


def _percent(share: float) -> str:
    return f'{share:.1f} %' if share >= 1 else f'{share:.2g} %'
