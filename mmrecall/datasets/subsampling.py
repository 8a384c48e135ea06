"""A long-tailed version of a balanced, or less imbalanced, image set."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from rich.console import Console
from rich.progress import Progress

from mmrecall.datasets.failures import raise_failures
from mmrecall.datasets.label_lists import image_labels
from mmrecall.io import atomic_write

Array = np.ndarray

PROFILES = ('exponential', 'pareto')


def long_tailed_counts(
    num_classes: int, largest: int, imbalance_ratio: float, profile: str = 'exponential', power: float = 6.0
) -> list[int]:
    """Images of every class, the largest first, so that the first has r times as many as the last.

    With C classes, n_0 images in the first and u = i / (C - 1), class i has

    - ``'exponential'``: n_0 r^(-u). Cui et al., "Class-balanced loss based on effective number of samples", CVPR 2019,
      made long-tailed CIFAR so.
    - ``'pareto'``: n_0 (1 + k u)^(-a), k = r^(1/a) - 1, a Pareto law over the rank of the class: steeper than the
      exponential at first, with a longer tail, the more the smaller a. Liu et al., "Large-scale long-tailed recognition
      in an open world", CVPR 2019, name a Pareto law with a = 6 for ImageNet-LT and Places-LT, and not the rest of it.

    rounded down.

    Args:
        num_classes: C.
        largest: n_0.
        imbalance_ratio: r, at least 1.
        profile: one of the two above.
        power: a of the Pareto law, above 0.

    Raises:
        ValueError: an argument out of range, or a last class without images.

    Example:
        >>> long_tailed_counts(10, 5000, 100)
        [5000, 2997, 1796, 1077, 645, 387, 232, 139, 83, 50]
        >>> long_tailed_counts(10, 5000, 100, 'pareto')
        [5000, 2423, 1270, 708, 416, 255, 162, 106, 72, 50]
    """
    if num_classes < 2:
        raise ValueError(f'num_classes is {num_classes}; a long tail needs at least two classes')
    if imbalance_ratio < 1:
        raise ValueError(f'imbalance_ratio is {imbalance_ratio}; largest by smallest class is at least 1')
    if profile not in PROFILES:
        raise ValueError(f'profile is {profile!r}; it must be one of {", ".join(map(repr, PROFILES))}')
    if power <= 0:
        raise ValueError(f'power is {power}; that of a Pareto law is above 0')
    rank = np.arange(num_classes) / (num_classes - 1)
    if profile == 'exponential':
        shares = imbalance_ratio**-rank
    else:
        shares = (1 + (imbalance_ratio ** (1 / power) - 1) * rank) ** -power
    # what should be a whole number may come out slightly below it
    counts = np.floor(largest * shares * (1 + 1e-12)).astype(int).tolist()
    if counts[-1] < 1:
        raise ValueError(
            f'the largest class has {largest} images, which with an imbalance ratio of {imbalance_ratio} leaves none '
            'for the smallest; take a smaller ratio'
        )
    return counts


def draw_long_tail(
    labels: Sequence[int],
    num_classes: int,
    imbalance_ratio: float,
    profile: str = 'exponential',
    power: float = 6.0,
    largest: int | None = None,
    seed: int = 0,
) -> Array:
    """Indices, ascending, of a random part of the images in which the classes have the counts of `long_tailed_counts`.

    The class with the most images stays the largest, and so on; of classes with equally many the lower number comes
    first. A draw depends on the class, the seed and the number of its images alone, so a smaller part of a class lies
    within a larger one.

    Args:
        labels: class of every image.
        num_classes: C.
        imbalance_ratio: see `long_tailed_counts`.
        profile: see `long_tailed_counts`.
        power: see `long_tailed_counts`.
        largest: images of the largest class; by default as many as it has.
        seed: of the draw.

    Raises:
        ValueError: a class has fewer images than the profile asks for; what `long_tailed_counts` refuses.

    Example:
        >>> draw_long_tail([0, 0, 0, 0, 1, 1, 1, 1], num_classes=2, imbalance_ratio=4).tolist()
        [0, 1, 2, 3, 7]
    """
    labels = np.asarray(labels)
    available = np.bincount(labels, minlength=num_classes)
    ranked = np.argsort(-available, kind='stable').tolist()
    wanted = long_tailed_counts(
        num_classes, int(available.max()) if largest is None else largest, imbalance_ratio, profile, power
    )
    chosen = []
    for label, number in zip(ranked, wanted, strict=True):
        if number > available[label]:
            raise ValueError(
                f'class {label} has {available[label]} images, but the profile asks for {number}; take a smaller '
                'number of images for the largest class'
            )
        order = np.random.default_rng([seed, label]).permutation(np.flatnonzero(labels == label))
        chosen.append(order[:number])
    return np.sort(np.concatenate(chosen))


def write_long_tail(
    dataset: Any, out: str | Path, imbalance_ratio: float, progress: bool = False, **options: Any
) -> list[int]:
    """Write a list, "path label" in every line, of a long-tailed part of a data set of mmpretrain.

    Paths are relative to the data set's ``data_root``. Images that are no files (CIFAR, MNIST) are written as PNG to
    ``train/<class>/<index>.png`` beside a list ``train.txt``, and their paths are relative to its folder. The list
    comes last: where it is, all of its images are. What failed is simply called again.

    If an item cannot stand in the list, all of those are named and nothing is written: without them the classes would
    have other numbers of images.

    Args:
        dataset: with one ``gt_label`` for each item; its ``data_root`` is that of the list too.
        out: the list, which must not exist; it is complete or not there at all.
        imbalance_ratio: see `draw_long_tail`.
        progress: show progress bars.
        **options: of `draw_long_tail`.

    Returns:
        Images of every class in the list.

    Raises:
        FileExistsError: the list exists.
        OSError: a file cannot be written; names it.
        ValueError: an item without a class, or with several; an image below another folder than ``data_root``, or a
            line break in its path; what `draw_long_tail` refuses.
    """
    out = Path(out)
    if out.exists():
        raise FileExistsError(f'{out} is there already; remove it, or choose another name')
    labels = image_labels(dataset)
    classes = dataset.metainfo.get('classes') or [str(number) for number in range(1 + labels.max())]
    chosen = draw_long_tail(labels, len(classes), imbalance_ratio, **options)
    made = {index: f'{out.stem}/{classes[labels[index]]}/{index:06d}.png' for index in chosen.tolist()}
    with Progress(console=Console(stderr=True), transient=True, disable=not progress) as bar:
        paths = _paths(dataset, made, bar)
        with atomic_write(out) as partial:
            partial.write_text(''.join(f'{path} {labels[index]}\n' for index, path in paths.items()), encoding='utf-8')
            _write_images(dataset, paths, out.parent, bar)
    return np.bincount(labels[chosen], minlength=len(classes)).tolist()


def _paths(dataset: Any, made: dict[int, str], bar: Progress) -> dict[int, str]:
    """The paths in the list, by item: of its image below the data set's root, or the one that is made for it."""
    paths, failures = {}, []
    for index, path in bar.track(made.items(), description='images in the list'):
        info = dataset.get_data_info(index)
        try:
            paths[index] = (
                _relative(info['img_path'], getattr(dataset, 'data_root', '')) if 'img_path' in info else path
            )
        except ValueError as error:
            failures.append(error)
    raise_failures('no list is written', failures)
    return paths


def _write_images(dataset: Any, paths: dict[int, str], folder: Path, bar: Progress) -> None:
    """Write the images that are no files."""
    for index, path in bar.track(paths.items(), description='image files'):
        info = dataset.get_data_info(index)
        if 'img_path' not in info:
            with atomic_write(folder / path, flush=False) as partial:
                Image.fromarray(np.ascontiguousarray(info['img'])).save(partial, format='png')


def _relative(path: str, root: str) -> str:
    if '\n' in path or '\r' in path:
        raise ValueError(f'the path {path!r} has a line break and cannot stand in a list')
    if not root:
        return path
    start = root.rstrip('/') + '/'
    if not path.startswith(start):
        raise ValueError(f'the image {path} is not below data_root {root}, which the paths of the list are relative to')
    return path[len(start) :]
