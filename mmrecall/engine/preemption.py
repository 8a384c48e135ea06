"""The signal that asks a training to save and end, SIGUSR1."""

import signal
import threading
from types import FrameType
from typing import Any

import torch
from mmengine.dist import all_reduce, get_world_size

# Windows has no such signal.
_SIGNAL = getattr(signal, 'SIGUSR1', None)
# the exit status EX_TEMPFAIL of sysexits.h: there is no error, call again
STOPPED = 75


class PreemptionSignal:
    """Note of whether SIGUSR1 came to this process, which the signal does not end.

    Workers that are forked later keep such a note too, to no effect: Slurm signals every process of a step. Outside the
    main thread, where Python handles no signals, no handler is installed.
    """

    def __init__(self) -> None:
        self._came = False
        self._before: Any = None
        if _SIGNAL and threading.current_thread() is threading.main_thread():
            self._before = signal.signal(_SIGNAL, self._remember)

    def _remember(self, number: int, frame: FrameType | None) -> None:
        self._came = True
        # Another library may have installed a handler before.
        if callable(self._before):
            self._before(number, frame)

    def came_to_any_rank(self) -> bool:
        """Return whether the signal came to this rank or another; all ranks must ask in the same iteration."""
        if get_world_size() == 1:
            return self._came
        flag = torch.tensor(float(self._came))
        all_reduce(flag, 'max')
        return bool(flag)
