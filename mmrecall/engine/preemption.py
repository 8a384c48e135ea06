"""A signal that asks a training to save and end."""

import signal
import threading
from types import FrameType
from typing import Any

import torch
from mmengine.dist import all_reduce, get_world_size

# Windows has no such signal
STOP_SIGNAL = getattr(signal, 'SIGUSR1', None)
# EX_TEMPFAIL of sysexits.h: nothing is wrong, call again
STOPPED = 75


class PreemptionSignal:
    """Remembers that SIGUSR1 came, instead of being ended by it.

    Workers that are forked later remember it too, to no effect: Slurm signals every process of a step. Outside the main
    thread, where Python handles no signals, nothing is installed.
    """

    def __init__(self) -> None:
        self._came = False
        self._before: Any = None
        if STOP_SIGNAL and threading.current_thread() is threading.main_thread():
            self._before = signal.signal(STOP_SIGNAL, self._remember)

    def _remember(self, number: int, frame: FrameType | None) -> None:
        self._came = True
        # another library's
        if callable(self._before):
            self._before(number, frame)

    def came_to_any_rank(self) -> bool:
        """Whether it came to this rank or another; all ranks must ask in the same iteration."""
        if get_world_size() == 1:
            return self._came
        flag = torch.tensor(float(self._came))
        all_reduce(flag, 'max')
        return bool(flag)
