"""Files that are complete or not there."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from secrets import token_hex

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
    # The name is unique, so that two processes may write the same path.
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
    """Return an error of `write`, which does not name the file, with the path and what to do."""
    advice = _ADVICE.get(error.errno or 0)
    reason = error.strerror or str(error)
    return OSError(error.errno, f'cannot be written ({reason})' + (f'; {advice}' if advice else ''), str(path))
