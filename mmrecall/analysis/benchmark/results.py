"""The measurements of losses, and their ratios to the reference, F.cross_entropy."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any, NamedTuple

import numpy as np

from mmrecall.analysis.benchmark.baselines import COPY, REFERENCE
from mmrecall.analysis.benchmark.inputs import Shape
from mmrecall.analysis.benchmark.measure import roofline_seconds


@dataclass
class Timing:
    """Time and memory of one loss."""

    loss: str
    group: str
    seconds: list[float] = field(default_factory=list)
    """Seconds of every round; of fewer rounds, or none, if there is an error."""
    peak_bytes: int | None = None
    error: str | None = None
    """Reason why there is no result."""
    graph_seconds: list[float] = field(default_factory=list)
    """Seconds of every replay of a CUDA graph, on a GPU."""
    graph_error: str | None = None
    """Reason why there is no CUDA graph of it."""


@dataclass
class Measurement:
    """Every loss on one shape."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    device: str
    memory: str
    """``'fresh'`` or ``'reused'`` memory of a CPU."""
    logits_bytes: int
    bandwidth: float | None
    """Bytes per second of a copy on a GPU; None on a CPU."""
    timings: list[Timing]
    left_out: list[str]
    """Losses that accept another kind of shape."""
    stride: int = 1
    """Ratio of the sides of the labels to those of the logits."""
    labels_bytes: int = 0

    @property
    def title(self) -> str:
        """The shape and the type of the logits."""
        stride = f', logits at stride {self.stride}' if self.low_resolution else ''
        return f'{" x ".join(map(str, self.shape))}{stride}, {self.dtype}'

    @property
    def low_resolution(self) -> bool:
        """Whether the logits are of a lower resolution than the labels."""
        return self.stride > 1

    @property
    def full_bytes(self) -> int:
        """Bytes of logits of the size of the labels, in the type of the logits."""
        if not self.low_resolution:
            return self.logits_bytes
        num_images, num_classes, *sides = self.shape
        stored = math.prod(-(-side // self.stride) for side in sides) * num_images * num_classes
        return self.logits_bytes // stored * math.prod(self.shape)

    @property
    def roofline(self) -> float | None:
        """Least seconds of a loss at the bandwidth of a copy; None on a CPU."""
        if self.bandwidth is None:
            return None
        return roofline_seconds(self.logits_bytes, self.bandwidth, self.labels_bytes if self.low_resolution else 0)


class Row(NamedTuple):
    """Figures of one loss or config in a table; None for a figure that does not exist."""

    name: str
    group: str | None = None
    milliseconds: float | None = None
    """Time of the fastest round."""
    ratio: float | None = None
    """Ratio of the time to that of the reference: of the CUDA graphs on a GPU, else of the fastest rounds."""
    round_ratios: tuple[float, float, float] | None = None
    """10th, 50th and 90th percentile of the ratios to the reference in the same round."""
    memory: float | None = None
    """Peak memory beyond the logits, in units of logits of the size of the labels."""
    roofline: float | None = None
    """Ratio of the time of a CUDA graph to the time that the bandwidth of the memory allows."""
    error: str | None = None
    peak_bytes: int | None = None
    gpu_milliseconds: float | None = None
    """Median time of the replays of a CUDA graph."""

    def times(self, digits: int = 2) -> list[str]:
        """Return the cells of the ratio and of the percentiles, with a number of decimals."""
        low, median, high = (f'{ratio:.{digits}f}' for ratio in self.round_ratios)
        return [f'{self.ratio:.{digits}f}', f'{median} ({low}-{high})']


def time_figures(seconds: Sequence[float], reference: Sequence[float]) -> dict[str, Any]:
    """Return the figures of a `Row` that follow from the seconds of every round.

    Example:
        >>> time_figures([3.0, 2.0, 8.0], [2.0, 4.0, 8.0])
        {'milliseconds': 2000.0, 'ratio': 1.0, 'round_ratios': (0.6, 1.0, 1.4)}
    """
    low, median, high = np.percentile(np.divide(seconds, reference), [10, 50, 90]).tolist()
    return dict(milliseconds=1000 * min(seconds), ratio=min(seconds) / min(reference), round_ratios=(low, median, high))


def table_rows(measurement: Measurement) -> list[Row]:
    """Return a row for every loss, in the order of the timings."""
    (reference,) = (timing for timing in measurement.timings if timing.loss == REFERENCE)
    return [_row(timing, reference, measurement) for timing in measurement.timings]


def _row(timing: Timing, reference: Timing, measurement: Measurement) -> Row:
    name = timing.loss
    if measurement.low_resolution and timing.group != 'mmrecall':
        name = f'F.interpolate + {name}'
    memory = None if timing.peak_bytes is None else timing.peak_bytes / measurement.full_bytes
    row = Row(name, timing.group, memory=memory, error=timing.error, peak_bytes=timing.peak_bytes)
    if timing.error is not None:
        return row
    row = row._replace(**time_figures(timing.seconds, reference.seconds))
    if measurement.roofline is None:
        return row
    if not timing.graph_seconds:
        return row._replace(ratio=None)
    seconds = median(timing.graph_seconds)
    return row._replace(
        gpu_milliseconds=1000 * seconds,
        ratio=seconds / median(reference.graph_seconds) if reference.graph_seconds else None,
        roofline=seconds / measurement.roofline,
    )


def markdown_table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    r"""Return a table in Markdown, with numbers in all columns but the first.

    Example:
        >>> print(markdown_table(['loss', 'ms'], [['a|b', '1']]), end='')
        | loss | ms |
        | --- | --: |
        | a\|b | 1 |
    """
    lines = [heads, ['---', *['--:'] * (len(heads) - 1)], *rows]
    escaped = ([cell.replace('|', r'\|') for cell in cells] for cells in lines)
    return ''.join(f'| {" | ".join(cells)} |\n' for cells in escaped)


def measurement_markdown(measurement: Measurement) -> str:
    """Return a heading and a table, with the losses that do not run and those that accept another kind of shape."""
    on_gpu = measurement.bandwidth is not None
    shape = Shape(measurement.shape, measurement.stride)
    name = '' if str(shape) == measurement.name else f'{measurement.name}: '
    memory = '' if on_gpu else f', {measurement.memory} memory'
    text = f'### {name}{measurement.title}, {measurement.logits_bytes / 1e6:.3g} MB of logits{memory}\n\n'
    if on_gpu:
        least = 1000 * measurement.roofline
        text += f'A copy moves {measurement.bandwidth / 1e9:,.0f} GB/s; roofline {least:.3g} ms.\n\n'
    cells = _gpu_cells if on_gpu else _cpu_cells
    heads = ['loss', *(_GPU_HEADS if on_gpu else _CPU_HEADS)]
    heads += ['peak memory, x full logits', 'MiB'] if measurement.low_resolution else ['peak memory, x logits']
    rows = table_rows(measurement)
    text += markdown_table(
        heads, ([row.name, *cells(row), *_memory_cells(row, measurement.low_resolution)] for row in rows)
    )
    if measurement.left_out:
        kind = '(N, C)' if len(measurement.shape) > 2 else '(N, C, H, W)'
        toolboxes = dict.fromkeys(name.partition('.')[0] for name in measurement.left_out if name != COPY)
        text += (
            f'\nThe losses of {", ".join(toolboxes)} accept {kind} and are not measured here.\n' if toolboxes else ''
        )
    return text + _capture_notes(measurement)


_CPU_HEADS = ('ms', f'x {REFERENCE}', 'by round, median (10-90 %)')
_GPU_HEADS = ('GPU ms', f'x {REFERENCE}', 'x roofline', 'eager ms')


def _cpu_cells(row: Row) -> list[str]:
    return [row.error, '', ''] if row.error is not None else [f'{row.milliseconds:.3g}', *row.times()]


def _gpu_cells(row: Row) -> list[str]:
    if row.error is not None:
        return [row.error, '', '', '']
    ratios = ['—' if ratio is None else f'{ratio:.2f}' for ratio in (row.ratio, row.roofline)]
    gpu = '—' if row.gpu_milliseconds is None else f'{row.gpu_milliseconds:.3g}'
    return [gpu, *ratios, f'{row.milliseconds:.3g}']


def _memory_cells(row: Row, low_resolution: bool) -> list[str]:
    cells = ['' if row.memory is None else f'{row.memory:.2f}']
    if low_resolution:
        cells.append('' if row.peak_bytes is None else f'{row.peak_bytes / 2**20:,.1f}')
    return cells


def _capture_notes(measurement: Measurement) -> str:
    """Return a line for every reason why losses have no CUDA graph."""
    reasons: dict[str, list[str]] = {}
    for timing in measurement.timings:
        if timing.graph_error is not None:
            reasons.setdefault(timing.graph_error, []).append(timing.loss)
    return ''.join(f'\nNo CUDA graph of {", ".join(losses)}: {reason}.\n' for reason, losses in reasons.items())


def as_json(measurement: Measurement) -> dict[str, Any]:
    """Return the seconds and bytes of every loss, and the rows of the table."""
    return {**asdict(measurement), 'rows': [row._asdict() for row in table_rows(measurement)]}
