"""Figures of the class weights that ClassWeightHook has logged."""

from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.image import AxesImage

from mmrecall.analysis.report.figures import style
from mmrecall.analysis.report.figures.figure import Figure
from mmrecall.analysis.report.figures.point_labels import place_names
from mmrecall.analysis.report.tables import Comparison

_RECALL, _FOCAL = 'hypothetical recall weight', 'hypothetical focal weight'
_WEIGHTS = {'class_weight': '', 'hypothetical_recall_weight': _RECALL, 'hypothetical_focal_weight': _FOCAL}
# Goes from dark to bright in grey too.
_SEQUENTIAL = 'cividis'
# Of more classes, only so many of the most and of the least frequent have a panel.
_MOST_PANELS, _EITHER_END = 12, 6
_MOST_NAMES = 40
_MOST_POINTS = 60


class Weights(NamedTuple):
    """The weights of one loss over the iterations, mean over the seeds."""

    name: str
    values: pd.DataFrame
    """A row per iteration, a column per class, the most frequent first."""


def weights_of(comparison: Comparison) -> list[Weights]:
    """Return the logged weights by loss; where a model has several losses, each by itself."""
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
        series.append(Weights(', '.join(filter(None, parts)), mean[comparison.ordered(mean.columns)]))
    return series


def _classes(comparison: Comparison, series: list[Weights]) -> list[str]:
    return comparison.ordered(dict.fromkeys(name for one in series for name in one.values))


def draw_weight_maps(comparison: Comparison) -> Figure | None:
    """Draw the weight of every class over the iterations, a panel per loss; figure 1a of the earlier paper."""
    series = weights_of(comparison)
    if not series:
        return None
    classes = _classes(comparison, series)
    height = 1 + min(4.5, max(1.4, 0.2 * len(classes)))
    figure, axes = style.new_panels(len(series), 2, 8.6 if len(series) > 1 else 5.6, height, extra=0.6, sharey=True)
    largest = float(np.nanquantile(np.concatenate([one.values.to_numpy().ravel() for one in series]), 0.995))
    for axis, one in zip(axes, series, strict=True):
        picture = _draw_map(axis, one, classes, largest)
    bar = figure.colorbar(picture, ax=figure.axes, location='bottom', shrink=0.5, aspect=40, pad=0.02)
    ticks = largest * np.linspace(0, 1, 6) ** 2
    bar.set_ticks(ticks, labels=[f'{tick:.2g}' for tick in ticks])
    bar.set_label('weight; those of the classes of a batch add up to 1', fontsize=8)
    caption = style.captioned(
        comparison.shares is not None and 'The most frequent class is on top.',
        'Grey: not in the batch. The table has means over the first and the last tenth of the logged iterations.',
    )
    table = _begin_and_end(series)
    return Figure('weights-map', 'Class weights over iterations', caption, figure, table, _long(series))


def _draw_map(axis: Axes, one: Weights, classes: list[str], largest: float) -> AxesImage:
    values = _binned(one.values).reindex(columns=classes).T
    axis.grid(False)
    axis.set_facecolor('#bbbbbb')
    steps = values.columns
    step = (steps[-1] - steps[0]) / max(1, len(steps) - 1) or 1
    # seaborn's heat map has no axis of numbers: its ticks would be at 10, 460, 910.
    picture = axis.imshow(
        values, aspect='auto', cmap=_SEQUENTIAL, norm=PowerNorm(0.5, 0, largest), interpolation='nearest',
        extent=(steps[0], steps[-1] + step, len(values) - 0.5, -0.5),
    )  # fmt: skip
    axis.set_title(style.short(one.name, 60), fontsize=8.5)
    axis.set_xlabel('iteration')
    if len(values) <= _MOST_NAMES:
        axis.set_yticks(range(len(values)), [style.short(name) for name in values.index], fontsize=8)
    else:
        axis.set_ylabel(f'{len(values)} classes, frequent to rare')
    return picture


def draw_weight_lines(comparison: Comparison) -> Figure | None:
    """Draw the weights of all losses over the iterations, a panel per class."""
    series = weights_of(comparison)
    if not series:
        return None
    classes = _classes(comparison, series)
    shown = style.ends(classes, _MOST_PANELS, _EITHER_END)
    looks = style.styles([one.name for one in series])
    figure, axes = style.new_panels(len(shown), 4, 9.2, 1.75, extra=0.4, legend=looks, sharex=True, sharey=True)
    binned = [Weights(one.name, _binned(one.values)) for one in series]
    for number, (axis, name) in enumerate(zip(axes, shown, strict=True)):
        for one in binned:
            if name in one.values:
                style.draw_line(axis, one.values[name], looks[one.name], width=1.2, markers=5)
        share = '' if comparison.shares is None else f', {_percent(comparison.shares.get(name, np.nan))}'
        axis.set_title(style.short(name, 20) + share, fontsize=8.5)
        # The last row may have fewer panels.
        axis.tick_params(labelsize=7.5, labelbottom=number >= len(shown) - 4)
    for axis in axes[(len(shown) - 1) // 4 * 4 :]:
        axis.set_xlabel('iteration', fontsize=8)
    axes[0].set_ylim(bottom=0)
    figure.supylabel('weight', fontsize=9)
    caption = style.captioned(
        'Means over the seeds and over neighbouring iterations.',
        comparison.shares is not None and 'The share of a class in the labels is beside its name.',
        len(shown) < len(classes)
        and f'Of {len(classes)} classes, the {_EITHER_END} most and the {_EITHER_END} least frequent.',
        'All numbers are in weights-map.csv.',
    )
    return Figure('weights-lines', 'Class weights by class', caption, figure, _begin_and_end(series).loc[shown])


def draw_weight_shares(comparison: Comparison) -> Figure | None:
    """Draw the mean weight of every class against its share of the labels; figure 4 of the paper."""
    series = weights_of(comparison)
    if not series or comparison.shares is None:
        return None
    table = pd.DataFrame({one.name: one.values.mean() for one in series})
    table.insert(0, '% of labels', comparison.shares.reindex(table.index))
    table = table[table['% of labels'] > 0].sort_values('% of labels', ascending=False).rename_axis('class')
    ratios = _ratios(series).reindex(table.index)
    looks = style.styles([one.name for one in series])
    count = 2 if len(ratios.columns) else 1
    figure, (left, *right) = style.new_panels(count, 2, 8.8 if count == 2 else 5.6, 4.2, legend=looks)
    shares = table['% of labels']
    for name, look in looks.items():
        left.plot(shares, table[name], color=look.color, marker=look.marker, linestyle=look.line, linewidth=0.8,
                  markersize=5)  # fmt: skip
    left.set_title('mean weight over the iterations')
    left.set_ylim(bottom=0)
    for axis in right:
        _draw_ratios(axis, shares, ratios)
    for axis in (left, *right):
        axis.set_xlabel('share of the labels, %')
        style.plain_log(axis.xaxis)
    if len(ratios.columns) == 1 and len(ratios) <= _MOST_NAMES / 2:
        _name_ratios(right[0], shares, ratios.iloc[:, 0].dropna())
    caption = style.captioned(
        'Classes from the most frequent, on the right, to the rarest.',
        len(ratios.columns) > 0
        and 'Right: the weight of a class by the recall loss over that by focal loss, both computed from the'
        ' predictions of one model that is trained with cross entropy; above 1 the recall loss'
        ' gives the class more weight.',
    )
    title = 'Class weights against the share of the class'
    return Figure('weights-share', title, caption, figure, table.join(ratios))


def _ratios(series: list[Weights]) -> pd.DataFrame:
    """Return hypothetical recall weight over hypothetical focal weight, where both were logged of a loss."""
    means = {one.name: one.values.mean() for one in series}
    pairs = {name: name.removesuffix(_RECALL) + _FOCAL for name in means if name.endswith(_RECALL)}
    return pd.DataFrame(
        {
            f'{name}, over focal': means[name] / means[other].where(means[other] > 0)
            for name, other in pairs.items()
            if other in means
        }
    )


def _draw_ratios(axis: Axes, shares: pd.Series, ratios: pd.DataFrame) -> None:
    for number, column in enumerate(ratios):
        color = style.COLORS[number % len(style.COLORS)]
        axis.plot(shares, ratios[column], color=color, marker='os^D'[number % 4], linestyle='', markersize=5)
    axis.axhline(1, **style.DASHED)
    axis.set_title('hypothetical recall weight / focal weight')


def _name_ratios(axis: Axes, shares: pd.Series, ratios: pd.Series) -> None:
    axis.margins(0.16, 0.14)
    names = [style.short(name, 18) for name in ratios.index]
    place_names(axis, np.column_stack([shares[ratios.index], ratios]), names, [style.GREY] * len(names))


def _binned(values: pd.DataFrame) -> pd.DataFrame:
    """Return means of neighbours, at the first iteration of each group, so that there are few rows."""
    size = -(-len(values) // _MOST_POINTS)
    binned = values.groupby(np.arange(len(values)) // size).mean()
    binned.index = values.index[::size]
    return binned


def _begin_and_end(series: list[Weights]) -> pd.DataFrame:
    columns = {}
    for one in series:
        tenth = max(1, len(one.values) // 10)
        columns[f'{one.name}: begin'] = one.values.iloc[:tenth].mean()
        columns[f'{one.name}: end'] = one.values.iloc[-tenth:].mean()
    names = dict.fromkeys(name for one in series for name in one.values)
    return pd.DataFrame(columns).reindex(list(names)).rename_axis('class')


def _long(series: list[Weights]) -> pd.DataFrame:
    parts = []
    for one in series:
        part = one.values.rename_axis('iteration').melt(ignore_index=False, var_name='class', value_name='weight')
        part.insert(0, 'loss', one.name)
        parts.append(part.dropna())
    return pd.concat(parts)


def _percent(share: float) -> str:
    return f'{share:.1f} %' if share >= 1 else f'{share:.2g} %'
