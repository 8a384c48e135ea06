"""What the losses cost, as pictures: bars for one shape, lines for growth."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from mmrecall.analysis.benchmark.competitors import REFERENCE
from mmrecall.analysis.benchmark.growth import Growth
from mmrecall.analysis.benchmark.results import Measurement, Row, table_rows
from mmrecall.io import atomic_write

_COLORS = {'mmrecall': '#0072B2', 'PyTorch': '#8a8a8a', 'mmseg': '#E69F00', 'mmpretrain': '#E69F00'}
_LINES = ('#8a8a8a', '#D55E00', '#0072B2', '#009E73', '#CC79A7', '#E69F00', '#56B4E9', '#000000')
_MARKERS = 'oX^v'


def draw_loss_costs(path: str | Path, measurement: Measurement) -> None:
    """Write a PNG: time as a ratio to F.cross_entropy, on a logarithmic scale, and peak memory of every loss.

    The lines at the bars' ends go from the 10th to the 90th percentile of the ratios by round.

    Args:
        path: of the PNG.
        measurement: of one shape.
    """
    rows = table_rows(measurement)
    figure = Figure(figsize=(11, 1.6 + 0.24 * len(rows)), layout='constrained')
    time, memory = figure.subplots(1, 2, sharey=True, width_ratios=(3, 2))
    _draw_times(time, rows)
    _draw_memory(memory, rows)
    time.set_ylim(len(rows) - 0.4, -0.6)
    time.set_yticks(range(len(rows)), [row.loss for row in rows], fontsize=8)
    shape = ' x '.join(map(str, measurement.shape))
    figure.suptitle(f'Forward and backward, {shape}, {measurement.dtype}, {measurement.device}')
    groups = dict.fromkeys(row.group for row in rows)
    handles = [Patch(color=_COLORS[group], label=group) for group in groups]
    figure.legend(handles=handles, loc='outside lower center', ncols=len(handles), frameon=False)
    _save(figure, path)


def _draw_times(axis: Axes, rows: Sequence[Row]) -> None:
    axis.set_xscale('log')
    for position, row in enumerate(rows):
        if row.ratio is None:
            axis.text(0.01, position, row.error.split(':')[0], transform=axis.get_yaxis_transform(), fontsize=8,
                      color='#8a8a8a', va='center')  # fmt: skip
            continue
        axis.barh(position, row.ratio, color=_COLORS[row.group])
        low, _, high = row.round_ratios
        axis.plot([low, high], [position, position], color='black', linewidth=1)
    axis.axvline(1, color='black', linewidth=0.8, linestyle='--')
    axis.set_xlabel(f'time, as a ratio to {REFERENCE}')
    _grid(axis)


def _draw_memory(axis: Axes, rows: Sequence[Row]) -> None:
    for position, row in enumerate(rows):
        if row.memory is not None:
            axis.barh(position, row.memory, color=_COLORS[row.group])
    axis.set_xlabel('peak memory, x logits')
    _grid(axis)


def _grid(axis: Axes) -> None:
    axis.grid(axis='x', linewidth=0.4)
    axis.set_axisbelow(True)


def draw_growth(path: str | Path, growths: Sequence[Growth]) -> None:
    """Write a PNG: time against pixels and against classes, both logarithmic, with the fitted slopes.

    Args:
        path: of the PNG.
        growths: every loss along every size.
    """
    alongs = list(dict.fromkeys(growth.along for growth in growths))
    figure = Figure(figsize=(5.5 * len(alongs), 4.8), layout='constrained')
    for axis, along in zip(figure.subplots(1, len(alongs), squeeze=False)[0], alongs, strict=True):
        handles = []
        for number, growth in enumerate(one for one in growths if one.along == along):
            style = dict(color=_LINES[number % len(_LINES)], marker=_MARKERS[number // len(_LINES) % len(_MARKERS)])
            axis.plot(growth.sizes, [1000 * seconds for seconds in growth.seconds], **style)
            slope = 'does not run' if growth.slope is None else f'slope {growth.slope:.2f}'
            handles.append(Line2D([], [], **style, label=f'{growth.loss}, {slope}'))
        axis.set_xscale('log')
        axis.set_yscale('log')
        axis.set_xlabel(along)
        axis.set_ylabel('ms, forward and backward')
        axis.grid(linewidth=0.4)
        axis.legend(handles=handles, fontsize=8)
    _save(figure, path)


def _save(figure: Figure, path: str | Path) -> None:
    with atomic_write(path) as partial:
        figure.savefig(partial, dpi=110, format='png')
