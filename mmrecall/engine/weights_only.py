"""Reading of checkpoints in the commands: weights, numbers, texts and mmengine's logs, and nothing that runs code."""

import os
from collections import Counter
from typing import Any

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
    """Log of mmengine without the methods that its pickle names."""

    def __setstate__(self, state: dict) -> None:
        state.pop('statistics_methods', None)
        self._set_default_statistics()
        self.__dict__.update(state)
        self.__class__ = HistoryBuffer


class _PlainDict(dict):
    """Dict of a config, which is saved as a plain one."""

    def __setstate__(self, state: Any) -> None:
        pass

    def __reduce_ex__(self, protocol: int) -> Any:
        return dict, (dict(self),)


def _nothing(*args: Any) -> None:
    return None


# What a pickle may call, none of which does more than its name says.
_KNOWN: dict[tuple[str, str], Any] = {
    ('mmengine.logging.history_buffer', 'HistoryBuffer'): _History,
    # the methods of a log
    ('__builtin__', 'getattr'): KnownFunction(_nothing),
    ('builtins', 'getattr'): KnownFunction(_nothing),
    # milestones of a MultiStepLR
    ('collections', 'Counter'): Counter,
    # nested metainfo of a config
    ('mmengine.config.config', 'ConfigDict'): KnownFunction(_PlainDict),
    **{
        (module, kind.__name__): kind
        for module in ('__builtin__', 'builtins')
        for kind in (set, frozenset, complex, dict)
    },
}
