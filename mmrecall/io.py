"""Files that are complete or absent; checkpoints, and the configs in them, read without running anything they hold."""

import ast
import errno
import os
import pickle
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

PARTIAL = '.partial'

_ADVICE = {
    errno.ENOSPC: 'make room',
    errno.EDQUOT: 'make room within your quota',
    errno.EROFS: 'choose a place that can be written to',
    errno.EACCES: 'choose a place that you may write to',
    errno.EPERM: 'choose a place that you may write to',
}


@contextmanager
def atomic_write(path: str | os.PathLike, flush: bool = True) -> Iterator[Path]:
    """A file beside ``path`` to write to, which takes its place when all is on the disk.

    Whatever happens in between, a crash and a power failure included, ``path`` holds what it held before or all of the
    new. Missing folders are made. One process at a time may write a path.

    Args:
        path: the file.
        flush: wait for the disk, which takes milliseconds. Without, for thousands of small files that a later one
            vouches for, a power failure may leave an empty one.

    Raises:
        OSError: it cannot be written; names the path and what to do. The file beside it is removed.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / 'list.txt'
        >>> with atomic_write(path) as partial:
        ...     _ = partial.write_text('all of it')
        ...     path.exists()
        False
        >>> path.read_text()
        'all of it'
    """
    path = Path(path)
    partial = path.with_name(path.name + PARTIAL)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield partial
        if flush:
            _flush(partial)
        partial.replace(path)
        if flush and os.name == 'posix':  # elsewhere a folder cannot be opened
            _flush(path.parent)
    except OSError as error:
        if error.filename not in (None, *map(str, (partial, path, *path.parents))):
            raise
        raise _explained(error, path) from error
    finally:
        # the error that is under way says more than that this failed too
        with suppress(OSError):
            partial.unlink(missing_ok=True)


def _flush(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _explained(error: OSError, path: Path) -> OSError:
    """The same error with the path in it, which an error of `write` has not."""
    advice = _ADVICE.get(error.errno or 0)
    reason = error.strerror or str(error)
    return OSError(error.errno, f'cannot be written ({reason})' + (f'; {advice}' if advice else ''), str(path))


# what tensors and plain containers are made of; dtypes and storages are asked for by their names below
_KNOWN = {
    ('collections', 'OrderedDict'): OrderedDict,
    ('torch', 'Size'): torch.Size,
    ('torch', 'device'): torch.device,
    ('torch.storage', 'UntypedStorage'): torch.UntypedStorage,
    ('torch._utils', '_rebuild_tensor'): torch._utils._rebuild_tensor,
    ('torch._utils', '_rebuild_tensor_v2'): torch._utils._rebuild_tensor_v2,
    ('torch._utils', '_rebuild_parameter'): torch._utils._rebuild_parameter,
}


class Placeholder:
    """What stands for an object of any other class: it takes all that a pickle does to it and does nothing."""

    def __new__(cls, *args: Any, **kwargs: Any) -> 'Placeholder':
        """As `object` takes no arguments."""
        return super().__new__(cls)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        pass

    def _ignore(self, *args: Any) -> None:
        pass

    __setitem__ = __setstate__ = append = extend = add = _ignore


class _Unpickler(pickle.Unpickler):
    """Loads tensors and plain containers, and a `Placeholder` for anything else: imports and calls nothing."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in _KNOWN:
            return _KNOWN[module, name]
        if module == 'torch':
            found = getattr(torch, name, None)
            if isinstance(found, torch.dtype) or (name.endswith('Storage') and isinstance(found, type)):
                return found
        return type(name, (Placeholder,), {'__module__': module})


def _load_pickle(file: Any, **options: Any) -> Any:
    return _Unpickler(file, **options).load()


# torch.load takes a module; in the old format, which is no zip archive, it calls `load` for the header
_PICKLE = SimpleNamespace(Unpickler=_Unpickler, load=_load_pickle, __name__='pickle')


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """Read a checkpoint of mmengine or PyTorch on the CPU; nothing that it holds is run, whoever made it.

    Tensors, numbers, texts, lists and dicts come as they are; an object of any other class (mmengine's logs, arrays of
    numpy) is `Placeholder`. `torch.load(weights_only=True)` refuses a file with such objects.

    Args:
        path: a file of this machine.

    Raises:
        FileNotFoundError: there is no such file; of an address says to download it.
        ValueError: it is no checkpoint, or a part of one.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / 'epoch_1.pth'
        >>> torch.save(dict(state_dict=dict(bias=torch.ones(2)), meta=dict(when=Path('now'))), path)
        >>> found = read_checkpoint(path)
        >>> found['state_dict'], isinstance(found['meta']['when'], Placeholder)
        ({'bias': tensor([1., 1.])}, True)
    """
    if not Path(path).is_file():
        advice = '; download it first' if '://' in str(path) else ''
        raise FileNotFoundError(f'the checkpoint {path} is missing{advice}')
    try:
        if _is_script(path):
            raise ValueError('it is a compiled model of TorchScript')
        loaded = torch.load(path, map_location='cpu', pickle_module=_PICKLE, weights_only=False)
    except Exception as error:  # what unpickling raises is of any kind
        raise ValueError(f'{path} cannot be read as a checkpoint ({error}); take another, it may be cut off') from error
    if not isinstance(loaded, Mapping):
        raise ValueError(f'{path} holds a {type(loaded).__name__}; a checkpoint is a dict')
    return loaded


def _is_script(path: str | Path) -> bool:
    """Whether `torch.load` would hand the file to TorchScript; asked of its own reader, as it asks."""
    with open(path, 'rb') as file:
        if file.read(4) != b'PK\x03\x04':
            return False
    return 'constants.pkl' in torch._C.PyTorchFileReader(str(path)).get_all_records()


def load_weights(model: nn.Module, checkpoint: str | Path, config: str | Path) -> dict[str, Tensor]:
    """Give a model the weights of a checkpoint, and what its losses keep if it is there; nothing in it is run.

    Args:
        model: of the config.
        checkpoint: a file of this machine, see `read_checkpoint`.
        config: of the model, for errors.

    Returns:
        All that the checkpoint keeps of its model.

    Raises:
        FileNotFoundError: there is no such checkpoint.
        ValueError: it is none, or of another model.
    """
    loaded = read_checkpoint(checkpoint)
    # weights alone have no `state_dict`
    weights = loaded.get('state_dict', loaded)
    try:
        missing, unknown = model.load_state_dict(weights, strict=False)
    except RuntimeError as error:
        raise ValueError(f'{checkpoint} does not fit {config}: {error}') from error
    # what another loss counted in training is no weight of the model
    wrong = [name for name in (*missing, *unknown) if '.loss_' not in name]
    if wrong:
        raise ValueError(
            f'{checkpoint} does not fit {config}: {len(wrong)} names of weights are only in one of them, the first is '
            f'{wrong[0]}'
        )
    return weights


def read_literals(text: str, source: str) -> dict[str, Any]:
    """The variables of a config as mmengine saves it in a checkpoint; an expression that is no literal is refused.

    `mmengine.Config.fromstring` runs the text, whatever it holds.

    Args:
        text: assignments of literals and of ``dict(...)``.
        source: the file that it is from, for errors.

    Raises:
        ValueError: anything else.

    Example:
        >>> read_literals("model = dict(depth=18, heads=[dict(type='A')])", 'epoch_1.pth')
        {'model': {'depth': 18, 'heads': [{'type': 'A'}]}}
    """
    try:
        variables = {}
        for statement in ast.parse(text).body:
            if not (isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name)):
                raise ValueError(ast.unparse(statement))
            variables[statement.targets[0].id] = _literal(statement.value)
    except (SyntaxError, ValueError, TypeError, MemoryError, RecursionError) as error:
        raise ValueError(
            f'the config in {source} is not made of plain values ({error}), and what it holds is not run; give a config'
            ' of your own'
        ) from error
    return variables


def _literal(node: ast.expr) -> Any:
    match node:
        case ast.List(elts):
            return [_literal(element) for element in elts]
        case ast.Tuple(elts):
            return tuple(_literal(element) for element in elts)
        case ast.Set(elts):
            return {_literal(element) for element in elts}
        case ast.Dict(keys, values) if None not in keys:
            return {_literal(key): _literal(value) for key, value in zip(keys, values, strict=True)}
        case ast.Call(ast.Name('dict'), args, keywords) if all(keyword.arg for keyword in keywords):
            given = {key: value for part in args for key, value in dict(_literal(part)).items()}
            return given | {keyword.arg: _literal(keyword.value) for keyword in keywords}
        case _:
            return ast.literal_eval(node)
