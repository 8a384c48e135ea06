"""Reading of checkpoints in the commands: weights, numbers, texts and mmengine's logs, and nothing that runs code."""

import argparse
import datetime
import os
from collections import Counter, OrderedDict, defaultdict
from typing import Any

import numpy as np
import torch
from mmengine.logging import HistoryBuffer

from mmrecall.io import KnownFunction, SafeUnpickler, array_part, check_intact, is_script, pickle_with

TRUST = '--trust-checkpoints'

_torch_load = torch.load


def load_weights_only() -> None:
    """Make `torch.load` refuse, in this process, files that hold more than weights and mmengine's logs.

    mmengine loads a file that `weights_only=True` refuses, or every file on a PyTorch before 2.6, with pickle, which
    runs what the file says. After this call its checkpoints are read on any PyTorch, and nothing else.
    """
    torch.load = torch.serialization.load = load_known


def load_known(
    f: Any, map_location: Any = None, *unsafe: Any, weights_only: Any = None, pickle_module: Any = None, **options: Any
) -> Any:
    """Return what `torch.load` does for a checkpoint of mmengine; the arguments on safety count for nothing.

    Raises:
        ValueError: the file is damaged, a program of TorchScript, or holds an object of another class.
    """
    if isinstance(f, (str, os.PathLike)):
        check_intact(f)
    if is_script(f):
        raise ValueError(f'{f} is a compiled model of TorchScript, which may run code; give a checkpoint of weights')
    loaded = _torch_load(f, map_location, pickle_with(_unpickler_of(f)), weights_only=False, **options)
    meta = loaded.get('meta') if isinstance(loaded, dict) else None
    if isinstance(meta, dict):
        # mmengine runs this text as a config, to compare the number of GPUs; it saves its own by another name.
        meta.pop('config', None)
    return loaded


def _unpickler_of(f: Any) -> type[SafeUnpickler]:
    """Return an unpickler that knows what mmengine saves, and whose errors name the file."""

    class Unpickler(SafeUnpickler):
        def find_other(self, module: str, name: str) -> Any:
            found = _KNOWN.get((module, name)) or array_part(module, name)
            if found is None:
                raise ValueError(
                    f'{f} holds {module}.{name}, which is neither weights nor a log of mmengine, and loading it may '
                    f'run code; nothing was run. If you trust where the file comes from, add {TRUST}'
                )
            return found

    return Unpickler


class _History(HistoryBuffer):
    """Log of mmengine without the methods that its pickle names; saved as one of mmengine."""

    def __setstate__(self, state: dict) -> None:
        state.pop('statistics_methods', None)
        self._set_default_statistics()
        self.__dict__.update(state)

    def __reduce_ex__(self, protocol: int) -> Any:
        plain = HistoryBuffer()
        plain.__dict__.update(self.__dict__)
        return HistoryBuffer, (), plain.__reduce_ex__(protocol)[2]


class _PlainDict(dict):
    """Dict of a config, which is saved as a plain one."""

    def __setstate__(self, state: Any) -> None:
        pass

    def __reduce_ex__(self, protocol: int) -> Any:
        return dict, (dict(self),)


class _Namespace(argparse.Namespace):
    """Arguments of a command, restored as plain ones."""

    def __new__(cls) -> Any:
        return argparse.Namespace()

    # without which a pickle could set attributes of this class
    def __setstate__(self, state: Any) -> None:
        pass


def _defaultdict(factory: type | None = None) -> defaultdict:
    if factory not in (None, *_PLAIN, OrderedDict):
        raise ValueError(f'a checkpoint holds a defaultdict of {factory!r}; expected the class of a plain value')
    return defaultdict(factory)


def _bytearray(content: bytes | str = b'', encoding: str = 'latin1') -> bytearray:
    # A number would be a length.
    return bytearray() + (content.encode('latin1') if isinstance(content, str) else content)


def _nothing(*args: Any) -> None:
    return None


_PLAIN = (bool, int, float, complex, tuple, list, dict, set, frozenset)
_NUMBERS = [kind for kind in np.ScalarType if issubclass(kind, (np.number, np.bool_))]

# What a pickle may call, none of which does more than its name says.
_KNOWN: dict[tuple[str, str], Any] = {
    ('mmengine.logging.history_buffer', 'HistoryBuffer'): _History,
    # the methods of a log
    ('__builtin__', 'getattr'): KnownFunction(_nothing),
    ('builtins', 'getattr'): KnownFunction(_nothing),
    # milestones of a MultiStepLR
    ('collections', 'Counter'): KnownFunction(Counter),
    ('collections', 'defaultdict'): KnownFunction(_defaultdict),
    ('argparse', 'Namespace'): _Namespace,
    # nested metainfo of a config
    ('mmengine.config.config', 'ConfigDict'): KnownFunction(_PlainDict),
    **{
        (module, name): found
        for module in ('__builtin__', 'builtins')
        for name, found in dict(
            {kind.__name__: kind for kind in _PLAIN}, bytearray=KnownFunction(_bytearray), long=int
        ).items()
    },
    **{
        ('datetime', kind.__name__): KnownFunction(kind)
        for kind in (datetime.date, datetime.datetime, datetime.time, datetime.timedelta, datetime.timezone)
    },
    # A class's own name comes last and wins: the dtype of numpy.longlong is named int64 too.
    **{('numpy', np.dtype(kind).name): kind for kind in _NUMBERS},
    **{('numpy', kind.__name__): kind for kind in _NUMBERS},
    ('numpy', 'bool_'): np.bool_,
}
