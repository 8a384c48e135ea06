"""Names beside points, none over another.

adjustText pushes names apart step by step, and stops with names over points and bars where these are dense; here every
name tries fixed places and takes the nearest free one.
"""

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.transforms import Bbox

_DISTANCES = (7, 12, 20, 30, 42, 56, 72, 90)
_DIRECTIONS = np.radians((0, 180, 90, 270, 45, 315, 135, 225, 20, 340, 160, 200, 65, 115, 245, 295))
# Direction and distance from the point to the name, in the order of preference.
_PLACES = np.array([(math.cos(a), math.sin(a), distance) for distance in _DISTANCES for a in _DIRECTIONS])
_ALONG = np.linspace(0, 1, 26)[:, None]
_NEAR = 11


def place_names(
    axis: Axes,
    points: Sequence[tuple[float, float]],
    names: Sequence[str],
    colors: Sequence[str],
    bars: Sequence[tuple[float, float, float, float]] = (),
    dots: Sequence[tuple[float, float]] = (),
) -> None:
    """Write a name beside every point, where it covers no point, bar, dot, other text or line across the whole axis.

    A name has the colour of its point, darker; a thin line leads to a distant one, across no other name. The limits
    of the axis have to be final: the figure is laid out, and stays so.

    Args:
        axis: axes with the points.
        points: places of the points, in data coordinates.
        names: names of the points, of one or several lines.
        colors: colours of the points.
        bars: level and upright lines, each from x, y to a larger x or y, in data coordinates.
        dots: small points without a name, in data coordinates.
    """
    figure = axis.figure
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    figure.set_layout_engine('none')
    renderer, scale = canvas.get_renderer(), figure.dpi / 72
    frame = axis.get_window_extent(renderer)
    transform = axis.transData.transform
    places = transform(np.reshape(points, (-1, 2)))
    lines = [line.get_window_extent(renderer) for line in axis.lines]
    across = [box for box in lines if box.width >= 0.99 * frame.width or box.height >= 0.99 * frame.height]
    taken = [
        *_around(places, 4.5 * scale),
        *_around(transform(np.reshape(dots, (-1, 2))), 2.5 * scale),
        *(transform(np.reshape(bars, (-1, 2))).reshape(-1, 4) + np.array([-1, -1, 1, 1]) * scale),
        *(text.get_window_extent(renderer).extents for text in axis.texts),
        *(box.padded(2 * scale).extents for box in across),
    ]
    written: list[np.ndarray] = []
    near = np.sort(np.linalg.norm(places[:, None] - places, axis=-1))[:, 1:4].sum(1)
    # The most crowded points come first, because they have the fewest free places.
    for number in np.argsort(near, kind='stable'):
        text = axis.annotate(
            names[number], points[number], (0, 0), textcoords='offset points', fontsize=8, va='center', ha='center',
            linespacing=1.05, annotation_clip=False, color=[0.62 * part for part in to_rgb(colors[number])],
        )  # fmt: skip
        size = text.get_window_extent(renderer).size
        box = _best_box(places[number], size, taken, written, frame, scale)
        text.set_position(((box[:2] + box[2:]) / 2 - places[number]) / scale)
        lead = _leads(places[number], box[None], scale)[0]
        written.append(box)
        taken += [box, *_around(lead[1:-1], scale)]
        axis.plot(*axis.transData.inverted().transform(lead[[0, -1]]).T, color=colors[number], linewidth=0.7,
                  zorder=1.5, scalex=False, scaley=False)  # fmt: skip


def _best_box(
    place: np.ndarray, size: np.ndarray, taken: list[np.ndarray], written: list[np.ndarray], frame: Bbox, scale: float
) -> np.ndarray:
    """Return the nearest free place of a text; where none is free, the one that covers the least.

    ``taken`` is what the text must not cover, ``written`` what the line that leads to it must not.
    """
    centers = place + _PLACES[:, :2] * (_PLACES[:, 2:] * scale + size / 2)
    boxes = np.hstack([centers - size / 2, centers + size / 2])
    outside = size.prod() - _overlaps(boxes, [frame.extents])
    # The two areas are rounded.
    covered = _overlaps(boxes, taken) + 20 * np.where(outside > 1e-6, outside, 0)
    # The ends of a line touch its point and its name.
    leads = _leads(place, boxes, scale)[:, 1:-1]
    covered += _overlaps(_around(leads.reshape(-1, 2), scale), written).reshape(len(boxes), -1).sum(1)
    return boxes[np.argmin(covered)]


def _leads(place: np.ndarray, boxes: np.ndarray, scale: float) -> np.ndarray:
    """Return points on the lines from a place to boxes; of a near box, all at the place."""
    nearest = np.clip(place, boxes[:, :2], boxes[:, 2:])
    distant = np.linalg.norm(nearest - place, axis=1) >= _NEAR * scale
    return place + distant[:, None, None] * (nearest - place)[:, None] * _ALONG


def _around(places: np.ndarray, radius: float) -> np.ndarray:
    return np.hstack([places - radius, places + radius])


def _overlaps(boxes: np.ndarray, others: Sequence[np.ndarray]) -> np.ndarray:
    """Return the area of every box that others cover."""
    others = np.reshape(others, (-1, 4))
    low, high = np.maximum(boxes[:, None, :2], others[:, :2]), np.minimum(boxes[:, None, 2:], others[:, 2:])
    return np.clip(high - low, 0, None).prod(-1).sum(1)
