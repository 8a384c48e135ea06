"""Long-tailed subsets of image sets that are balanced, or less imbalanced."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from rich.console import Console
from rich.progress import Progress

from mmrecall.datasets.failures import raise_failures
from mmrecall.datasets.label_sources import image_labels
from mmrecall.exclusive import only_writer
from mmrecall.io import atomic_write

Array = np.ndarray

PROFILES = ('exponential', 'pareto', 'step')


def long_tailed_counts(
    num_classes: int, largest: int, imbalance_ratio: float, profile: str = 'exponential', power: float = 6.0
) -> list[int]:
    """Return numbers of images per class, in descending order; the first is r times the last.

    With C classes, n_0 images in the largest and u = i / (C - 1), class i has, rounded down,

    - ``'exponential'``: n_0 r^(-u), as in the long-tailed CIFAR of Cui et al., "Class-balanced loss based on effective
      number of samples", CVPR 2019.
    - ``'pareto'``: n_0 (1 + k u)^(-a), k = r^(1/a) - 1, a Pareto law over the rank of the class. A smaller a makes it
      steeper at first and the tail longer. Liu et al., "Large-scale long-tailed recognition in an open world", CVPR
      2019, name a Pareto law with a = 6 for ImageNet-LT and Places-LT, without the other parameters.
    - ``'step'``: n_0 in the first half of the classes, rounded down, and n_0 / r in the others, as in Buda et al., "A
      systematic study of the class imbalance problem in convolutional neural networks", Neural Networks 2018.

    Args:
        num_classes: number of classes C.
        largest: number of images of the largest class n_0.
        imbalance_ratio: ratio r of the largest to the smallest class, at least 1.
        profile: one of the three above.
        power: exponent a of the Pareto law, above 0.

    Raises:
        ValueError: an argument out of range, or a smallest class without images.

    Example:
        >>> long_tailed_counts(10, 5000, 100)
        [5000, 2997, 1796, 1077, 645, 387, 232, 139, 83, 50]
        >>> long_tailed_counts(10, 5000, 100, 'pareto')
        [5000, 2423, 1270, 708, 416, 255, 162, 106, 72, 50]
        >>> long_tailed_counts(5, 5000, 100, 'step')
        [5000, 5000, 50, 50, 50]
    """
    if num_classes < 2:
        raise ValueError(f'got num_classes={num_classes}; expected at least 2')
    if imbalance_ratio < 1:
        raise ValueError(f'got imbalance_ratio={imbalance_ratio}; expected at least 1')
    if profile not in PROFILES:
        raise ValueError(f'got profile={profile!r}; expected one of {", ".join(map(repr, PROFILES))}')
    if power <= 0:
        raise ValueError(f'got power={power}; expected a number above 0')
    rank = np.arange(num_classes) / (num_classes - 1)
    if profile == 'exponential':
        shares = imbalance_ratio**-rank
    elif profile == 'step':
        shares = np.where(rank < 0.5, 1, 1 / imbalance_ratio)
    else:
        shares = (1 + (imbalance_ratio ** (1 / power) - 1) * rank) ** -power
    # rounding errors may put an integer slightly below its value
    counts = np.floor(largest * shares * (1 + 1e-12)).astype(int).tolist()
    if counts[-1] < 1:
        raise ValueError(
            f'got {largest} images in the largest class and an imbalance ratio of {imbalance_ratio}; expected at least '
            'one image in the smallest class; set a smaller ratio'
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
    """Return the ascending indices of a random subset with the class sizes of `long_tailed_counts`.

    The largest class stays the largest, and so on; of classes of equal size, the one with the lower number gets more
    images. The images of a class are the first ones of a random order that depends only on the class, its size and the
    seed, so a smaller subset lies within a larger one.

    Args:
        labels: class of every image.
        num_classes: number of classes C.
        imbalance_ratio: see `long_tailed_counts`.
        profile: see `long_tailed_counts`.
        power: see `long_tailed_counts`.
        largest: number of images of the largest class in the subset; all of them by default.
        seed: seed of the draw.

    Raises:
        ValueError: a class has fewer images than the profile asks for; see also `long_tailed_counts`.

    Example:
        >>> draw_long_tail([0, 0, 0, 0, 1, 1, 1, 1], num_classes=2, imbalance_ratio=4).tolist()
        [0, 1, 2, 3, 7]
    """
    labels = np.asarray(labels)
    available = np.bincount(labels, minlength=num_classes)
    ranked = np.argsort(-available, kind='stable').tolist()
    sizes = long_tailed_counts(
        num_classes, int(available.max()) if largest is None else largest, imbalance_ratio, profile, power
    )
    chosen = []
    for label, size in zip(ranked, sizes, strict=True):
        if size > available[label]:
            raise ValueError(
                f'class {label} has {available[label]} images, but the profile asks for {size}; set a smaller largest '
                'class'
            )
        order = np.random.default_rng([seed, label]).permutation(np.flatnonzero(labels == label))
        chosen.append(order[:size])
    return np.sort(np.concatenate(chosen))


def write_long_tail(
    dataset: Any, out: str | Path, imbalance_ratio: float, progress: bool = False, **options: Any
) -> list[int]:
    """Write a list, "path label" in every line, of a long-tailed subset of a data set of mmpretrain.

    Paths are relative to the ``data_root`` of the data set. Images in memory (CIFAR, MNIST) are written as PNG files to
    ``train/<class>/<index>.png`` beside a list ``train.txt``, and their paths are relative to the folder of the list.
    The list is written last, so that all of its images exist when it does; after a failure the same call completes.

    If an item cannot be listed, all such items are named and nothing is written, because without them the classes would
    have other sizes.

    Args:
        dataset: a data set with one ``gt_label`` per item.
        out: the list, which must not exist; it is written as a whole or not at all.
        imbalance_ratio: see `draw_long_tail`.
        progress: whether to show progress bars.
        **options: arguments of `draw_long_tail`.

    Returns:
        The number of images of every class in the list.

    Raises:
        BlockingIOError: another process writes the list.
        FileExistsError: the list exists.
        OSError: a file cannot be written; names it.
        ValueError: an item with no class or several, an image outside ``data_root``, or a line break in a path; see
            also `draw_long_tail`.
    """
    out = Path(out)
    _check_absent(out)
    labels = image_labels(dataset)
    classes = dataset.metainfo.get('classes') or [str(number) for number in range(1 + labels.max())]
    chosen = draw_long_tail(labels, len(classes), imbalance_ratio, **options)
    new_files = {index: f'{out.stem}/{classes[labels[index]]}/{index:06d}.png' for index in chosen.tolist()}
    with Progress(console=Console(stderr=True), transient=True, disable=not progress) as bar:
        paths = _paths(dataset, new_files, bar)
        with only_writer(out), atomic_write(out) as partial:
            _check_absent(out)
            partial.write_text(''.join(f'{path} {labels[index]}\n' for index, path in paths.items()), encoding='utf-8')
            _write_images(dataset, paths, out.parent, bar)
    return np.bincount(labels[chosen], minlength=len(classes)).tolist()


def _check_absent(out: Path) -> None:
    if out.exists():
        raise FileExistsError(f'{out} exists; remove it, or set another name')


def _paths(dataset: Any, new_files: dict[int, str], bar: Progress) -> dict[int, str]:
    """Return the paths in the list by item: of the image below ``data_root``, or of the new file."""
    root = getattr(dataset, 'data_root', '')
    paths, failures = {}, []
    for index, new_file in bar.track(new_files.items(), description='images in the list'):
        info = dataset.get_data_info(index)
        try:
            paths[index] = _relative(info['img_path'], root) if 'img_path' in info else new_file
        except ValueError as error:
            failures.append(error)
    raise_failures('no list is written', failures)
    return paths


def _write_images(dataset: Any, paths: dict[int, str], folder: Path, bar: Progress) -> None:
    """Write the images that are not files."""
    for index, path in bar.track(paths.items(), description='image files'):
        info = dataset.get_data_info(index)
        if 'img_path' not in info:
            with atomic_write(folder / path, flush=False) as partial:
                Image.fromarray(np.ascontiguousarray(info['img'])).save(partial, format='png')


def _relative(path: str, root: str) -> str:
    if '\n' in path or '\r' in path:
        raise ValueError(f'got the path {path!r}; expected no line break, which would end the line of the list')
    if not root:
        return path
    start = root.rstrip('/') + '/'
    if not path.startswith(start):
        raise ValueError(f'the image {path} is not below data_root {root}, to which the paths of the list are relative')
    return path[len(start) :]
