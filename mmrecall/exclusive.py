"""Files and folders that only one process at a time writes."""

import os
import shutil
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from mmrecall.io import PARTIAL

# Windows has no such locks; there two processes are not kept apart.
try:
    import fcntl
except ImportError:
    fcntl = None  # type: ignore[assignment]

LOCKED, BUSY, UNKNOWN = 'locked', 'busy', 'unknown'

# the descriptors of the locks of this process
_held: dict[Path, int] = {}


def lock_file(path: Path, owner: str, refusal: Callable[[str, str], Exception | None]) -> None:
    """Lock a file for this process, until `unlock_file` or the end of the process, and write into it who has it.

    The kernel takes the lock from a process that ends, in whatever way, even if its forks live on (the workers of a
    data loader). A process that is killed leaves the file behind, without the lock.

    Args:
        path: the file, without symbolic links; it and its folder are created.
        owner: a text for other processes.
        refusal: function of ``'locked'`` (this process has the lock), ``'busy'`` (another has it) or ``'unknown'`` (a
            file system without locks) and of the text that the last owner has left. It returns an error to raise, or
            None to take the lock.

    Raises:
        Exception: the one that ``refusal`` returns.
    """
    if fcntl is None:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, answer = _open(path)
    error = refusal(answer, os.pread(descriptor, 10_000, 0).decode(errors='replace'))
    if error is not None:
        os.close(descriptor)
        raise error
    # On a full disk the lock is held without the text.
    with suppress(OSError):
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, owner.encode(), 0)
    _held[path] = descriptor


def holds(path: Path) -> bool:
    """Return whether this process has the lock of a file by `lock_file`."""
    return path in _held


def unlock_file(path: Path) -> None:
    """Remove a file and give its lock back, if this process has it."""
    if path in _held:
        # The file goes before the lock is released, so that no other process has the lock yet.
        path.unlink(missing_ok=True)
        os.close(_held.pop(path))


def _open(path: Path) -> tuple[int, str]:
    """Return a descriptor of the file, and whether it is now ``'locked'``, ``'busy'``, or that is ``'unknown'``."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            # A lock by `fcntl.lockf` would go when any code of this process has read the file.
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return descriptor, BUSY
        except OSError:
            # Some network file systems have no locks.
            return descriptor, UNKNOWN
        # The process that held the lock may have removed the file since it was opened.
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(descriptor), path.stat()):
                return descriptor, LOCKED
        os.close(descriptor)


def _forget_locks() -> None:
    """Close the locks that a fork has from its parent; the parent keeps them."""
    while _held:
        os.close(_held.popitem()[1])


if hasattr(os, 'register_at_fork'):
    os.register_at_fork(after_in_child=_forget_locks)


@contextmanager
def only_writer(path: str | os.PathLike) -> Iterator[None]:
    """Hold the lock ``PATH.lock`` during a block that writes ``PATH``, or files that belong to it.

    Raises:
        BlockingIOError: another process holds the lock; names it.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / 'list.txt'
        >>> with only_writer(path):
        ...     [file.name for file in path.parent.iterdir()]
        ['list.txt.lock']
        >>> list(path.parent.iterdir())
        []
    """
    path = Path(path)
    lock = path.with_name(f'{path.name}.lock').resolve()

    def refusal(answer: str, owner: str) -> Exception | None:
        if answer != BUSY:
            return None
        holder = owner or 'another process'
        return BlockingIOError(f'{path} is being written by {holder}; wait until it has ended, or set another name')

    lock_file(lock, f'process {os.getpid()} on {socket.gethostname()}', refusal)
    try:
        yield
    finally:
        unlock_file(lock)


@contextmanager
def new_folder(path: str | os.PathLike) -> Iterator[Path]:
    """Yield an empty folder to fill, which becomes ``path`` when it is complete and is removed if it never is.

    Raises:
        BlockingIOError: another process fills it.
        FileExistsError: ``path`` exists.
    """
    path = Path(path)
    partial = path.with_name(path.name + PARTIAL)
    with only_writer(path):
        if path.exists():
            raise FileExistsError(f'{path} exists; remove it, or set another name')
        # A process that was killed may have left the folder behind.
        shutil.rmtree(partial, ignore_errors=True)
        try:
            partial.mkdir()
            yield partial
            partial.rename(path)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
