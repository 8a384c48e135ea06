"""Names beside points, none over another."""

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backend_bases import RendererBase
from matplotlib.colors import to_rgb
from matplotlib.lines import Line2D
from matplotlib.transforms import Bbox

_DISTANCES = (7, 12, 20, 30, 42, 56, 72, 90)
_DIRECTIONS = (0, 180, 90, 270, 45, 315, 135, 225, 20, 340, 160, 200, 65, 115, 245, 295)


def place_names(
    axis: Axes,
    points: Sequence[tuple[float, float]],
    names: Sequence[str],
    colors: Sequence[str],
    bars: Sequence[tuple[float, float, float, float]] = (),
    dots: Sequence[tuple[float, float]] = (),
    size: float = 8,
) -> None:
    """Write a name beside every point, where it covers no point, bar, dot, other text or line across the whole axis.

    A name has the colour of its point, darker; a thin line leads to a distant one, across no other name.

    The limits of the axis have to be final, and its figure drawn once, so that places are known.

    Args:
        axis: where the points are drawn.
        points: in data coordinates.
        names: of the points; may have several lines.
        colors: of the points.
        bars: level and upright lines, each from x, y to a larger x or y, in data coordinates.
        dots: small points without a name, in data coordinates.
        size: of the letters.
    """
    canvas = axis.figure.canvas
    renderer = canvas.get_renderer()
    scale = axis.figure.dpi / 72
    frame = axis.get_window_extent(renderer)
    places = [tuple(axis.transData.transform(point)) for point in points]
    taken = [_around(place, 4.5 * scale) for place in places]
    taken += [text.get_window_extent(renderer) for text in axis.texts]
    taken += [
        line.get_window_extent(renderer).padded(2 * scale) for line in axis.lines if _across(line, frame, renderer)
    ]
    ends = axis.transData.transform(np.reshape(bars, (-1, 2))).reshape(-1, 4)
    taken += [Bbox([bar[:2], bar[2:]]).padded(scale) for bar in ends]
    taken += [_around(axis.transData.transform(dot), 2.5 * scale) for dot in dots]
    written: list[Bbox] = []
    # the most crowded first, because they have the fewest places
    order = sorted(range(len(points)), key=lambda number: _loneliness(places, number))
    for number in order:
        text = axis.annotate(
            names[number], points[number], (0, 0), textcoords='offset points', fontsize=size, va='center', ha='center',
            linespacing=1.05, annotation_clip=False, color=_darker(colors[number]),
        )  # fmt: skip
        box = text.get_window_extent(renderer)
        offset = _best_offset(places[number], box.width, box.height, taken, written, frame, scale)
        text.set_position((offset[0] / scale, offset[1] / scale))
        center = (places[number][0] + offset[0], places[number][1] + offset[1])
        own = _centred(center, box.width, box.height)
        written.append(own)
        lead = _lead(places[number], own, scale)
        taken += [own, *_along(lead, scale)]
        axis.plot(*axis.transData.inverted().transform(lead).T, color=colors[number], linewidth=0.7, zorder=1.5,
                  scalex=False, scaley=False)  # fmt: skip


def _best_offset(
    place: tuple[float, float],
    width: float,
    height: float,
    taken: Sequence[Bbox],
    written: Sequence[Bbox],
    frame: Bbox,
    scale: float,
) -> tuple[float, float]:
    """The nearest free offset of the text's centre; where none is free, the one that covers the least.

    ``taken`` is what the text must not cover, ``written`` what the line that leads to it must not.
    """
    best, least = (0.0, 0.0), math.inf
    for distance in _DISTANCES:
        for degrees in _DIRECTIONS:
            x, y = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
            offset = (x * (distance * scale + width / 2), y * (distance * scale + height / 2))
            box = _centred((place[0] + offset[0], place[1] + offset[1]), width, height)
            covered = sum(_overlap(box, other) for other in taken) + 20 * _outside(box, frame)
            covered += sum(
                _overlap(part, other) for part in _along(_lead(place, box, scale), scale) for other in written
            )
            if covered == 0:
                return offset
            if covered < least:
                best, least = offset, covered
    return best


def _lead(place: tuple[float, float], box: Bbox, scale: float) -> np.ndarray:
    """The ends of the line from a point to its name; none to a near one."""
    nearest = (min(max(place[0], box.x0), box.x1), min(max(place[1], box.y0), box.y1))
    return np.array([place, nearest] if math.dist(nearest, place) >= 11 * scale else []).reshape(-1, 2)


def _along(lead: np.ndarray, scale: float) -> list[Bbox]:
    """A line as small boxes, without its ends, which touch the point and the name."""
    if len(lead) == 0:
        return []
    begin, end = lead
    count = max(3, int(math.dist(begin, end) / (4 * scale)))
    return [_around(begin + (end - begin) * part, scale) for part in np.linspace(0, 1, count + 1)[1:-1]]


def _across(line: Line2D, frame: Bbox, renderer: RendererBase) -> bool:
    extent = line.get_window_extent(renderer)
    return extent.width >= 0.99 * frame.width or extent.height >= 0.99 * frame.height


def _darker(color: str) -> tuple[float, ...]:
    """So that letters can be read on white."""
    return tuple(0.62 * part for part in to_rgb(color))


def _loneliness(places: Sequence[tuple[float, float]], number: int) -> float:
    near = sorted(math.dist(places[number], other) for other in places)
    return sum(near[1:4])


def _around(place: tuple[float, float], radius: float) -> Bbox:
    return _centred(place, 2 * radius, 2 * radius)


def _centred(center: tuple[float, float], width: float, height: float) -> Bbox:
    x, y = center
    return Bbox([[x - width / 2, y - height / 2], [x + width / 2, y + height / 2]])


def _overlap(one: Bbox, other: Bbox) -> float:
    width = min(one.x1, other.x1) - max(one.x0, other.x0)
    height = min(one.y1, other.y1) - max(one.y0, other.y0)
    return width * height if width > 0 and height > 0 else 0.0


def _outside(box: Bbox, frame: Bbox) -> float:
    return box.width * box.height - _overlap(box, frame)
