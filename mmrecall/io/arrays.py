"""Arrays of numbers and texts in pickles, which are read without running anything."""

import pickle
import re
from typing import Any

import numpy as np

from mmrecall.io.checkpoints import KnownFunction


class PickledDtype:
    """Stand-in for `numpy.dtype` in a pickle, for types of numbers and texts only.

    A `numpy.dtype` that is restored from a pickle could declare the bytes of an array to be pointers to objects.
    """

    def __init__(self, name: str, *flags: Any) -> None:
        if not re.fullmatch(r'[biufcSU]\d+', name):
            raise ValueError(f'the file holds a numpy array of type {name!r}; expected numbers or texts')
        self.dtype = np.dtype(name)

    def __setstate__(self, state: tuple) -> None:
        self.dtype = self.dtype.newbyteorder('>' if state[1] == '>' else '<')

    def __reduce__(self) -> Any:
        return self.dtype.__reduce__()


class PickledArray(np.ndarray):
    """Array of numbers or texts, which is saved as one of numpy."""

    def __setstate__(self, state: tuple) -> None:
        # Building an array twice frees the memory that its views still use.
        if self.size:
            raise pickle.UnpicklingError('it would change an array')
        version, shape, kind, fortran, data = state
        super().__setstate__((version, shape, kind.dtype, fortran, data))

    def __reduce_ex__(self, protocol: int) -> Any:
        return self.view(np.ndarray).__reduce_ex__(protocol)


def _array(*args: Any) -> np.ndarray:
    return np.ndarray.__new__(PickledArray, (0,), 'b')


def _scalar(kind: PickledDtype, data: bytes) -> Any:
    return np.frombuffer(data, kind.dtype)[0]


def _bytes(text: str, encoding: str) -> bytes:
    # Pickles of protocol 2 hold bytes as a text, one character each.
    return text.encode('latin1')


def _no_bytes() -> bytes:
    return b''


_KNOWN = {
    # Pickles of protocol 2 call it for no bytes at all.
    ('__builtin__', 'bytes'): KnownFunction(_no_bytes),
    ('builtins', 'bytes'): KnownFunction(_no_bytes),
    ('numpy', 'dtype'): KnownFunction(PickledDtype),
    # an argument of the next alone, which is no use to call
    ('numpy', 'ndarray'): object(),
    ('numpy.core.multiarray', '_reconstruct'): KnownFunction(_array),
    ('numpy.core.multiarray', 'scalar'): KnownFunction(_scalar),
    ('_codecs', 'encode'): KnownFunction(_bytes),
}


def array_part(module: str, name: str) -> Any:
    """Return what a name in a pickle of NumPy's arrays stands for, or None for a name that belongs to none."""
    return _KNOWN.get((module.replace('numpy._core', 'numpy.core'), name))
