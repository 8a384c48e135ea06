"""Complete files, and checkpoints whose contents are read without running them."""

import ast
import errno
import os
import pickle
import re
import zipfile
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from secrets import token_hex
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
    """Yield the path of a file to write, which replaces ``path`` when it is complete and on the disk.

    Whatever happens in between, a crash and a power failure included, ``path`` has its former content or all of the
    new. Missing folders are created. Of several processes that write a path, the last one's file stays.

    Args:
        path: the file to replace.
        flush: whether to wait for the disk, which takes milliseconds. Without, a power failure may leave an empty file;
            this suits thousands of small files that a later one vouches for.

    Raises:
        OSError: ``path`` cannot be written; names the path and what to do. The yielded file is removed.

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
    # Two processes that write the same path do not meet.
    partial = path.with_name(f'{path.name}.{token_hex(4)}{PARTIAL}')
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield partial
        if flush:
            _flush(partial)
        partial.replace(path)
        # On other systems a folder cannot be opened.
        if flush and os.name == 'posix':
            _flush(path.parent)
    except OSError as error:
        if error.filename not in (None, *map(str, (partial, path, *path.parents))):
            raise
        raise _explained(error, path) from error
    finally:
        # An error of the removal would hide the one that is under way, which says more.
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
    """Return an error of `write`, which does not name the file, with the path and an advice."""
    advice = _ADVICE.get(error.errno or 0)
    reason = error.strerror or str(error)
    return OSError(error.errno, f'cannot be written ({reason})' + (f'; {advice}' if advice else ''), str(path))


# the number that the format before PyTorch 1.6, which is no archive, begins with
_OLD_FORMAT = torch.serialization.MAGIC_NUMBER.to_bytes(10, 'little')


def check_intact(path: str | os.PathLike) -> None:
    """Check that a checkpoint is complete and holds the bytes that were written, by the checksums of its archive.

    Folders (sharded checkpoints) are not looked into, and files older than PyTorch 1.6 have no checksums.

    Raises:
        ValueError: the file is missing, empty, cut off, damaged, or no checkpoint; names it.
    """
    path = Path(path)
    if path.is_dir():
        return
    if not path.is_file():
        raise ValueError(f'{path} is missing')
    fault = None
    # A damaged archive raises errors of any type, and a damaged disk an OSError.
    try:
        with path.open('rb') as file:
            head = file.read(32)
        if not head:
            fault = 'is empty'
        elif head.startswith(b'PK'):
            fault = _fault_of_archive(path)
        elif _OLD_FORMAT not in head:
            fault = f'is no checkpoint of PyTorch; it begins with {head[:8]!r}'
    except Exception as error:
        fault = f'is damaged ({error})'
    if fault:
        raise ValueError(f'{path} {fault}')


def _fault_of_archive(path: Path) -> str | None:
    # The table of contents comes last.
    if not zipfile.is_zipfile(path):
        return f'was cut off after {path.stat().st_size} bytes'
    with zipfile.ZipFile(path) as archive:
        record = archive.testzip()
        if record is not None:
            return f'is damaged (the checksum of its part {record} is another)'
        if not any(name.endswith('data.pkl') for name in archive.namelist()):
            return 'is no checkpoint of PyTorch; it is an archive without a data.pkl'
    return None


# the parts of tensors and plain containers; dtypes and storages are found by their names below
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
    """Stand-in for an object of any other class, which ignores every call that a pickle makes on it."""

    # With an `__init__` of any arguments, `object.__new__` takes any too.
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        pass

    def _ignore(self, *args: Any) -> None:
        pass

    __setitem__ = __setstate__ = append = extend = add = _ignore


class _Unpickler(pickle.Unpickler):
    """Unpickler for tensors and plain containers, which puts a `Placeholder` for all else and imports nothing."""

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


# torch.load takes a module. In the old format, which is no zip archive, it calls `load` for the header.
_PICKLE = SimpleNamespace(Unpickler=_Unpickler, load=_load_pickle, __name__='pickle')


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """Read a checkpoint of mmengine or PyTorch on the CPU, from any source, because nothing that it holds is run.

    Tensors, numbers, texts, lists and dicts come as they are, and a `Placeholder` for an object of any other class
    (mmengine's logs, arrays of numpy). `torch.load(weights_only=True)` refuses a file with such objects.

    Args:
        path: a file of this machine.

    Raises:
        FileNotFoundError: there is no such file; if the path is an address, the message says to download it.
        ValueError: the file is no checkpoint, or a part of one.

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
        check_intact(path)
        if _is_script(path):
            raise ValueError('it is a compiled model of TorchScript')
        loaded = torch.load(path, map_location='cpu', pickle_module=_PICKLE, weights_only=False)
    # Unpickling raises errors of any type.
    except Exception as error:
        raise ValueError(f'{path} cannot be read as a checkpoint ({error}); take another') from error
    if not isinstance(loaded, Mapping):
        raise ValueError(f'{path} holds a {type(loaded).__name__}; a checkpoint is a dict')
    return loaded


def _is_script(path: str | Path) -> bool:
    """Return whether `torch.load` would hand the file to TorchScript, by the reader with which it decides."""
    with open(path, 'rb') as file:
        if file.read(4) != b'PK\x03\x04':
            return False
    return 'constants.pkl' in torch._C.PyTorchFileReader(str(path)).get_all_records()


def load_weights(model: nn.Module, checkpoint: str | Path, config: str | Path) -> dict[str, Tensor]:
    """Load the weights of a checkpoint into a model, and the state of its losses if there is one; nothing is run.

    Args:
        model: the model to fill.
        checkpoint: a file of this machine, see `read_checkpoint`.
        config: file of the model, for errors.

    Returns:
        The state dict of the checkpoint.

    Raises:
        FileNotFoundError: there is no such checkpoint.
        ValueError: the file is no checkpoint, or of another model.
    """
    loaded = read_checkpoint(checkpoint)
    # A file of weights alone has no `state_dict`.
    weights = loaded.get('state_dict', loaded)
    try:
        missing, unknown = model.load_state_dict(weights, strict=False)
    except RuntimeError as error:
        raise ValueError(f'{checkpoint} does not fit {config}: {error}') from error
    # The state of a loss is no weight of the model, so the loss of the training may be another one.
    wrong = [name for name in (*missing, *unknown) if '.loss_' not in name]
    if wrong:
        raise ValueError(
            f'{checkpoint} does not fit {config}: {len(wrong)} names of weights are only in one of them, the first is '
            f'{wrong[0]}'
        )
    return weights


def read_literals(text: str, source: str, names: bool = False) -> dict[str, Any]:
    """Return the variables of a config as mmengine saves it in a checkpoint, if all of them are literals.

    `mmengine.Config.fromstring` would run the text.

    Args:
        text: assignments of literals and of ``dict(...)``.
        source: file of the text, for errors.
        names: whether names such as ``torch.nn.GELU``, which a config with classes is saved with, are texts.

    Raises:
        ValueError: the text holds anything else.

    Example:
        >>> read_literals("model = dict(depth=18, heads=[dict(type='A')])", 'epoch_1.pth')
        {'model': {'depth': 18, 'heads': [{'type': 'A'}]}}
    """
    try:
        variables = {}
        for statement in ast.parse(text).body:
            if not (isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name)):
                raise ValueError(ast.unparse(statement))
            variables[statement.targets[0].id] = _literal(statement.value, names)
    except (SyntaxError, ValueError, TypeError, MemoryError, RecursionError) as error:
        raise ValueError(
            f'the config in {source} is not made of plain values ({error}) and is not run; give the config as a file'
        ) from error
    return variables


_NAME = re.compile(r'\w+(\.\w+)*')


def _literal(node: ast.expr, names: bool) -> Any:
    match node:
        case ast.List(elts):
            return [_literal(element, names) for element in elts]
        case ast.Tuple(elts):
            return tuple(_literal(element, names) for element in elts)
        case ast.Set(elts):
            return {_literal(element, names) for element in elts}
        case ast.Dict(keys, values) if None not in keys:
            return {_literal(key, names): _literal(value, names) for key, value in zip(keys, values, strict=True)}
        case ast.Call(ast.Name('dict'), args, keywords) if all(keyword.arg for keyword in keywords):
            given = {key: value for part in args for key, value in dict(_literal(part, names)).items()}
            return given | {keyword.arg: _literal(keyword.value, names) for keyword in keywords}
        case ast.Name('inf' | 'nan' as number) if names:
            return float(number)
        case ast.UnaryOp(ast.USub(), ast.Name('inf')) if names:
            return -float('inf')
        case ast.Name() | ast.Attribute() if names and _NAME.fullmatch(ast.unparse(node)):
            return ast.unparse(node)
        case _:
            return ast.literal_eval(node)
