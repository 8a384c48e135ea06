"""Figures of results: the trade-off, the metrics, the classes."""

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes

from mmrecall.analysis.report.figures import style
from mmrecall.analysis.report.figures.figure import Figure
from mmrecall.analysis.report.figures.point_labels import place_names
from mmrecall.analysis.report.runs import SEGMENTATION
from mmrecall.analysis.report.tables import MAIN_METRICS, MINORITY_MEAN_IOU, Comparison

# Colour-blind readers can distinguish its ends.
_DIVERGING = 'PuOr'
# Of more classes, only so many of the most and of the least frequent are drawn.
_MOST_CLASSES, _EITHER_END = 60, 25
_MOST_NUMBERS = 400
# Metrics against each other, in the order of preference.
_PAIRS = (('mIoU', 'mAcc'), ('shot/many', 'shot/few'), ('shot/many', 'shot/medium'))
_RARE_PAIR = ('mIoU_rare', 'mAcc_rare')


def draw_trade_off(comparison: Comparison) -> Figure | None:
    """Draw two metrics against each other, with the quadrants of the reference; below, the same of rare classes."""
    measured = {name for name in comparison.metrics if comparison.results[name].notna().any()}
    pair = next((pair for pair in _PAIRS if measured.issuperset(pair)), None)
    if pair is None:
        return None
    pairs = [pair, _RARE_PAIR] if measured.issuperset(_RARE_PAIR) else [pair]
    columns = [column for pair in pairs for name in pair for column in (name, f'{name} std')]
    table = comparison.summary()[['seeds', *columns]].dropna(subset=list(pair))
    figure, axes = style.new_panels(len(pairs), 1, 6, 5.2)
    panels = [(axis, table.dropna(subset=[x, y]), x, y) for axis, (x, y) in zip(axes, pairs, strict=True)]
    looks = style.styles(comparison.labels, comparison.reference)
    for axis, shown, x, y in panels:
        _draw_points(axis, comparison, shown, x, y, looks)
        axis.set(xlabel=MAIN_METRICS.get(x, x), ylabel=MAIN_METRICS.get(y, y))
        axis.margins(0.16, 0.13)
        if comparison.reference in shown.index:
            _draw_quadrants(axis, *shown.loc[comparison.reference, [x, y]])
    for axis, shown, x, y in panels:
        place_names(
            axis,
            shown[[x, y]].to_numpy(),
            [style.two_lines(label) for label in shown.index],
            [looks[label].color for label in shown.index],
            _bars(shown.fillna(0), x, y),
            comparison.results[[x, y]].dropna().to_numpy(),
        )
    has_reference = comparison.reference in table.index
    segmentation = comparison.kind == SEGMENTATION
    caption = style.captioned(
        'A point is the mean over the seeds of a loss; bars are one standard deviation, small dots the seeds.',
        has_reference
        and f'The dashed lines are the reference, {comparison.reference}: above and to the right is better in both.',
        has_reference
        and segmentation
        and 'Above and to the left, recall is bought with false positives, which mean accuracy does not see and IoU'
        ' does.',
        len(pairs) > 1 and 'The lower panel has the means over the rare classes of RareClassIoU.',
    )
    title = 'Mean accuracy against mean IoU' if segmentation else 'Rare classes against frequent ones'
    return Figure('trade-off', title, caption, figure, table)


def _draw_points(
    axis: Axes, comparison: Comparison, table: pd.DataFrame, x: str, y: str, looks: dict[str, style.Style]
) -> None:
    for label, row in table.iterrows():
        look = looks[label]
        seeds = comparison.results[comparison.results['label'] == label]
        if len(seeds) > 1:
            axis.plot(seeds[x], seeds[y], '.', color=look.color, alpha=0.6, markersize=4)
        axis.errorbar(
            row[x], row[y], xerr=row[f'{x} std'], yerr=row[f'{y} std'], color=look.color, marker=look.marker,
            markersize=7, linestyle='', elinewidth=1, capsize=2, markeredgecolor='white', markeredgewidth=0.6,
        )  # fmt: skip


def _bars(table: pd.DataFrame, x: str, y: str) -> np.ndarray:
    """Return the lines of the deviations."""
    means, spreads = table[[x, y]].to_numpy(), table[[f'{x} std', f'{y} std']].to_numpy()
    return np.vstack([np.hstack([means - spreads * along, means + spreads * along]) for along in ((1, 0), (0, 1))])


def _draw_quadrants(axis: Axes, x: float, y: float) -> None:
    (left, right), (bottom, top) = axis.get_xlim(), axis.get_ylim()
    axis.axvline(x, **style.DASHED)
    axis.axhline(y, **style.DASHED)
    for low, high, begin, end, color in ((x, right, y, top, style.COLORS[0]), (left, x, bottom, y, style.COLORS[1])):
        axis.fill_between([low, high], begin, end, color=color, alpha=0.07, linewidth=0, zorder=0)
    axis.set(xlim=(left, right), ylim=(bottom, top))
    text = dict(transform=axis.transAxes, color=style.GREY, fontsize=8.5, style='italic')
    # The words take so much of the width.
    needed = 0.22 * (right - left)
    if right - x >= needed:
        axis.text(0.99, 0.99, 'better in both', ha='right', va='top', **text)
    if x - left >= needed:
        axis.text(0.01, 0.01, 'worse in both', ha='left', va='bottom', **text)


def draw_metrics(comparison: Comparison) -> Figure | None:
    """Draw every main metric of every loss, with the deviation over seeds."""
    shown = [name for name in MAIN_METRICS if name in comparison.metrics] or comparison.metrics[:4]
    if not shown:
        return None
    table = comparison.summary()
    table = table[['seeds', *(column for name in shown for column in (name, f'{name} std'))]]
    table = table.sort_values(shown[0], ascending=False, kind='stable')
    labels = list(table.index)
    columns = len(shown) if len(shown) <= 4 else 3
    figure, axes = style.new_panels(len(shown), columns, 8.6, 0.75 + 0.33 * len(table), sharey=True)
    looks = style.styles(comparison.labels, comparison.reference)
    has_reference = comparison.reference in table.index
    for axis, name in zip(axes, shown, strict=True):
        _draw_metric(axis, comparison.results, name, {label: looks[label] for label in labels})
        if has_reference:
            axis.axvline(table.loc[comparison.reference, name], **style.DASHED)
    caption = style.captioned(
        'Mean over the seeds, bars one standard deviation, small dots the seeds; in percent.',
        has_reference and f'The dashed line is {comparison.reference}.',
        MINORITY_MEAN_IOU in shown and f'Minority classes: {style.first_names(comparison.minority)}.',
    )
    return Figure('metrics', 'Mean ± deviation over seeds', caption, figure, table)


def _draw_metric(axis: Axes, results: pd.DataFrame, name: str, looks: dict[str, style.Style]) -> None:
    palette = {label: look.color for label, look in looks.items()}
    common = dict(data=results, x=name, y='label', hue='label', palette=palette, legend=False, ax=axis)
    common |= dict(order=list(looks), hue_order=list(looks))
    sns.stripplot(**common, jitter=False, size=3, alpha=0.6)
    sns.pointplot(
        **common, errorbar='sd', linestyle='none', markers=[look.marker for look in looks.values()], markersize=5,
        capsize=0.15, err_kws=dict(linewidth=1),
    )  # fmt: skip
    axis.set(title=MAIN_METRICS.get(name, name).removesuffix(', %').replace(' of ', '\nof '), xlabel='', ylabel='')
    axis.set_yticks(range(len(looks)), [style.two_lines(label) for label in looks], fontsize=7.5)
    axis.set_ylim(len(looks) - 0.4, -0.6)
    axis.grid(True)


def draw_accuracy_by_class(comparison: Comparison) -> Figure | None:
    """Draw the accuracy of every class by every loss, coloured by the difference to the reference."""
    return _draw_classes(comparison, 'Acc', 'Accuracy (recall)')


def draw_iou_by_class(comparison: Comparison) -> Figure | None:
    """Draw the IoU of every class by every loss, coloured by the difference to the reference."""
    return _draw_classes(comparison, 'IoU', 'IoU')


def _draw_classes(comparison: Comparison, column: str, name: str) -> Figure | None:
    if column not in comparison.classes:
        return None
    means = comparison.by_class(column)
    drawn = means.loc[style.ends(means.index, _MOST_CLASSES, _EITHER_END)]
    # A column per loss, and room for the names of the classes.
    figure, (axis,) = style.new_panels(1, 1, max(4.8, 2.2 + 0.56 * drawn.shape[1]), 1.9 + 0.26 * len(drawn))
    _draw_heat_map(axis, drawn, comparison)
    caption = style.captioned(
        'In percent, mean over the seeds.',
        comparison.shares is not None and 'The most frequent class is on top.',
        comparison.minority and f'* is a minority class: its IoU by {comparison.reference} is below 80.',
        len(drawn) < len(means) and f'Of {len(means)} classes, the first and the last {_EITHER_END}; the CSV has all.',
    )
    table = _class_table(comparison, means, comparison.by_class(column, 'std'))
    return Figure(f'classes-{column.lower()}', f'{name} by class', caption, figure, table)


def _draw_heat_map(axis: Axes, values: pd.DataFrame, comparison: Comparison) -> None:
    has_reference = comparison.reference in values
    differences = values.sub(values[comparison.reference], axis=0) if has_reference else 0 * values
    largest = np.nanmax(differences.abs().to_numpy(), initial=1)
    readable = values.size <= _MOST_NUMBERS or values.shape[1] <= 12
    stars = ['* ' if name in comparison.minority else '' for name in values.index]
    sns.heatmap(
        differences.fillna(0), vmin=-largest, vmax=largest, cmap=_DIVERGING, rasterized=True, ax=axis,
        annot=values.map(lambda value: '-' if np.isnan(value) else f'{value:.1f}') if readable else None, fmt='',
        annot_kws=dict(fontsize=7.5), xticklabels=[style.two_lines(label) for label in values],
        yticklabels=[star + style.short(name) for star, name in zip(stars, values.index, strict=True)],
        cbar=has_reference, cbar_kws=dict(location='bottom', shrink=0.6, aspect=30, pad=0.02),
    )  # fmt: skip
    # seaborn writes in white from a luminance of 0.41 down; black has the higher contrast down to 0.18.
    for text, color in zip(axis.texts, axis.collections[0].get_facecolors(), strict=False):
        text.set_color('white' if sns.utils.relative_luminance(color) < 0.18 else 'black')
    axis.set(xlabel='', ylabel='')
    axis.xaxis.tick_top()
    axis.tick_params('x', rotation=55, length=0, labelsize=7.5)
    axis.tick_params('y', rotation=0, length=0, labelsize=8.5)
    for label in axis.get_xticklabels():
        label.set(ha='left', rotation_mode='anchor')
    if has_reference:
        axis.collections[0].colorbar.set_label('points above (violet) or below (orange) the reference', fontsize=8)


def _class_table(comparison: Comparison, means: pd.DataFrame, deviations: pd.DataFrame) -> pd.DataFrame:
    columns: dict[str, object] = {'minority': ['yes' if name in comparison.minority else '' for name in means.index]}
    if comparison.shares is not None:
        columns['% of labels'] = comparison.shares.reindex(means.index)
    for label in means:
        columns[label] = means[label]
        if deviations[label].notna().any():
            columns[f'{label} std'] = deviations[label]
    return pd.DataFrame(columns, index=means.index)
