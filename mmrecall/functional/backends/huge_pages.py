"""Large tensors in huge pages: to allocate a map by 4 KiB takes a third of the time of the step that fills it."""

import ctypes
import mmap
import sys
from functools import cache
from typing import Any

import torch
from torch import Tensor

# bytes below which the allocator may reuse memory of the process
_LARGE = 2**25


def empty_like_in_huge_pages(like: Tensor) -> Tensor:
    """Return ``torch.empty_like(like)`` and ask Linux to back a large tensor with huge pages.

    This is only a hint: without huge pages it has no effect. PyTorch does the same for all tensors if the environment
    has THP_MEM_ALLOC_ENABLE=1.
    """
    tensor = torch.empty_like(like)
    if tensor.device.type == 'cpu' and tensor.nbytes >= _LARGE:
        start = tensor.data_ptr()
        whole_pages = range(-(-start // mmap.PAGESIZE), (start + tensor.nbytes) // mmap.PAGESIZE)
        advise = _find_madvise()
        if advise is not None:
            advise(whole_pages.start * mmap.PAGESIZE, len(whole_pages) * mmap.PAGESIZE, mmap.MADV_HUGEPAGE)
    return tensor


@cache
def _find_madvise() -> Any:
    # Python may have been built without the constant
    if sys.platform != 'linux' or not hasattr(mmap, 'MADV_HUGEPAGE'):
        return None
    advise = ctypes.CDLL(None).madvise
    advise.argtypes = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int
    return advise
