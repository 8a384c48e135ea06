"""Where a CPU's tensors come from: a large one is as slow to get as to fill, unless the memory was never given back."""

import ctypes
import sys
from functools import cache
from typing import Any

MEMORY = ('fresh', 'reused')
# of glibc's malloc.h
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4
_DEFAULT_MMAPS, _NEVER = 65536, 2**31 - 1


def set_memory(memory: str) -> None:
    """Let the allocator keep all memory that it ever had (``'reused'``), or map large tensors anew, as is its default.

    Raises:
        ValueError: ``'reused'`` without the GNU C library, which alone can be told.
    """
    library = _glibc()
    if library is None:
        if memory == 'reused':
            raise ValueError("--memory is 'reused', but only the allocator of the GNU C library can be told so")
        return
    library.mallopt(_M_MMAP_MAX, 0 if memory == 'reused' else _DEFAULT_MMAPS)
    if memory == 'reused':
        library.mallopt(_M_TRIM_THRESHOLD, _NEVER)


def release_memory() -> None:
    """Give free memory back, so that what is allocated next is fresh; without the GNU C library, nothing."""
    library = _glibc()
    if library is not None:
        library.malloc_trim(0)


@cache
def _glibc() -> Any:
    library = ctypes.CDLL(None) if sys.platform == 'linux' else None
    return library if hasattr(library, 'malloc_trim') and hasattr(library, 'mallopt') else None
