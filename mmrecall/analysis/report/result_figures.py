"""Figures of results: the trade-off, the metrics, the classes."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import TwoSlopeNorm

from mmrecall.analysis.report.placement import place_names
from mmrecall.analysis.report.style import (
    BLACK,
    DIVERGING,
    GREY,
    Drawn,
    Style,
    in_style,
    new_axes,
    new_figure,
    short,
    styles,
    two_lines,
)
from mmrecall.analysis.report.tables import RARE_ACCURACY, RARE_IOU, Comparison, is_segmentation

MAIN_METRICS = {
    'mAcc': 'mean accuracy (recall), %',
    'mIoU': 'mean IoU, %',
    'aAcc': 'pixel accuracy, %',
    RARE_ACCURACY: 'mean accuracy of minority classes, %',
    RARE_IOU: 'mean IoU of minority classes, %',
    'shot/top1': 'top-1 accuracy, %',
    'shot/many': 'accuracy of many-shot classes, %',
    'shot/medium': 'accuracy of medium-shot classes, %',
    'shot/few': 'accuracy of few-shot classes, %',
    'accuracy/top1': 'top-1 accuracy, %',
}
# of more classes, only so many of the most and of the least frequent are drawn
_MOST_CLASSES, _EITHER_END = 60, 25
_MOST_NUMBERS = 400
_MOST_NAMED = 20


def summary_table(comparison: Comparison) -> pd.DataFrame:
    """As `Comparison.summary` with one level of columns: ``mIoU``, ``mIoU std``, …, and the number of seeds.

    A metric that not all of the seeds have is followed by a column with how many have it.
    """
    summary = comparison.summary()
    columns = {'seeds': comparison.results.groupby('label').size().reindex(summary.index)}
    for metric in comparison.metrics:
        columns[metric] = summary[metric, 'mean']
        columns[f'{metric} std'] = summary[metric, 'std']
        if (summary[metric, 'count'] < columns['seeds']).any():
            columns[f'seeds with {metric}'] = summary[metric, 'count'].astype(int)
    return pd.DataFrame(columns).rename_axis('loss')


def minority_names(comparison: Comparison) -> str:
    """The first of them, in a row."""
    names = comparison.minority
    return ', '.join(names[:_MOST_NAMED]) + (
        f' and {len(names) - _MOST_NAMED} more' if len(names) > _MOST_NAMED else ''
    )


@in_style
def draw_trade_off(comparison: Comparison) -> Drawn | None:
    """Two metrics against each other with the quadrants of the reference; None where they were not measured."""
    pair = _trade_off_metrics(comparison)
    if pair is None:
        return None
    x, y = pair
    table = summary_table(comparison)
    table = table[['seeds', x, f'{x} std', y, f'{y} std']].dropna(subset=[x, y])
    figure = new_figure(6, 5.2)
    ((axis,),) = new_axes(figure)
    looks = styles(comparison.labels, comparison.reference)
    _points(axis, comparison, table, x, y, looks)
    axis.set_xlabel(MAIN_METRICS.get(x, x))
    axis.set_ylabel(MAIN_METRICS.get(y, y))
    axis.margins(0.16, 0.13)
    if comparison.reference in table.index:
        _quadrants(axis, table.loc[comparison.reference, [x, y]].to_numpy())
    FigureCanvasAgg(figure).draw()
    # what is laid out stays, so that the names do too
    figure.set_layout_engine('none')
    place_names(
        axis,
        list(zip(table[x], table[y], strict=True)),
        [two_lines(label) for label in table.index],
        [looks[label].color for label in table.index],
        _bars(table.fillna(0), x, y),
        comparison.results[[x, y]].dropna().to_numpy(),
    )
    title = 'Mean accuracy against mean IoU' if is_segmentation(comparison) else 'Rare classes against frequent ones'
    return Drawn(*_trade_off_words(comparison, title), figure, table)


def _trade_off_metrics(comparison: Comparison) -> tuple[str, str] | None:
    pairs = [('mIoU', 'mAcc'), ('shot/many', 'shot/few'), ('shot/many', 'shot/medium')]
    measured = [name for name in comparison.metrics if comparison.results[name].notna().any()]
    return next((pair for pair in pairs if set(pair) <= set(measured)), None)


def _trade_off_words(comparison: Comparison, title: str) -> tuple[str, str, str]:
    caption = 'A point is the mean over the seeds of a loss; bars are one standard deviation, small dots the seeds.'
    if comparison.reference in set(comparison.results['label']):
        caption += (
            f' The dashed lines are the reference, {comparison.reference}: above and to the right is better in both.'
        )
        if is_segmentation(comparison):
            caption += (
                ' Above and to the left, recall is bought with false positives, which mean accuracy does not see and'
                ' IoU does.'
            )
    return 'trade-off', title, caption


def _points(axis: Axes, comparison: Comparison, table: pd.DataFrame, x: str, y: str, looks: dict[str, Style]) -> None:
    for label, row in table.iterrows():
        look = looks[label]
        seeds = comparison.results[comparison.results['label'] == label]
        if len(seeds) > 1:
            axis.plot(seeds[x], seeds[y], '.', color=look.color, alpha=0.6, markersize=4)
        axis.errorbar(
            row[x], row[y], xerr=row[f'{x} std'], yerr=row[f'{y} std'], color=look.color, marker=look.marker,
            markersize=7, linestyle='', elinewidth=1, capsize=2, markeredgecolor='white', markeredgewidth=0.6,
        )  # fmt: skip


def _bars(table: pd.DataFrame, x: str, y: str) -> list[tuple[float, float, float, float]]:
    """The lines of the deviations."""
    means, spreads = table[[x, y]].to_numpy(), table[[f'{x} std', f'{y} std']].to_numpy()
    bars = []
    for (at_x, at_y), (spread_x, spread_y) in zip(means, spreads, strict=True):
        bars += [(at_x - spread_x, at_y, at_x + spread_x, at_y), (at_x, at_y - spread_y, at_x, at_y + spread_y)]
    return bars


def _quadrants(axis: Axes, at: np.ndarray) -> None:
    (left, right), (bottom, top) = axis.get_xlim(), axis.get_ylim()
    axis.axvline(at[0], color=BLACK, linestyle='--', linewidth=0.8, zorder=1)
    axis.axhline(at[1], color=BLACK, linestyle='--', linewidth=0.8, zorder=1)
    axis.fill_between([at[0], right], at[1], top, color='#0072B2', alpha=0.07, linewidth=0, zorder=0)
    axis.fill_between([left, at[0]], bottom, at[1], color='#D55E00', alpha=0.07, linewidth=0, zorder=0)
    axis.set_xlim(left, right)
    axis.set_ylim(bottom, top)
    words = (0.99, 0.99, 'better in both', 'right', 'top'), (0.01, 0.01, 'worse in both', 'left', 'bottom')
    corners = (right - at[0]) / (right - left), (at[0] - left) / (right - left)
    for (x, y, text, horizontal, vertical), width in zip(words, corners, strict=True):
        if width < 0.22:  # the words are wider
            continue
        axis.text(
            x, y, text, transform=axis.transAxes, color=GREY, ha=horizontal, va=vertical, fontsize=8.5, style='italic'
        )


@in_style
def draw_metrics(comparison: Comparison) -> Drawn | None:
    """Every main metric of every loss, with the deviation over seeds."""
    shown = [name for name in MAIN_METRICS if name in comparison.metrics] or comparison.metrics[:4]
    if not shown:
        return None
    table = summary_table(comparison)
    table = table[['seeds', *(column for name in shown for column in (name, f'{name} std'))]]
    order = table[shown[0]].sort_values(ascending=False, kind='stable').index
    table = table.loc[order]
    columns = len(shown) if len(shown) <= 4 else 3
    rows = -(-len(shown) // columns)
    figure = new_figure(8.6, rows * (0.75 + 0.33 * len(table)))
    axes = [axis for row in new_axes(figure, rows, columns, sharey=True) for axis in row]
    looks = styles(comparison.labels, comparison.reference)
    for axis, name in zip(axes, shown, strict=False):
        for place, (label, row) in enumerate(table.iterrows()):
            look = looks[label]
            seeds = comparison.results.loc[comparison.results['label'] == label, name]
            if len(seeds) > 1:
                axis.plot(seeds, [place] * len(seeds), '.', color=look.color, alpha=0.6, markersize=4)
            axis.errorbar(
                row[name], place, xerr=row[f'{name} std'], color=look.color, marker=look.marker, markersize=6,
                linestyle='', capsize=2, elinewidth=1,
            )  # fmt: skip
        if comparison.reference in table.index:
            axis.axvline(table.loc[comparison.reference, name], color=BLACK, linestyle='--', linewidth=0.8, zorder=1)
        axis.set_title(MAIN_METRICS.get(name, name).removesuffix(', %').replace(' of ', '\nof '))
        axis.set_ylim(len(table) - 0.4, -0.6)
        axis.set_yticks(range(len(table)), [two_lines(label) for label in table.index], fontsize=7.5)
    for axis in axes[len(shown) :]:
        axis.set_visible(False)
    caption = 'Mean over the seeds, bars one standard deviation, small dots the seeds; in percent.'
    if comparison.reference in table.index:
        caption += f' The dashed line is {comparison.reference}.'
    if RARE_IOU in shown:
        caption += f' Minority classes: {minority_names(comparison)}.'
    return Drawn('metrics', 'Mean ± deviation over seeds', caption, figure, table)


@in_style
def draw_classes(comparison: Comparison, column: str) -> Drawn | None:
    """The accuracy or IoU of every class by every loss, coloured by the difference to the reference."""
    if column not in comparison.classes:
        return None
    means = comparison.class_means(column)
    drawn = _ends(means)
    differences = drawn.sub(drawn[comparison.reference], axis=0) if comparison.reference in drawn else drawn * np.nan
    # as many columns as losses, and room for the names of the classes
    figure = new_figure(max(4.8, 2.2 + 0.56 * drawn.shape[1]), 1.9 + 0.26 * len(drawn))
    ((axis,),) = new_axes(figure)
    axis.grid(False)
    largest = float(np.nanmax(np.abs(differences.to_numpy()), initial=1))
    picture = axis.imshow(differences, cmap=DIVERGING, norm=TwoSlopeNorm(0, -largest, largest), aspect='auto')
    _numbers(axis, drawn, differences.to_numpy() / largest)
    marks = ['* ' if name in comparison.minority else '' for name in drawn.index]
    names = [mark + short(name) for mark, name in zip(marks, drawn.index, strict=True)]
    axis.set_yticks(range(len(drawn)), names, fontsize=8.5)
    axis.set_xticks(range(drawn.shape[1]), [two_lines(label) for label in drawn], rotation=55, ha='left',
                    rotation_mode='anchor', fontsize=7.5)  # fmt: skip
    axis.xaxis.tick_top()
    axis.spines[:].set_visible(False)
    axis.tick_params(length=0)
    if comparison.reference in drawn:
        bar = figure.colorbar(picture, ax=axis, location='bottom', shrink=0.6, aspect=30, pad=0.02)
        bar.set_label('points above (violet) or below (orange) the reference', fontsize=8)
        bar.outline.set_visible(False)
    name = {'Acc': 'accuracy (recall)', 'IoU': 'IoU'}[column]
    table = means.copy()
    deviations = comparison.class_deviations(column)
    for label in means:
        if deviations[label].notna().any():
            table.insert(table.columns.get_loc(label) + 1, f'{label} std', deviations[label])
    table.insert(0, 'minority', ['yes' if one in comparison.minority else '' for one in table.index])
    if comparison.shares is not None:
        table.insert(1, '% of labels', comparison.shares.reindex(table.index))
    return Drawn(
        f'classes-{column.lower()}',
        f'{name[0].upper()}{name[1:]} by class',
        _class_words(comparison, drawn, means),
        figure,
        table,
    )


def _class_words(comparison: Comparison, drawn: pd.DataFrame, means: pd.DataFrame) -> str:
    caption = 'In percent, mean over the seeds.'
    if comparison.shares is not None:
        caption += ' The most frequent class is on top.'
    if comparison.minority:
        caption += f' * is a minority class: its IoU by {comparison.reference} is below 80.'
    if len(drawn) < len(means):
        caption += f' Of {len(means)} classes, the first and the last {_EITHER_END}; the CSV has all.'
    return caption


def _ends(frame: pd.DataFrame) -> pd.DataFrame:
    if len(frame) <= _MOST_CLASSES:
        return frame
    return pd.concat([frame.iloc[:_EITHER_END], frame.iloc[-_EITHER_END:]])


def _numbers(axis: Axes, values: pd.DataFrame, strength: np.ndarray) -> None:
    if values.size > _MOST_NUMBERS and values.shape[1] > 12:
        return
    for row in range(values.shape[0]):
        for column in range(values.shape[1]):
            value = values.iat[row, column]
            dark = abs(strength[row, column]) > 0.62
            text = '-' if np.isnan(value) else f'{value:.1f}'
            axis.text(column, row, text, ha='center', va='center', fontsize=7.5, color='white' if dark else BLACK)
