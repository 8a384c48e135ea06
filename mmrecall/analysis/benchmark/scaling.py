"""The time of a loss against the number of pixels and the number of classes."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from mmrecall.analysis.benchmark.baselines import NAIVE, REFERENCE, Candidate
from mmrecall.analysis.benchmark.inputs import Shape
from mmrecall.analysis.benchmark.results import Measurement, markdown_table
from mmrecall.analysis.benchmark.timing import OnStep, Settings, measure_losses

SIDES = (64, 128, 256, 512, 1024)
CLASSES = (4, 8, 16, 32, 64, 128, 256, 512)
LOSSES = (REFERENCE, NAIVE, 'mmrecall.RecallLoss', 'mmrecall.WeightedCrossEntropyLoss*')
# Number of classes while the pixels vary, and side of the image while the classes vary.
_CLASSES_OF_PIXELS = 19
_SIDE_OF_CLASSES = 256

Sizes = tuple[int, ...]


@dataclass
class Scaling:
    """Time of a loss along one size."""

    loss: str
    along: str
    """``'pixels'`` or ``'classes'``."""
    sizes: list[int]
    """Sizes on which the loss runs."""
    seconds: list[float]
    """Seconds of the fastest round on every size."""
    slope: float | None
    """Slope of log time over log size, where 1 means proportional; None with fewer than two sizes."""
    error: str | None


def scaling_shapes(sides: Sequence[int] = SIDES, classes: Sequence[int] = CLASSES) -> dict[str, list[Sizes]]:
    """Return the shapes along either size: one image, of 19 classes or of 256 x 256 pixels.

    Raises:
        ValueError: fewer than two sizes, or too small ones.
    """
    for name, sizes, least in (('--sides', sides, 1), ('--classes', classes, 2)):
        if len(set(sizes)) < 2 or min(sizes) < least:
            raise ValueError(f'got {name} {list(sizes)}; expected at least two different numbers of at least {least}')
    return {
        'pixels': [(1, _CLASSES_OF_PIXELS, side, side) for side in sorted(set(sides))],
        'classes': [(1, number, _SIDE_OF_CLASSES, _SIDE_OF_CLASSES) for number in sorted(set(classes))],
    }


def measure_scaling(
    candidates: Sequence[Candidate], shapes: dict[str, list[Sizes]], settings: Settings, on_step: OnStep
) -> tuple[list[Measurement], list[Scaling]]:
    """Measure losses on the shapes of `scaling_shapes`, and return the measurements and the scaling of every loss."""
    measurements, scalings = [], []
    for along, varied in shapes.items():
        series = [measure_losses(candidates, str(Shape(shape)), Shape(shape), settings, on_step) for shape in varied]
        measurements += series
        scalings += find_scaling(series, along)
    return measurements, scalings


def find_scaling(measurements: Sequence[Measurement], along: str) -> Iterator[Scaling]:
    """Yield the scaling of every loss over measurements that differ in one size."""
    for name in dict.fromkeys(timing.loss for one in measurements for timing in one.timings):
        found = [(_size(one, along), timing) for one in measurements for timing in one.timings if timing.loss == name]
        good = {size: min(timing.seconds) for size, timing in found if timing.error is None}
        sizes, seconds = list(good), list(good.values())
        slope = fit_slope(sizes, seconds) if len(good) > 1 else None
        errors = [f'{timing.error} ({size:,} {along})' for size, timing in found if timing.error is not None]
        yield Scaling(name, along, sizes, seconds, slope, errors[0] if errors else None)


def _size(measurement: Measurement, along: str) -> int:
    images, classes, *sides = measurement.shape
    return classes if along == 'classes' else images * math.prod(sides)


def fit_slope(sizes: Sequence[float], seconds: Sequence[float]) -> float:
    """Return the exponent of the power law that fits best.

    Example:
        >>> round(fit_slope([10, 100, 1000], [0.2, 2.0, 20.0]), 6)
        1.0
    """
    return float(np.polyfit(np.log(sizes), np.log(seconds), 1)[0])


def scaling_markdown(scalings: Sequence[Scaling]) -> str:
    """Return a table with a row for every loss: the slope along either size."""
    cells = {(one.loss, one.along): _cell(one) for one in scalings}
    names, alongs = (list(dict.fromkeys(parts)) for parts in zip(*cells, strict=True))
    rows = ([name, *(cells[name, along] for along in alongs)] for name in names)
    return markdown_table(['loss', *(f'slope over {along}' for along in alongs)], rows)


def _cell(scaling: Scaling) -> str:
    slope = None if scaling.slope is None else f'{scaling.slope:.2f}'
    return '; '.join(part for part in (slope, scaling.error) if part is not None)
