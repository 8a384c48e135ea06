"""Files of the CIFAR archives, read without running anything that they hold."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from mmengine import fileio

from mmrecall.io import SafeUnpickler, array_part

Array = np.ndarray

_PIXELS = 3 * 32 * 32
# CIFAR-10 has the first, CIFAR-100 the second, beside coarse ones
_LABELS = ('labels', 'fine_labels')


def read_batches(paths: Sequence[str]) -> tuple[Array, Array]:
    """Return the images and labels in files of Krizhevsky's Python archives, one file after the other.

    The files are pickles, which may hold only texts, numbers, lists, dicts and arrays of numbers.

    Args:
        paths: ``data_batch_1`` … ``data_batch_5`` or ``test_batch`` of CIFAR-10, ``train`` or ``test`` of CIFAR-100.

    Returns:
        RGB images (N, 32, 32, 3) uint8 and labels (N,) int64.

    Raises:
        ValueError: a file holds anything else; nothing of it is run.
    """
    images, labels = zip(*map(_read_batch, paths), strict=True)
    # a row has all values of red, then of green, then of blue
    pixels = np.concatenate(images).reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    return np.ascontiguousarray(pixels), np.concatenate(labels)


def _read_batch(path: str) -> tuple[Array, Array]:
    class Unpickler(SafeUnpickler):
        def find_other(self, module: str, name: str) -> Any:
            found = array_part(module, name)
            if found is None:
                raise ValueError(
                    f'{path} holds {module}.{name}, which no file of the CIFAR archives does, and loading it may run '
                    'code; nothing was run; fetch the archive again'
                )
            return found

    # The archives were written by Python 2, whose texts are bytes.
    content = Unpickler(io.BytesIO(fileio.get(path)), encoding='latin1').load()
    labels = [content[key] for key in _LABELS if key in content] if isinstance(content, dict) else []
    pixels = content.get('data') if labels else None
    if not isinstance(pixels, np.ndarray) or pixels.dtype != np.uint8 or pixels.shape != (len(labels[0]), _PIXELS):
        raise ValueError(f'{path} has no labelled images of 32x32 pixels; fetch the archive again')
    return pixels.view(np.ndarray), np.asarray(labels[0], np.int64)
