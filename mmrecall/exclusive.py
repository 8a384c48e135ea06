"""Files and folders that only one process at a time writes."""

import errno
import os
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from mmrecall.io import PARTIAL

# File systems that know no locks; on them two processes are not kept apart.
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP)


@contextmanager
def only_writer(path: str | os.PathLike) -> Iterator[None]:
    """Hold the lock ``PATH.lock`` during a block that writes ``PATH``, or files that belong to it.

    The system takes the lock from a process that ends, in whatever way, so that none is left over.

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
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = path.with_name(f'{path.name}.lock')
    descriptor = _locked(lock, path)
    try:
        # For the message of another process; on a full disk the lock is held without it.
        with suppress(OSError):
            os.ftruncate(descriptor, 0)
            os.write(descriptor, f'process {os.getpid()} on {socket.gethostname()}'.encode())
        yield
    finally:
        # Before the lock goes, so that no other process has it yet.
        lock.unlink(missing_ok=True)
        os.close(descriptor)


def _locked(lock: Path, path: Path) -> int:
    """Return the descriptor of a lock file that this process has locked."""
    if os.name == 'posix':
        import fcntl
    while True:
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            if os.name == 'posix':
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.read(descriptor, 1000).decode(errors='replace') or 'another process'
            os.close(descriptor)
            raise BlockingIOError(
                f'{path} is being written by {holder}; wait until it has ended, or set another name'
            ) from error
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                os.close(descriptor)
                raise
        # The process that held the lock may have removed the file since it was opened.
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(descriptor), os.stat(lock)):
                return descriptor
        os.close(descriptor)


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
        # What a process that was killed has left.
        shutil.rmtree(partial, ignore_errors=True)
        try:
            partial.mkdir()
            yield partial
            partial.rename(path)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
