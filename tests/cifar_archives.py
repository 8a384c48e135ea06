"""Small archives in the layout of CIFAR's, and a way to have the data sets take them for the official ones."""

import hashlib
import pickle
import struct
from contextlib import ExitStack, contextmanager
from unittest import mock

import numpy as np

from mmrecall.datasets import CIFAR10LT, CIFAR100LT

DATASETS = (CIFAR10LT, CIFAR100LT)


class Python2Pickler(pickle._Pickler):
    """Pickler that writes texts and bytes as Python 2 does, which wrote the official archives."""

    dispatch = dict(pickle._Pickler.dispatch)

    def save_bytes(self, value):
        self.write(pickle.BINSTRING + struct.pack('<i', len(value)) + value)
        self.memoize(value)

    def save_text(self, value):
        self.save_bytes(value.encode())

    dispatch[bytes], dispatch[str] = save_bytes, save_text


def write_pickle(path, content, pickler=Python2Pickler):
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open('wb') as file:
        pickler(file, 2).dump(content)


def write_archive(root, dataset, images=4, pickler=Python2Pickler):
    """Write an archive with a number of images per class in each split below ``root``; images and labels by split."""
    rng = np.random.default_rng(0)
    classes = len(dataset.METAINFO['classes'])
    written = {}
    for split, files in (('train', dataset.train_list), ('test', dataset.test_list)):
        labels = rng.permutation(np.repeat(np.arange(classes), images))
        pixels = rng.integers(0, 256, (len(labels), 3072), np.uint8)
        for (name, _), rows in zip(files, np.array_split(np.arange(len(labels)), len(files)), strict=True):
            content = {'batch_label': name, 'data': pixels[rows], 'filenames': [f'{row}.png' for row in rows.tolist()]}
            if classes == 10:
                content['labels'] = labels[rows].tolist()
            else:
                content.update(fine_labels=labels[rows].tolist(), coarse_labels=(labels[rows] // 5).tolist())
            write_pickle(root / dataset.base_folder / name, content, pickler)
        written[split] = pixels, labels
    return written


def write_both(folder, images=4):
    """Write ``cifar10`` and ``cifar100`` below a folder."""
    for dataset in DATASETS:
        write_archive(folder / dataset.__name__.lower().removesuffix('lt'), dataset, images)


@contextmanager
def taken_for_official(*roots):
    """Let the data sets accept the files that are below the folders now, and no others."""
    with ExitStack() as stack:
        for dataset in DATASETS:
            stack.enter_context(mock.patch.multiple(dataset, **_sums(dataset, roots)))
        yield


def _sums(dataset, roots):
    lists = {}
    for name in ('train_list', 'test_list'):
        lists[name] = []
        for file, official in getattr(dataset, name):
            found = [root / dataset.base_folder / file for root in roots]
            sums = [hashlib.md5(path.read_bytes()).hexdigest() for path in found if path.is_file()]
            lists[name].append([file, *(sums or [official])][:2])
    return lists
