"""Work that one rank does for all."""

import time
from collections.abc import Callable
from typing import TypeVar

import torch
from mmengine.dist import broadcast, broadcast_object_list, is_main_process

Result = TypeVar('Result')

_WORKING, _DONE, _FAILED = range(3)
# far below the half hour, or ten minutes with NCCL, after which a rank gives the others up
_SECONDS = 5.0


def run_on_rank_zero(work: Callable[[Callable[[], None]], Result], what: str, seconds: float = _SECONDS) -> Result:
    """Do a work on rank 0 and give its result to all ranks, which may wait for hours without timing out.

    Args:
        work: gets a function that it must call again and again; every few seconds that tells the others to go on
            waiting.
        what: the work in a few words, for the error of the others.
        seconds: between two such messages.

    Raises:
        RuntimeError: on the other ranks, if the work raised on rank 0.
    """
    result = None
    if is_main_process():
        result = _work(work, seconds)
    else:
        _wait(what)
    box = [result]
    broadcast_object_list(box)
    return box[0]


def _work(work: Callable[[Callable[[], None]], Result], seconds: float) -> Result:
    last = time.monotonic()

    def still_working() -> None:
        nonlocal last
        if time.monotonic() - last >= seconds:
            _tell(_WORKING)
            last = time.monotonic()

    try:
        result = work(still_working)
    except Exception:
        _tell(_FAILED)
        raise
    _tell(_DONE)
    return result


def _wait(what: str) -> None:
    state = _WORKING
    while state == _WORKING:
        state = _tell(_WORKING)
    if state == _FAILED:
        raise RuntimeError(f'{what} failed on rank 0, which says why')


def _tell(state: int) -> int:
    """What rank 0 says; the other ranks hear it."""
    flag = torch.tensor([state])
    broadcast(flag)
    return int(flag)
