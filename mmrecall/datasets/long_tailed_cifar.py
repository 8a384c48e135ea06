"""Long-tailed CIFAR-10 and CIFAR-100 in memory, from the official archives."""

from __future__ import annotations

from typing import Any

import numpy as np
from mmengine import dist, fileio

from mmrecall.datasets.cifar_archives import read_batches
from mmrecall.datasets.label_statistics import LabelStatistics
from mmrecall.datasets.subsampling import draw_long_tail
from mmrecall.registry import DATASETS, register
from mmrecall.upstream import require

require('mmpretrain.datasets')

from mmpretrain.datasets import CIFAR10, CIFAR100  # noqa: E402
from mmpretrain.datasets.utils import check_md5, download_and_extract_archive  # noqa: E402

_TYPES = ('exponential', 'step')


class LongTailedArchive(LabelStatistics):
    """Mixin for the CIFAR data sets of mmpretrain: the training images are a long-tailed subset, in memory.

    The sizes of the classes are those of Cui et al. (CVPR 2019) and Cao et al. (NeurIPS 2019), in the order of the
    classes, see `mmrecall.datasets.long_tailed_counts`. The images of a class are drawn by `draw_long_tail` and depend
    on the class, its size and ``seed`` alone, so that a larger ratio draws a part of the images of a smaller one. Every
    paper has another draw.

    Args:
        imbalance_factor: ratio of the largest to the smallest class, at least 1.
        imbalance_type: ``'exponential'``, or ``'step'``: the second half of the classes has 1/r of the images.
        seed: seed of the draw; not the one of the training.
        **kwargs: arguments of mmpretrain's `CIFAR10`. With ``split='test'`` all images are kept, as many of each class.

    Raises:
        FileNotFoundError: a file of the archive is missing, and ``download`` is False or the download failed.
        ValueError: a ratio below 1 or above the images of a class, an unknown type, or a file with another MD5 sum than
            the official one.
    """

    def __init__(
        self, imbalance_factor: float = 100, imbalance_type: str = 'exponential', seed: int = 0, **kwargs: Any
    ) -> None:
        if imbalance_factor < 1:
            raise ValueError(f'got imbalance_factor={imbalance_factor}; expected at least 1')
        if imbalance_type not in _TYPES:
            raise ValueError(f'got imbalance_type={imbalance_type!r}; expected one of {", ".join(map(repr, _TYPES))}')
        self.imbalance_factor = imbalance_factor
        self.imbalance_type = imbalance_type
        self.seed = seed
        super().__init__(**kwargs)

    def load_data_list(self) -> list[dict]:
        """Return the images of the subset in the order of the archive."""
        self._fetch()
        files = self.train_list if self.split == 'train' else self.test_list
        images, labels = read_batches([self._path(name) for name, _ in files])
        chosen = np.arange(len(labels))
        if self.split == 'train':
            num_classes = len(self.METAINFO['classes'])
            chosen = draw_long_tail(labels, num_classes, self.imbalance_factor, self.imbalance_type, seed=self.seed)
        return [dict(img=images[index], gt_label=int(labels[index])) for index in chosen]

    def _fetch(self) -> None:
        """Download the archive if it is not there and whole; all ranks go on, or all raise."""
        failure = None
        if dist.is_main_process() and self.download and self._fault():
            # The other ranks wait at the barrier, whatever happens here.
            try:
                download_and_extract_archive(
                    self.url, self.data_prefix['root'], filename=self.filename, md5=self.tgz_md5
                )
            except Exception as error:
                failure = error
        dist.barrier()
        fault = self._fault()
        if fault:
            raise fault from failure

    def _fault(self) -> Exception | None:
        """Return the error for the first file that is missing or not the official one."""
        for name, md5 in (*self.train_list, *self.test_list):
            path = self._path(name)
            if not fileio.exists(path):
                return FileNotFoundError(
                    f'{path} is missing; unpack {self.url} into {self.data_prefix["root"]}, or set data_root to the '
                    f'folder that has {self.base_folder}'
                )
            if not check_md5(path, md5):
                return ValueError(
                    f'{path} has another MD5 sum than the file of {self.url}; remove it and unpack the archive again'
                )
        return None

    def _path(self, name: str) -> str:
        return fileio.join_path(self.data_prefix['root'], self.base_folder, name)


@register(DATASETS)
class CIFAR10LT(LongTailedArchive, CIFAR10):
    """CIFAR-10-LT in memory: ten classes; with a ratio of 100, 12,406 training images, 5,000 to 50 per class.

    Reads the files ``data_root/cifar-10-batches-py/data_batch_1`` …, and downloads them if they are missing.
    Arguments and errors: `LongTailedArchive`.

    Example:
        >>> train = dict(type='mmrecall.CIFAR10LT', data_root='data/cifar10', imbalance_factor=100)
        >>> test = dict(type='mmrecall.CIFAR10LT', data_root='data/cifar10', split='test')
    """


@register(DATASETS)
class CIFAR100LT(LongTailedArchive, CIFAR100):
    """CIFAR-100-LT in memory: 100 classes; with a ratio of 100, 10,847 training images, 500 to 5 per class.

    Reads ``data_root/cifar-100-python/train`` and ``test``, and downloads them if they are missing.
    Arguments and errors: `LongTailedArchive`.

    Example:
        >>> train = dict(type='mmrecall.CIFAR100LT', data_root='data/cifar100', imbalance_factor=100)
    """
