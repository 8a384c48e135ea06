"""Seconds and bytes of a call on a CPU or a GPU, by PyTorch alone."""

import ctypes
import os
import sys
import time
from collections.abc import Callable
from functools import cache
from typing import Any

import torch

Step = Callable[[], object]

MEMORY = ('fresh', 'reused')
# Options and values of glibc's mallopt.
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4
_DEFAULT_MMAPS, _NEVER = 65536, 2**31 - 1
# Bytes of a buffer that is too large for the cache of a GPU.
_COPIED = 2**28


def peak_bytes(step: Step, device: str = 'cpu') -> int:
    """Return the largest number of bytes that a call holds at a time beyond those held before.

    On a CPU these are PyTorch's allocations as its profiler records them, without NumPy's arrays; on a GPU those of
    PyTorch's allocator.

    Example:
        >>> tensor = torch.zeros(1000)
        >>> peak_bytes(tensor.clone)
        4000
    """
    return _gpu_peak(step) if device == 'cuda' else _cpu_peak(step)


def _cpu_peak(step: Step) -> int:
    # By default, the profiler prints a line at every call.
    os.environ.setdefault('KINETO_LOG_LEVEL', '9')
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        step()
    events = [event for event in profile.profiler.kineto_results.events() if event.name() == '[memory]']
    now = most = 0
    for event in events:
        now += event.nbytes()
        most = max(most, now)
    return most


def _gpu_peak(step: Step) -> int:
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    step()
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated() - before


def seconds_of(step: Step, device: str = 'cpu') -> float:
    """Return the duration of a call; on a GPU by CUDA events, so the time that it waits for the host counts."""
    if device == 'cuda':
        return _gpu_seconds(step)
    start = time.perf_counter()
    step()
    return time.perf_counter() - start


def _gpu_seconds(step: Step) -> float:
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    step()
    end.record()
    end.synchronize()
    return start.elapsed_time(end) / 1000


def copy_bandwidth(device: str, rounds: int) -> float:
    """Return the bytes per second, read and written, of the fastest of several copies of 256 MiB on the device."""
    source = torch.zeros(_COPIED, dtype=torch.uint8, device=device)
    copy = torch.empty_like(source)
    copy.copy_(source)
    return 2 * _COPIED / min(seconds_of(lambda: copy.copy_(source), device) for _ in range(rounds))


def roofline_seconds(logits_bytes: int, bandwidth: float, labels_bytes: int = 0) -> float:
    """Return the least time of a loss that reads logits and labels twice and writes the gradient once.

    The labels count where the logits are of a lower resolution; elsewhere they are a small part.

    Example:
        >>> roofline_seconds(80_000_000, bandwidth=2.4e12)
        0.0001
    """
    return (3 * logits_bytes + 2 * labels_bytes) / bandwidth


def set_memory(memory: str) -> None:
    """Set the memory of a CPU's large tensors: ``'fresh'``, mapped again, or ``'reused'``, kept by the allocator.

    A large tensor takes as long to allocate as to fill, unless its memory was never given back.

    Raises:
        ValueError: ``'reused'`` without the GNU C library.
    """
    library = _glibc()
    if library is None:
        if memory == 'reused':
            raise ValueError(
                "got --memory 'reused'; expected the GNU C library, which has that setting; set --memory fresh"
            )
        return
    library.mallopt(_M_MMAP_MAX, 0 if memory == 'reused' else _DEFAULT_MMAPS)
    if memory == 'reused':
        library.mallopt(_M_TRIM_THRESHOLD, _NEVER)


def release_memory() -> None:
    """Give free memory back, so that later allocations are fresh; do nothing without the GNU C library."""
    library = _glibc()
    if library is not None:
        library.malloc_trim(0)


@cache
def _glibc() -> Any:
    library = ctypes.CDLL(None) if sys.platform == 'linux' else None
    return library if hasattr(library, 'malloc_trim') and hasattr(library, 'mallopt') else None
