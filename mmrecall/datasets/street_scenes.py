"""Synthetic street scenes in SYNTHIA's layout."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from mmrecall.datasets.synthia import SYNTHIA_IDS, label_path
from mmrecall.exclusive import new_folder
from mmrecall.io import atomic_write

Array = np.ndarray
Color = tuple[float, float, float]

# mean number of objects per frame, which sets the shares of the classes
_MEAN_COUNTS = {
    'fence': 0.7,
    'vegetation': 5.0,
    'pole': 2.2,
    'car': 1.6,
    'traffic sign': 0.45,
    'traffic light': 0.22,
    'pedestrian': 0.7,
    'bicycle': 0.2,
}
# half the width of the road, the width of a sidewalk and the length of a fence, in metres
_HALF_ROAD = 4.0
_SIDEWALK = 3.0
_FENCE = 8.0


def write_street_scenes(
    root: str | Path,
    num_frames: int,
    seed: int = 0,
    size: tuple[int, int] = (256, 128),
    sequence: str = 'STREET-SCENES',
    progress: bool = True,
) -> Path:
    """Write a sequence of synthetic frames, ``<sequence>/RGB/Stereo_Left/Omni_F/000000.png``, …, and SYNTHIA's labels.

    Labels are 16-bit PNGs of three channels with the class id in the first (red). The sequence is written as a whole or
    not at all, under another name at first.

    Args:
        root: folder of the sequence's folder.
        num_frames: number of frames, at least 1.
        seed: seed; the same seed gives the same bytes with the same versions of NumPy and OpenCV.
        size: width and height in pixels.
        sequence: name of the sequence's folder.
        progress: whether to show a progress bar.

    Returns:
        The folder of the sequence.

    Raises:
        BlockingIOError: another process writes the sequence's folder.
        FileExistsError: the sequence's folder exists.
        OSError: a file cannot be written; names it.
        ValueError: no frames, or a size below 64x32.
    """
    if num_frames < 1:
        raise ValueError(f'got num_frames={num_frames}; expected at least 1')
    if size[0] < 64 or size[1] < 32:
        raise ValueError(f'got size={size[0]}x{size[1]}; expected at least 64x32 pixels')
    final = Path(root) / sequence
    with new_folder(final) as partial:
        _write_frames(partial, num_frames, seed, size, progress)
    return final


def _write_frames(folder: Path, num_frames: int, seed: int, size: tuple[int, int], progress: bool) -> None:
    from rich.progress import track

    images = folder / 'RGB' / 'Stereo_Left' / 'Omni_F'
    for frame in track(range(num_frames), description='Street scenes', disable=not progress):
        image, ids = street_scene(np.random.default_rng((seed, frame)), size)
        path = images / f'{frame:06d}.png'
        label = np.zeros((*ids.shape, 3), np.uint16)
        label[..., 2] = ids  # OpenCV writes blue, green, red, so that this is the first channel of the file
        for target, pixels in ((path, image[..., ::-1]), (label_path(path), label)):
            # cv2.imwrite does not report a full disk
            with atomic_write(target, flush=False) as written:
                written.write_bytes(cv2.imencode('.png', pixels)[1])


def street_scene(rng: np.random.Generator, size: tuple[int, int] = (256, 128)) -> tuple[Array, Array]:
    """Return one frame: an RGB image, uint8 (H, W, 3), and the SYNTHIA ids of its pixels, uint8 (H, W).

    Example:
        >>> image, ids = street_scene(np.random.default_rng(0), (256, 128))
        >>> image.shape, ids.shape, int(ids[-1, 128])  # road
        ((128, 256, 3), (128, 256), 3)
    """
    canvas = _Canvas(rng, size)
    _draw_background(canvas)
    for kind, x, z in _placements(rng):
        _DRAW[kind](canvas, x, z)
    return canvas.photograph(), canvas.ids


class _Canvas:
    """Image and labels, painted together as seen by a camera 1.6 m above the road."""

    def __init__(self, rng: np.random.Generator, size: tuple[int, int]) -> None:
        width, height = size
        self.rng = rng
        self.width, self.height = width, height
        self.horizon = height * rng.uniform(0.40, 0.48)
        self.center = width * rng.uniform(0.42, 0.58)
        self.focal = 0.8 * width
        self.image = np.zeros((height, width, 3), np.float32)
        self.ids = np.zeros((height, width), np.uint8)

    def project(self, x: float, y: float, z: float) -> tuple[float, float]:
        """Return the pixel of a point x metres to the right, y metres above the road and z metres ahead."""
        return self.center + self.focal * x / z, self.horizon + self.focal * (1.6 - y) / z

    def paint(self, name: str, shape: Array, color: Color, texture: float = 12.0) -> None:
        """Give the pixels of a mask (0 or 1, the size of the canvas) a class and a noisy color."""
        where = shape.astype(bool)
        noise = self.rng.normal(0, texture, (int(where.sum()), 1)).astype(np.float32)
        self.image[where] = np.asarray(color, np.float32) + noise
        self.ids[where] = SYNTHIA_IDS[name]

    def polygon(self, *polygons: list[tuple[float, float]]) -> Array:
        """Return the mask of polygons of pixels."""
        mask = np.zeros((self.height, self.width), np.uint8)
        for points in polygons:
            cv2.fillPoly(mask, [np.round(np.clip(points, -9e3, 9e3)).astype(np.int32)], 1)
        return mask

    def upright(self, x: float, z: float, left: float, right: float, bottom: float, top: float) -> Array:
        """Return the mask of an upright rectangle at (x, z), its sides in metres from x and above the road."""
        u0, v0 = self.project(x + left, top, z)
        u1, v1 = self.project(x + right, bottom, z)
        u1, v1 = max(u1, u0 + 0.6), max(v1, v0 + 0.6)
        return self.polygon([(u0, v0), (u1, v0), (u1, v1), (u0, v1)])

    def disc(self, x: float, y: float, z: float, radius: float, thickness: float = 0.0) -> Array:
        """Return the mask of a disc, or of a ring with a thickness in metres."""
        mask = np.zeros((self.height, self.width), np.uint8)
        u, v = self.project(x, y, z)
        pixels = max(round(self.focal * radius / z), 1)
        width = max(round(self.focal * thickness / z), 1) if thickness else -1
        if abs(u) < 4 * self.width and abs(v) < 4 * self.height:
            cv2.circle(mask, (round(u), round(v)), pixels, 1, width)
        return mask

    def photograph(self) -> Array:
        """Return the image with a random brightness, gradient and tint of the light, blur and sensor noise."""
        rows = np.linspace(-1, 1, self.height, dtype=np.float32)[:, None, None]
        columns = np.linspace(-1, 1, self.width, dtype=np.float32)[None, :, None]
        light = self.rng.uniform(0.65, 1.15) * (1 + self.rng.uniform(-0.2, 0.2) * columns + 0.08 * rows)
        tint = self.rng.uniform(0.9, 1.1, 3).astype(np.float32)
        image = cv2.GaussianBlur(self.image * light * tint, (3, 3), 0.6)
        image = image + self.rng.normal(0, 6, image.shape).astype(np.float32)
        return np.clip(image, 0, 255).astype(np.uint8)


def _draw_background(canvas: _Canvas) -> None:
    rng = canvas.rng
    everywhere = np.ones((canvas.height, canvas.width), np.uint8)
    canvas.paint('sky', everywhere, (150 + rng.uniform(0, 60), 175, 205), texture=4)
    _draw_buildings(canvas)
    far = 200.0
    canvas.paint('sidewalk', canvas.polygon(_ground(canvas, -40, 40, far)), (135, 128, 122))
    grass = _HALF_ROAD + _SIDEWALK
    for side in (-1, 1):
        if rng.random() < 0.5:
            points = _ground(canvas, side * grass, side * 40, far)
            canvas.paint('vegetation', canvas.polygon(points), (85, 110, 60), texture=20)
    canvas.paint('road', canvas.polygon(_ground(canvas, -_HALF_ROAD, _HALF_ROAD, far)), (100, 98, 102), texture=9)
    dashes = [_strip(canvas, -0.08, 0.08, start, start + 3) for start in np.arange(rng.uniform(2, 5), 60, 6.0)]
    canvas.paint('lane marking', canvas.polygon(*dashes), (205, 205, 200))
    for side in (-1, 1):
        x = side * (_HALF_ROAD - 0.35)
        canvas.paint('lane marking', canvas.polygon(_strip(canvas, x - 0.07, x + 0.07, 2, 80)), (200, 200, 195))


def _ground(canvas: _Canvas, left: float, right: float, far: float) -> list[tuple[float, float]]:
    return _strip(canvas, left, right, 0.8, far)


def _strip(canvas: _Canvas, left: float, right: float, near: float, far: float) -> list[tuple[float, float]]:
    """Return the corners of a rectangle on the road."""
    return [canvas.project(x, 0, z) for x, z in ((left, near), (right, near), (right, far), (left, far))]


def _draw_buildings(canvas: _Canvas) -> None:
    rng = canvas.rng
    for side in (-1, 1):
        x = side * (_HALF_ROAD + _SIDEWALK + rng.uniform(0.5, 3))
        near = 90.0
        while near > 6:
            far, near = near, near - rng.uniform(8, 22)
            if rng.random() < 0.15:
                continue
            _draw_facade(canvas, x, max(near, 4), far, rng.uniform(5, 16))


def _draw_facade(canvas: _Canvas, x: float, near: float, far: float, height: float) -> None:
    rng = canvas.rng
    corners = ((0.0, near), (height, near), (height, far), (0.0, far))
    wall = canvas.polygon([canvas.project(x, y, z) for y, z in corners])
    base = rng.uniform(90, 190)
    canvas.paint('building', wall, (base, base * rng.uniform(0.8, 1), base * rng.uniform(0.7, 0.95)))
    windows = [
        [canvas.project(x, a, b) for a, b in ((y, z), (y + 1.5, z), (y + 1.5, z + 1.4), (y, z + 1.4))]
        for y in np.arange(1.5, height - 1.5, 3.0)
        for z in np.arange(near + 1, far - 1, 3.0)
    ]
    canvas.paint('building', canvas.polygon(*windows), (base * 0.5, base * 0.55, base * 0.6))


def _placements(rng: np.random.Generator) -> Iterator[tuple[str, float, float]]:
    """Return kind and place (x, z in metres) of all objects in the street, the farthest first."""
    things = []
    for kind, mean in _MEAN_COUNTS.items():
        for _ in range(rng.poisson(mean)):
            side = rng.choice((-1, 1))
            beside = {
                'car': rng.choice((1.8, 1.8, 2.9)),
                'bicycle': rng.uniform(2.6, 5),
                'pedestrian': rng.uniform(2, 6.5),
                'vegetation': rng.uniform(5.5, 10),
                'fence': _HALF_ROAD + _SIDEWALK,
            }.get(kind, _HALF_ROAD + rng.uniform(0.3, 1))
            nearest = {'fence': 8, 'car': 8, 'vegetation': 10}.get(kind, 6)
            things.append((kind, float(side * beside), float(rng.uniform(nearest, 34))))
    # a fence is as far away as its far end
    return iter(sorted(things, key=lambda thing: -thing[2] - _FENCE * (thing[0] == 'fence')))


def _draw_tree(canvas: _Canvas, x: float, z: float) -> None:
    rng = canvas.rng
    canvas.paint('vegetation', canvas.upright(x, z, -0.15, 0.15, 0, 2.2), (80, 65, 50))
    green = rng.uniform(70, 125)
    for _ in range(7):
        leaves = canvas.disc(x + rng.normal(0, 0.8), 3 + rng.normal(0, 0.8), z, rng.uniform(0.6, 1.2))
        canvas.paint('vegetation', leaves, (green * 0.7, green, green * 0.5), texture=24)


def _draw_fence(canvas: _Canvas, x: float, z: float) -> None:
    shade = canvas.rng.uniform(80, 150)
    boards = [
        [canvas.project(x, y, depth) for y, depth in ((0, far), (1.1, far), (1.1, far + 0.32), (0, far + 0.32))]
        for far in np.arange(z, z + _FENCE, 0.5)
    ]
    canvas.paint('fence', canvas.polygon(*boards), (shade, shade * 0.85, shade * 0.65))


def _draw_pole(canvas: _Canvas, x: float, z: float, height: float | None = None) -> None:
    shade = canvas.rng.uniform(70, 150)
    height = canvas.rng.uniform(4, 6.5) if height is None else height
    canvas.paint('pole', canvas.upright(x, z, -0.07, 0.07, 0, height), (shade, shade, shade))


def _draw_sign(canvas: _Canvas, x: float, z: float) -> None:
    rng = canvas.rng
    _draw_pole(canvas, x, z, 2.2)
    color = ((190, 45, 40), (40, 70, 170), (225, 225, 220))[rng.integers(3)]
    if rng.random() < 0.5:
        board = canvas.disc(x, 2.5, z, 0.42)
    else:
        board = canvas.polygon([canvas.project(x + a, b, z) for a, b in ((-0.5, 2.1), (0.5, 2.1), (0.0, 2.95))])
    canvas.paint('traffic sign', board, color)


def _draw_light(canvas: _Canvas, x: float, z: float) -> None:
    _draw_pole(canvas, x, z, 2.6)
    canvas.paint('traffic light', canvas.upright(x, z, -0.22, 0.22, 2.5, 3.5), (35, 38, 35), texture=5)
    lamp, color = ((3.25, (235, 60, 45)), (3.0, (240, 190, 60)), (2.75, (70, 220, 130)))[canvas.rng.integers(3)]
    canvas.paint('traffic light', canvas.disc(x, lamp, z, 0.13), color, texture=5)


def _draw_car(canvas: _Canvas, x: float, z: float) -> None:
    rng = canvas.rng
    color = tuple(float(shade) for shade in rng.uniform(30, 215, 3))
    canvas.paint('car', canvas.upright(x, z, -0.9, 0.9, 0.25, 0.95), color)
    roof = [(-0.8, 0.95), (0.8, 0.95), (0.62, 1.5), (-0.62, 1.5)]
    canvas.paint('car', canvas.polygon([canvas.project(x + a, b, z) for a, b in roof]), color)
    glass = [(-0.66, 0.98), (0.66, 0.98), (0.54, 1.4), (-0.54, 1.4)]
    canvas.paint('car', canvas.polygon([canvas.project(x + a, b, z) for a, b in glass]), (55, 65, 75), texture=6)
    for wheel in (-0.7, 0.7):
        canvas.paint('car', canvas.upright(x + wheel, z, -0.12, 0.12, 0, 0.4), (25, 25, 25), texture=4)


def _draw_pedestrian(canvas: _Canvas, x: float, z: float) -> None:
    rng = canvas.rng
    height = rng.uniform(1.5, 1.9)
    coat, trousers = rng.uniform(25, 200, 3), rng.uniform(20, 110, 3)
    stride = rng.uniform(0.02, 0.2)
    for leg in (-stride, stride):
        canvas.paint('pedestrian', canvas.upright(x + leg, z, -0.09, 0.09, 0, 0.5 * height), tuple(trousers))
    canvas.paint('pedestrian', canvas.upright(x, z, -0.25, 0.25, 0.45 * height, 0.85 * height), tuple(coat))
    canvas.paint('pedestrian', canvas.disc(x, 0.92 * height, z, 0.12), (190, 150, 125), texture=8)


def _draw_bicycle(canvas: _Canvas, x: float, z: float) -> None:
    color = tuple(float(shade) for shade in canvas.rng.uniform(20, 170, 3))
    for wheel in (-0.5, 0.5):
        canvas.paint('bicycle', canvas.disc(x + wheel, 0.35, z, 0.33, thickness=0.08), (30, 30, 32), texture=5)
    frame = [(-0.5, 0.35), (-0.2, 0.75), (0.35, 0.75), (0.5, 0.35), (0.28, 0.62), (-0.1, 0.62)]
    canvas.paint('bicycle', canvas.polygon([canvas.project(x + a, b, z) for a, b in frame]), color)
    canvas.paint('bicycle', canvas.upright(x + 0.36, z, -0.05, 0.12, 0.75, 1.05), color)


_DRAW = {
    'fence': _draw_fence,
    'vegetation': _draw_tree,
    'pole': _draw_pole,
    'car': _draw_car,
    'traffic sign': _draw_sign,
    'traffic light': _draw_light,
    'pedestrian': _draw_pedestrian,
    'bicycle': _draw_bicycle,
}
