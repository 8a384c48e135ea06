"""Checkpoints whose contents are read without running them."""

import os
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

# as it was before a command restricts it
_torch_load = torch.load

# the number that the format before PyTorch 1.6, which is no archive, begins with
_OLD_FORMAT = torch.serialization.MAGIC_NUMBER.to_bytes(10, 'little')
# MS-DOS's
_FOLDER = 0x10
_MEBIBYTE = 2**20


def check_intact(path: str | os.PathLike, still_working: Callable[[], object] = lambda: None) -> None:
    """Check that a checkpoint is complete and holds the bytes that were written, by the checksums of its archive.

    Folders (sharded checkpoints) are not looked into, and files older than PyTorch 1.6 have no checksums.

    Args:
        path: a file of this machine.
        still_working: function that is called after every mebibyte, for a rank on which others wait.

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
            fault = _fault_of_archive(path, still_working)
        elif _OLD_FORMAT not in head:
            fault = f'is no checkpoint of PyTorch; it begins with {head[:8]!r}'
    except Exception as error:
        fault = f'is damaged ({error})'
    if fault:
        raise ValueError(f'{path} {fault}')


def _fault_of_archive(path: Path, still_working: Callable[[], object]) -> str | None:
    # The table of contents comes last.
    if not zipfile.is_zipfile(path):
        return f'was cut off after {path.stat().st_size} bytes'
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        if len(set(names)) < len(names):
            return 'is damaged (two of its parts have one name)'
        # PyTorch takes a part with this attribute for a folder, and leaves its tensor uninitialised.
        if any(part.external_attr & _FOLDER and not part.is_dir() for part in archive.infolist()):
            return 'is damaged (one of its parts is called a folder)'
        for name in names:
            try:
                with archive.open(name) as part:
                    while part.read(_MEBIBYTE):
                        still_working()
            except zipfile.BadZipFile:
                return f'is damaged (the checksum of its part {name} is another)'
        if not any(name.endswith('data.pkl') for name in names):
            return 'is no checkpoint of PyTorch; it is an archive without a data.pkl'
    # PyTorch's reader refuses headers that are of no interest to zipfile.
    reader = torch._C.PyTorchFileReader(str(path))
    for record in reader.get_all_records():
        reader.get_record_offset(record)
    return None


class KnownFunction:
    """Function that a pickle may call, and whose attributes it may not set."""

    def __init__(self, function: Any) -> None:
        self._function = function

    def __call__(self, *args: Any) -> Any:
        """Call the function."""
        return self._function(*args)

    def __setstate__(self, state: Any) -> None:
        raise pickle.UnpicklingError('it would change a function')


def _parameter_with_state(data: Tensor, requires_grad: bool, hooks: Any, state: dict[str, Any]) -> nn.Parameter:
    """Return a parameter with further attributes, none of which replaces one of its own."""
    parameter = torch._utils._rebuild_parameter(data, requires_grad, hooks)
    taken = [name for name in state if hasattr(parameter, name)]
    if taken:
        raise pickle.UnpicklingError(f'it would change {taken} of a parameter')
    vars(parameter).update(state)
    return parameter


class Placeholder:
    """Stand-in for an object of any other class, which ignores every call that a pickle makes on it."""

    # With an `__init__` of any arguments, `object.__new__` takes any too.
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        pass

    def _ignore(self, *args: Any) -> None:
        pass

    __setitem__ = __setstate__ = append = extend = add = _ignore


class _UntypedStorage(Placeholder):
    """Name of a class that a pickle may not call, because it accepts the address of an allocator."""


# The parts of tensors and plain containers; dtypes are found by their names below. torch.load itself knows storages of
# one dtype.
_KNOWN = {
    ('collections', 'OrderedDict'): OrderedDict,
    ('torch', 'Size'): torch.Size,
    ('torch', 'device'): torch.device,
    ('torch', 'UntypedStorage'): _UntypedStorage,
    ('torch.storage', 'UntypedStorage'): _UntypedStorage,
    ('torch._utils', '_rebuild_tensor'): KnownFunction(torch._utils._rebuild_tensor),
    ('torch._utils', '_rebuild_tensor_v2'): KnownFunction(torch._utils._rebuild_tensor_v2),
    ('torch._utils', '_rebuild_parameter'): KnownFunction(torch._utils._rebuild_parameter),
    ('torch._utils', '_rebuild_parameter_with_state'): KnownFunction(_parameter_with_state),
}
# for dtypes without such a storage, on later PyTorch than 2.1
if hasattr(torch._utils, '_rebuild_tensor_v3'):
    _KNOWN['torch._utils', '_rebuild_tensor_v3'] = KnownFunction(torch._utils._rebuild_tensor_v3)


class SafeUnpickler(pickle.Unpickler):
    """Unpickler for tensors and plain containers, which puts a `Placeholder` for all else and imports nothing."""

    def __setattr__(self, name: str, value: Any) -> None:
        if name == 'persistent_load':
            # torch.load's function for storages, which knows the class itself
            read = value

            def value(saved: tuple) -> Any:
                return read(tuple(torch.UntypedStorage if part is _UntypedStorage else part for part in saved))

        super().__setattr__(name, value)

    def find_class(self, module: str, name: str) -> Any:
        """Return what a name in a pickle stands for."""
        if (module, name) in _KNOWN:
            return _KNOWN[module, name]
        if module == 'torch':
            found = getattr(torch, name, None)
            if isinstance(found, torch.dtype):
                return found
        return self.find_other(module, name)

    def find_other(self, module: str, name: str) -> Any:
        """Return the stand-in for a class or function that is no part of tensors and plain containers."""
        return type(name, (Placeholder,), {'__module__': module})


def pickle_with(unpickler: type[pickle.Unpickler]) -> SimpleNamespace:
    """Return a stand-in for the module ``pickle`` that `torch.load` takes, with another unpickler."""

    # In the old format, which is no zip archive, torch.load calls `load` for the header.
    def load(file: Any, **options: Any) -> Any:
        return unpickler(file, **options).load()

    return SimpleNamespace(Unpickler=unpickler, load=load, __name__='pickle')


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
        if is_script(path):
            raise ValueError('it is a compiled model of TorchScript')
        loaded = _torch_load(path, map_location='cpu', pickle_module=pickle_with(SafeUnpickler), weights_only=False)
    # Unpickling raises errors of any type.
    except Exception as error:
        raise ValueError(f'{path} cannot be read as a checkpoint ({error}); use another checkpoint') from error
    if not isinstance(loaded, Mapping):
        raise ValueError(f'{path} holds a {type(loaded).__name__}; a checkpoint is a dict')
    return loaded


def is_script(source: Any) -> bool:
    """Return whether `torch.load` would hand a file to TorchScript, by the reader with which it decides."""
    if isinstance(source, str | os.PathLike):
        with open(source, 'rb') as file:
            return is_script(file)
    begin = source.tell()
    is_archive = source.read(4) == b'PK\x03\x04'
    source.seek(begin)
    found = is_archive and 'constants.pkl' in torch._C.PyTorchFileReader(source).get_all_records()
    source.seek(begin)
    return found


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
        raise ValueError(f'{checkpoint} does not fit {config}; give the config of its training ({error})') from error
    # The state of a loss is no weight of the model, so the loss of the training may be another one.
    wrong = [name for name in (*missing, *unknown) if '.loss_' not in name]
    if wrong:
        raise ValueError(
            f'{checkpoint} does not fit {config}: {len(wrong)} weight(s) are in only one of them, such as {wrong[0]}; '
            'give the config of its training'
        )
    return weights
