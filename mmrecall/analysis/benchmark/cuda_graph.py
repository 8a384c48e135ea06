"""GPU time without the host: replays of a CUDA graph that holds a whole step."""

from contextlib import suppress

import torch

from mmrecall.analysis.benchmark.measure import Step

# Bytes written before every replay; more than the L2 cache of a GPU holds.
_FLUSHED = 2**28
# Seconds that the replays of one step take at most, unless three take longer.
_LONGEST = 0.3
_FEWEST = 3


class CannotCaptureError(RuntimeError):
    """A step cannot be captured in a CUDA graph, because the host has a part in it."""


def graph_seconds(step: Step, replays: int) -> list[float]:
    """Return the seconds of every replay of a CUDA graph of the step, each after the L2 cache was flushed.

    A slow step is replayed less often, but at least three times.

    Raises:
        CannotCaptureError: the step waits for the host, or a capture of it fails.
    """
    graph = _capture(step)
    buffer = torch.empty(_FLUSHED, dtype=torch.uint8, device='cuda')
    first = _replay(graph, buffer)
    number = min(replays, max(_FEWEST, int(_LONGEST / max(first, 1e-9))))
    return [_replay(graph, buffer) for _ in range(number)]


def _capture(step: Step) -> torch.cuda.CUDAGraph:
    before, stream = torch.cuda.current_stream(), torch.cuda.Stream()
    stream.wait_stream(before)
    with torch.cuda.stream(stream):
        step()
        # A failed capture leaves traces in PyTorch's allocator, so a step that waits is found without one.
        _refuse_waiting(step)
    before.wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    try:
        with torch.cuda.graph(graph):
            step()
    except Exception as error:  # A step may fail in any way, and the end of the capture then fails too.
        _end_pool(graph)
        del graph
        # The context leaves its own stream current if the end of the capture fails.
        torch.cuda.set_stream(before)
        torch.cuda.synchronize()
        # The first error has the reason; the end of the capture only says that it is invalid.
        raise CannotCaptureError(_first_line(error.__context__ or error)) from error
    return graph


def _end_pool(graph: torch.cuda.CUDAGraph) -> None:
    """End what a failed capture has left open in the allocator, which else refuses to free memory from then on."""
    # Where the capture has ended it itself, or never began, this raises.
    with suppress(RuntimeError, AttributeError):
        torch._C._cuda_endAllocateToPool(torch.cuda.current_device(), graph.pool())


def _refuse_waiting(step: Step) -> None:
    before = torch.cuda.get_sync_debug_mode()
    torch.cuda.set_sync_debug_mode('error')
    try:
        step()
    except RuntimeError as error:
        if 'synchronizing' not in str(error):
            raise
        raise CannotCaptureError('waits for the host') from error
    finally:
        torch.cuda.set_sync_debug_mode(before)


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].strip()


def _replay(graph: torch.cuda.CUDAGraph, buffer: torch.Tensor) -> float:
    buffer.zero_()
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    graph.replay()
    end.record()
    end.synchronize()
    return start.elapsed_time(end) / 1000
