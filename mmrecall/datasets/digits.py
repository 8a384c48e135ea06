"""Handwritten digits of scikit-learn as a long-tailed image set."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mmrecall.datasets.subsampling import draw_long_tail, write_long_tail
from mmrecall.exclusive import new_folder

Array = np.ndarray

# number of test images per class
TEST_IMAGES = 50


@dataclass
class _Digits:
    """Digits with the methods of a data set that `write_long_tail` calls."""

    images: Array
    labels: Array
    metainfo = dict(classes=tuple('0123456789'))

    def __len__(self) -> int:
        return len(self.labels)

    def get_data_info(self, index: int) -> dict:
        return dict(img=self.images[index], gt_label=int(self.labels[index]))

    def take(self, chosen: Array) -> _Digits:
        return _Digits(self.images[chosen], self.labels[chosen])


def write_digits(root: str | Path, imbalance_ratio: float = 40, seed: int = 0) -> list[int]:
    """Write ``test.txt``, 50 images of each digit, and ``train.txt``, a long-tailed subset of the others.

    Images are 8x8 grey PNGs, for example ``train/3/000002.png``, and lists are those of `LongTailList`. The folder is
    written as a whole or not at all, under another name at first.

    Args:
        root: the folder.
        imbalance_ratio: ratio of the largest to the smallest class in the training set, see `draw_long_tail`.
        seed: seed of both draws; the same seed gives the same files.

    Returns:
        The number of training images of every class.

    Raises:
        BlockingIOError: another process writes the folder.
        FileExistsError: the folder exists.
        ImportError: scikit-learn is not installed.
        ValueError: a ratio for which a class has too few images, see `draw_long_tail`.
    """
    digits = _load()
    tested = draw_long_tail(digits.labels, len(digits.metainfo['classes']), 1, largest=TEST_IMAGES, seed=seed)
    others = np.setdiff1d(np.arange(len(digits)), tested)
    with new_folder(root) as partial:
        write_long_tail(digits.take(tested), partial / 'test.txt', 1)
        counts = write_long_tail(digits.take(others), partial / 'train.txt', imbalance_ratio, seed=seed)
    return counts


def _load() -> _Digits:
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise ImportError(
            f'scikit-learn, which contains the digits, cannot be imported ({error}); run: pip install scikit-learn'
        ) from error
    images, labels = load_digits(return_X_y=True)
    # scikit-learn has 17 grey levels, 0 to 16
    return _Digits(np.rint(images * (255 / 16)).astype(np.uint8).reshape(-1, 8, 8), labels)
