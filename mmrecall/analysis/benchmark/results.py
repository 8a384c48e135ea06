"""What was measured, and the ratios that are made of it."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from mmrecall.analysis.benchmark.competitors import REFERENCE
from mmrecall.analysis.benchmark.measure import roofline_seconds


class Timing(NamedTuple):
    """What one loss took."""

    loss: str
    group: str
    seconds: list[float]
    """Of every round; of fewer, or none, where there is an error."""
    peak_bytes: int | None
    error: str | None = None
    """Why there is no result."""


class Measurement(NamedTuple):
    """Every loss on one shape."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    device: str
    memory: str
    """``'fresh'`` or ``'reused'``, of a CPU."""
    logits_bytes: int
    bandwidth: float | None
    """Bytes per second of a copy; of a GPU alone."""
    timings: list[Timing]
    left_out: list[str]
    """Losses that are made for the other kind of shape."""


class Row(NamedTuple):
    """What a table shows of one loss; None where there is nothing to show."""

    loss: str
    group: str
    milliseconds: float | None
    """Of the fastest round."""
    ratio: float | None
    """Of minima: fastest round over the fastest round of F.cross_entropy."""
    round_ratios: tuple[float, float, float] | None
    """10th, 50th and 90th percentile of the ratios to F.cross_entropy in the same round."""
    memory: float | None
    """Peak beyond the logits, in units of the logits."""
    roofline: float | None
    """Fastest round over the time that the memory's bandwidth allows."""
    error: str | None


def table_rows(measurement: Measurement) -> list[Row]:
    """A row for every loss, in the order of the timings."""
    (reference,) = (timing for timing in measurement.timings if timing.loss == REFERENCE)
    return [_row(timing, reference, measurement) for timing in measurement.timings]


def _row(timing: Timing, reference: Timing, measurement: Measurement) -> Row:
    memory = None if timing.peak_bytes is None else timing.peak_bytes / measurement.logits_bytes
    if timing.error is not None:
        return Row(timing.loss, timing.group, None, None, None, memory, None, timing.error)
    fastest = min(timing.seconds)
    roofline = None
    if measurement.bandwidth is not None:
        roofline = fastest / roofline_seconds(measurement.logits_bytes, measurement.bandwidth)
    return Row(
        timing.loss,
        timing.group,
        milliseconds=1000 * fastest,
        ratio=fastest / min(reference.seconds),
        round_ratios=ratios_by_round(timing.seconds, reference.seconds),
        memory=memory,
        roofline=roofline,
        error=None,
    )


def ratios_by_round(seconds: Sequence[float], reference: Sequence[float]) -> tuple[float, float, float]:
    """10th, 50th and 90th percentile of the ratios to the reference in the same round.

    Example:
        >>> ratios_by_round([3.0, 2.0, 8.0], [2.0, 4.0, 8.0])[1]
        1.0
    """
    low, median, high = np.percentile(np.divide(seconds, reference), [10, 50, 90]).tolist()
    return low, median, high


def markdown_table(measurement: Measurement) -> str:
    """A heading and a table, with what does not run and what is not measured on this shape."""
    on_gpu = measurement.bandwidth is not None
    heads = ['loss', 'ms', 'x F.cross_entropy', 'by round, median (10-90 %)', 'peak memory, x logits']
    heads += ['x roofline'] if on_gpu else []
    lines = [f'### {_title(measurement)}', '']
    if on_gpu:
        least = 1000 * roofline_seconds(measurement.logits_bytes, measurement.bandwidth)
        lines += [f'A copy moves {measurement.bandwidth / 1e9:,.0f} GB/s; roofline {least:.3g} ms.', '']
    lines += [_line(heads), _line(['---', *['--:'] * (len(heads) - 1)])]
    for row in table_rows(measurement):
        cells = _cells(row) + ([_shown(row.roofline)] if on_gpu else [])
        lines.append(_line([row.loss, *cells]))
    if measurement.left_out:
        kind = '(N, C)' if len(measurement.shape) > 2 else '(N, C, H, W)'
        toolboxes = dict.fromkeys(name.partition('.')[0] for name in measurement.left_out)
        lines += ['', f'The losses of {", ".join(toolboxes)} are made for {kind} and not measured here.']
    return '\n'.join(lines) + '\n'


def _title(measurement: Measurement) -> str:
    shape = ' x '.join(map(str, measurement.shape))
    name = '' if 'x'.join(map(str, measurement.shape)) == measurement.name else f'{measurement.name}: '
    memory = f', {measurement.memory} memory' if measurement.device == 'cpu' else ''
    return f'{name}{shape}, {measurement.dtype}, {measurement.logits_bytes / 1e6:.3g} MB of logits{memory}'


def _cells(row: Row) -> list[str]:
    memory = _shown(row.memory)
    if row.error is not None:
        return [row.error.replace('|', r'\|'), '', '', memory]
    low, median, high = row.round_ratios
    return [f'{row.milliseconds:.3g}', _shown(row.ratio), f'{median:.2f} ({low:.2f}-{high:.2f})', memory]


def _shown(ratio: float | None) -> str:
    return '' if ratio is None else f'{ratio:.2f}'


def _line(cells: list[str]) -> str:
    return f'| {" | ".join(cells)} |'


def as_json(measurement: Measurement) -> dict[str, Any]:
    """The raw seconds and bytes, and the rows of the table."""
    return {
        **measurement._asdict(),
        'timings': [timing._asdict() for timing in measurement.timings],
        'rows': [row._asdict() for row in table_rows(measurement)],
    }
