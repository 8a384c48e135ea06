"""Figures of time and memory: bars for the losses on one shape, lines for their scaling."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from mmrecall.analysis.benchmark.baselines import REFERENCE
from mmrecall.analysis.benchmark.results import Measurement, Row, table_rows
from mmrecall.analysis.benchmark.scaling import Scaling
from mmrecall.io import atomic_write

_GREY = '#8a8a8a'
_COLORS = {'mmrecall': '#0072B2', 'PyTorch': _GREY, 'mmseg': '#E69F00', 'mmpretrain': '#E69F00'}
_LINES = (_GREY, '#D55E00', '#0072B2', '#009E73', '#CC79A7', '#E69F00', '#56B4E9', '#000000')
_MARKERS = 'oX^v'


def draw_loss_costs(path: str | Path, measurement: Measurement) -> None:
    """Write a PNG with time, as a ratio to F.cross_entropy on a logarithmic scale, and peak memory of every loss.

    On a CPU, lines at the bars' ends go from the 10th to the 90th percentile of the ratios by round.
    """
    rows = table_rows(measurement)
    figure = Figure(figsize=(11, 1.6 + 0.24 * len(rows)), layout='constrained')
    time, memory = figure.subplots(1, 2, sharey=True, width_ratios=(3, 2))
    _draw_times(time, rows)
    for position, row in enumerate(rows):
        if row.memory is not None:
            memory.barh(position, row.memory, color=_COLORS[row.group])
    memory.set_xlabel(f'peak memory, x {"full logits" if measurement.low_resolution else "logits"}')
    time.set_ylim(len(rows) - 0.4, -0.6)
    time.set_yticks(range(len(rows)), [row.name for row in rows], fontsize=8)
    for axis in (time, memory):
        axis.grid(axis='x', linewidth=0.4)
        axis.set_axisbelow(True)
    figure.suptitle(f'Forward and backward, {measurement.title}, {measurement.device}')
    handles = [Patch(color=_COLORS[group], label=group) for group in dict.fromkeys(row.group for row in rows)]
    figure.legend(handles=handles, loc='outside lower center', ncols=len(handles), frameon=False)
    _save(figure, path)


def _draw_times(axis: Axes, rows: Sequence[Row]) -> None:
    axis.set_xscale('log')
    for position, row in enumerate(rows):
        if row.ratio is None:
            error = 'no CUDA graph' if row.error is None else row.error.split(':')[0]
            axis.text(0.01, position, error, transform=axis.get_yaxis_transform(), fontsize=8, color=_GREY, va='center')
            continue
        axis.barh(position, row.ratio, color=_COLORS[row.group])
        if row.gpu_milliseconds is None:
            low, _, high = row.round_ratios
            axis.plot([low, high], [position, position], color='black', linewidth=1)
    axis.axvline(1, color='black', linewidth=0.8, linestyle='--')
    axis.set_xlabel(f'time, as a ratio to {REFERENCE}')


def draw_scaling(path: str | Path, scalings: Sequence[Scaling]) -> None:
    """Write a PNG with time against pixels and against classes, on logarithmic scales, and the fitted slopes."""
    alongs = list(dict.fromkeys(scaling.along for scaling in scalings))
    figure = Figure(figsize=(5.5 * len(alongs), 4.8), layout='constrained')
    for axis, along in zip(figure.subplots(1, len(alongs), squeeze=False)[0], alongs, strict=True):
        handles = []
        for number, scaling in enumerate(one for one in scalings if one.along == along):
            style = dict(color=_LINES[number % len(_LINES)], marker=_MARKERS[number // len(_LINES) % len(_MARKERS)])
            axis.plot(scaling.sizes, [1000 * seconds for seconds in scaling.seconds], **style)
            slope = 'does not run' if scaling.slope is None else f'slope {scaling.slope:.2f}'
            handles.append(Line2D([], [], **style, label=f'{scaling.loss}, {slope}'))
        axis.set(xscale='log', yscale='log', xlabel=along, ylabel='ms, forward and backward')
        axis.grid(linewidth=0.4)
        axis.legend(handles=handles, fontsize=8)
    _save(figure, path)


def _save(figure: Figure, path: str | Path) -> None:
    with atomic_write(path) as partial:
        figure.savefig(partial, dpi=110, format='png')
