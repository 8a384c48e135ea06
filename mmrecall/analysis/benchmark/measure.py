"""Seconds and bytes of a call, on a CPU and on a GPU; PyTorch is all this needs."""

import time
from collections.abc import Callable

import torch

Step = Callable[[], object]

# bytes of the buffer that a GPU copies: more than any cache holds
_COPIED = 2**28


def peak_bytes(step: Step, device: str = 'cpu') -> int:
    """The most memory that a call holds at a time beyond what was there before, in bytes.

    On a CPU it is what PyTorch allocates, by the profiler's record of every allocation; NumPy's arrays do not count. On
    a GPU it is what PyTorch's allocator gives out.

    Example:
        >>> tensor = torch.zeros(1000)
        >>> peak_bytes(tensor.clone)
        4000
    """
    return _gpu_peak(step) if device == 'cuda' else _cpu_peak(step)


def _cpu_peak(step: Step) -> int:
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
    """How long a call takes; on a GPU by CUDA events, so the time for which the device waits for the host counts."""
    return _gpu_seconds(step) if device == 'cuda' else _cpu_seconds(step)


def _cpu_seconds(step: Step) -> float:
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
    """Bytes per second, read and written, of the fastest of several copies of 256 MiB within the device."""
    source = torch.zeros(_COPIED, dtype=torch.uint8, device=device)
    copy = torch.empty_like(source)
    copy.copy_(source)
    return 2 * _COPIED / min(seconds_of(lambda: copy.copy_(source), device) for _ in range(rounds))


def roofline_seconds(logits_bytes: int, bandwidth: float) -> float:
    """The least time of a loss that reads the logits twice and writes their gradient once.

    Example:
        >>> roofline_seconds(80_000_000, bandwidth=2.4e12)
        0.0001
    """
    return 3 * logits_bytes / bandwidth
