"""The measurements of losses, and their ratios to the reference, F.cross_entropy."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

import numpy as np

from mmrecall.analysis.benchmark.baselines import REFERENCE
from mmrecall.analysis.benchmark.measure import roofline_seconds


@dataclass
class Timing:
    """Time and memory of one loss."""

    loss: str
    group: str
    seconds: list[float] = field(default_factory=list)
    """Of every round; of fewer, or none, if there is an error."""
    peak_bytes: int | None = None
    error: str | None = None
    """Reason why there is no result."""


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
    """Losses that take another kind of shape."""

    @property
    def title(self) -> str:
        """The shape and the type of the logits."""
        return f'{" x ".join(map(str, self.shape))}, {self.dtype}'


class Row(NamedTuple):
    """Figures of one loss or config in a table; None for a figure that does not exist."""

    name: str
    group: str | None = None
    milliseconds: float | None = None
    """Of the fastest round."""
    ratio: float | None = None
    """Of the fastest round to the fastest round of the reference."""
    round_ratios: tuple[float, float, float] | None = None
    """10th, 50th and 90th percentile of the ratios to the reference in the same round."""
    memory: float | None = None
    """Peak beyond the logits, in units of the logits."""
    roofline: float | None = None
    """Ratio of the fastest round to the time that the bandwidth of the memory allows."""
    error: str | None = None

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
    memory = None if timing.peak_bytes is None else timing.peak_bytes / measurement.logits_bytes
    row = Row(timing.loss, timing.group, memory=memory, error=timing.error)
    if timing.error is not None:
        return row
    row = row._replace(**time_figures(timing.seconds, reference.seconds))
    if measurement.bandwidth is None:
        return row
    return row._replace(
        roofline=min(timing.seconds) / roofline_seconds(measurement.logits_bytes, measurement.bandwidth)
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
    """Return a heading and a table, with the losses that do not run and those that take another kind of shape."""
    on_gpu = measurement.bandwidth is not None
    heads = ['loss', 'ms', f'x {REFERENCE}', 'by round, median (10-90 %)', 'peak memory, x logits']
    heads += ['x roofline'] if on_gpu else []
    name = '' if 'x'.join(map(str, measurement.shape)) == measurement.name else f'{measurement.name}: '
    memory = '' if on_gpu else f', {measurement.memory} memory'
    text = f'### {name}{measurement.title}, {measurement.logits_bytes / 1e6:.3g} MB of logits{memory}\n\n'
    if on_gpu:
        least = 1000 * roofline_seconds(measurement.logits_bytes, measurement.bandwidth)
        text += f'A copy moves {measurement.bandwidth / 1e9:,.0f} GB/s; roofline {least:.3g} ms.\n\n'
    text += markdown_table(heads, (_cells(row)[: len(heads)] for row in table_rows(measurement)))
    if measurement.left_out:
        kind = '(N, C)' if len(measurement.shape) > 2 else '(N, C, H, W)'
        toolboxes = dict.fromkeys(name.partition('.')[0] for name in measurement.left_out)
        text += f'\nThe losses of {", ".join(toolboxes)} take {kind} and are not measured here.\n'
    return text


def _cells(row: Row) -> list[str]:
    times = [row.error, '', ''] if row.error is not None else [f'{row.milliseconds:.3g}', *row.times()]
    return [row.name, *times, *('' if ratio is None else f'{ratio:.2f}' for ratio in (row.memory, row.roofline))]


def as_json(measurement: Measurement) -> dict[str, Any]:
    """Return the seconds and bytes of every loss, and the rows of the table."""
    return {**asdict(measurement), 'rows': [row._asdict() for row in table_rows(measurement)]}
