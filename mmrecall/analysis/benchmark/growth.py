"""How the time of a loss grows with pixels and with classes."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from mmrecall.analysis.benchmark.competitors import NAIVE, REFERENCE
from mmrecall.analysis.benchmark.results import Measurement, Timing

SIDES = (64, 128, 256, 512, 1024)
CLASSES = (4, 8, 16, 32, 64, 128, 256, 512)
LOSSES = (REFERENCE, NAIVE, 'mmrecall.RecallLoss', 'mmrecall.WeightedCrossEntropyLoss*')
# what stays when the other grows
_CLASSES_OF_PIXELS = 19
_SIDE_OF_CLASSES = 256

Shape = tuple[int, ...]


class Growth(NamedTuple):
    """Time of a loss along one size."""

    loss: str
    group: str
    along: str
    """``'pixels'`` or ``'classes'``."""
    sizes: list[int]
    seconds: list[float]
    """Of the fastest round; less where the loss does not run."""
    slope: float | None
    """Of log time over log size: 1 is proportional. None with fewer than two sizes."""
    error: str | None


def growth_shapes(sides: Sequence[int] = SIDES, classes: Sequence[int] = CLASSES) -> dict[str, list[Shape]]:
    """What is measured along either size: one image, of 19 classes or of 256 x 256 pixels.

    Raises:
        ValueError: fewer than two sizes, or too small ones.
    """
    for name, sizes, least in (('--sides', sides, 1), ('--classes', classes, 2)):
        if len(set(sizes)) < 2 or min(sizes) < least:
            raise ValueError(f'{name} is {list(sizes)}; give at least two different numbers of at least {least}')
    return {
        'pixels': [(1, _CLASSES_OF_PIXELS, side, side) for side in sorted(set(sides))],
        'classes': [(1, number, _SIDE_OF_CLASSES, _SIDE_OF_CLASSES) for number in sorted(set(classes))],
    }


def fit_slope(sizes: Sequence[float], seconds: Sequence[float]) -> float:
    """Exponent of the power law that fits best.

    Example:
        >>> round(fit_slope([10, 100, 1000], [0.2, 2.0, 20.0]), 6)
        1.0
    """
    return float(np.polyfit(np.log(sizes), np.log(seconds), 1)[0])


def find_growth(measurements: Sequence[Measurement], along: str) -> list[Growth]:
    """The growth of every loss over measurements that differ in one size."""
    names = dict.fromkeys((timing.loss, timing.group) for one in measurements for timing in one.timings)
    return [_growth_of(name, group, measurements, along) for name, group in names]


def _growth_of(name: str, group: str, measurements: Sequence[Measurement], along: str) -> Growth:
    found: list[tuple[int, Timing]] = [
        (_size(one, along), timing) for one in measurements for timing in one.timings if timing.loss == name
    ]
    good = [(size, min(timing.seconds)) for size, timing in found if timing.error is None]
    sizes, seconds = [size for size, _ in good], [fastest for _, fastest in good]
    slope = fit_slope(sizes, seconds) if len(good) > 1 else None
    error = next((f'{timing.error} ({size:,} {along})' for size, timing in found if timing.error is not None), None)
    return Growth(name, group, along, sizes, seconds, slope, error)


def _size(measurement: Measurement, along: str) -> int:
    shape = measurement.shape
    return shape[1] if along == 'classes' else shape[0] * int(np.prod(shape[2:]))


def growth_markdown(growths: Sequence[Growth]) -> str:
    """A row for every loss: the slope along either size."""
    alongs = list(dict.fromkeys(growth.along for growth in growths))
    lines = [f'| loss | {" | ".join(f"slope over {along}" for along in alongs)} |', '|---|' + '--:|' * len(alongs)]
    for name in dict.fromkeys(growth.loss for growth in growths):
        cells = [
            _cell(growth) for along in alongs for growth in growths if (growth.loss, growth.along) == (name, along)
        ]
        lines.append(f'| {" | ".join([name, *cells])} |')
    return '\n'.join(lines) + '\n'


def _cell(growth: Growth) -> str:
    parts = [] if growth.slope is None else [f'{growth.slope:.2f}']
    parts += [] if growth.error is None else [growth.error.replace('|', r'\|')]
    return '; '.join(parts)


def growth_as_json(growths: Sequence[Growth]) -> list[dict[str, Any]]:
    """As dicts."""
    return [growth._asdict() for growth in growths]
