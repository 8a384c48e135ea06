"""Work that rank 0 alone does, while the other ranks wait for its result."""

import time
from collections.abc import Callable
from typing import TypeVar

import torch
from mmengine.dist import broadcast, broadcast_object_list, is_main_process

Result = TypeVar('Result')

_WORKING, _DONE, _FAILED = range(3)
# The pause is far below the half hour, or ten minutes with NCCL, after which a rank gives the others up.
_SECONDS = 5.0


def run_on_rank_zero(work: Callable[[Callable[[], None]], Result], what: str, seconds: float = _SECONDS) -> Result:
    """Call a function on rank 0 and return its result on all ranks, which may wait for hours without timing out.

    Args:
        work: the function. Its argument is a function to call again and again, which tells the other ranks every few
            seconds to go on waiting.
        what: the work in a few words, for the error on the other ranks.
        seconds: between two such messages.

    Raises:
        RuntimeError: on the other ranks, if the work raised on rank 0.
    """
    result = [_work(work, seconds) if is_main_process() else _wait(what)]
    broadcast_object_list(result)
    return result[0]


def _work(work: Callable[[Callable[[], None]], Result], seconds: float) -> Result:
    last = time.monotonic()

    def still_working() -> None:
        nonlocal last
        if time.monotonic() - last >= seconds:
            _broadcast_state(_WORKING)
            last = time.monotonic()

    try:
        result = work(still_working)
    except Exception:
        _broadcast_state(_FAILED)
        raise
    _broadcast_state(_DONE)
    return result


def _wait(what: str) -> None:
    state = _WORKING
    while state == _WORKING:
        state = _broadcast_state(_WORKING)
    if state == _FAILED:
        raise RuntimeError(f'{what} failed on rank 0; the error of rank 0 says why')


def _broadcast_state(state: int) -> int:
    """Return the state of rank 0, whatever the state that another rank passes."""
    flag = torch.tensor([state])
    broadcast(flag)
    return int(flag)
