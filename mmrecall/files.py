"""Files that are complete or not there."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PARTIAL = '.partial'

_ADVICE = {
    errno.ENOSPC: 'make room',
    errno.EDQUOT: 'make room within your quota',
    errno.EROFS: 'choose a place that can be written to',
    errno.EACCES: 'choose a place that you may write to',
    errno.EPERM: 'choose a place that you may write to',
}


@contextmanager
def replacing(path: str | os.PathLike, flush: bool = True) -> Iterator[Path]:
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
        >>> with replacing(path) as partial:
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
