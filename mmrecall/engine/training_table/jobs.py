"""A queue of trainings over the GPUs, or the cores, of one machine."""

import os
import shlex
import signal
import subprocess
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import NamedTuple

import torch

from mmrecall.engine.folder_lock import lock_folder, unlock_folder
from mmrecall.engine.training_table.display import Display
from mmrecall.engine.training_table.runs import TableRun
from mmrecall.engine.training_table.work_dirs import has_checkpoints, is_finished

# seconds between two looks at the processes
_PAUSE = 0.1
# seconds in which a training may save and end when the table is ended
_GRACE = 20.0
_LAST_BYTES = 65_536
# signals that have a name; real-time signals have none
_SIGNALS = frozenset(signal.Signals)
# the folder that this package is imported from
_PACKAGES = Path(__file__).parents[3]
_THREADS = 'OMP_NUM_THREADS'
_GPUS = 'CUDA_VISIBLE_DEVICES'


class Outcome(NamedTuple):
    """Outcome of a table."""

    runs: int
    failures: list[tuple[TableRun, str]]
    """Runs that have failed, or that another process trains, each with the reason."""
    interrupted_by: int | None
    """The signal that has ended the table."""


class _Job(NamedTuple):
    """A training that has started."""

    run: TableRun
    process: subprocess.Popen
    slot: int
    log_begin: int
    """Position of its output in the log."""


def visible_gpus() -> list[str]:
    """Return the GPUs that PyTorch sees, by names for ``CUDA_VISIBLE_DEVICES``."""
    count = torch.cuda.device_count()
    names = os.environ.get(_GPUS)
    # PyTorch sees none behind the first that is not there.
    return (list(map(str, range(count))) if names is None else names.split(','))[:count]


def train_runs(runs: Sequence[TableRun], jobs: int, gpus: Sequence[str]) -> Outcome:
    """Train runs, each in a process of its own, several at a time; one that fails does not end the others.

    A run that is finished is skipped, one with checkpoints goes on from them, and one that another process trains is
    left to it. SIGINT, SIGTERM or SIGHUP asks all trainings to save a checkpoint and end; those that have not done so
    after 20 seconds, or when a second signal comes, are killed.

    Args:
        runs: runs of `plan_runs`.
        jobs: the most runs at a time.
        gpus: names of GPUs, over which the runs are spread evenly; without any, the runs share the cores.
    """
    queue = _Queue(runs, min(jobs, len(runs)), gpus)
    with _noted_signals() as signals, queue.display.shown():
        try:
            while (queue.waiting or queue.running) and not signals:
                if queue.waiting and queue.free:
                    queue.begin_next()
                else:
                    time.sleep(_PAUSE)
                    queue.collect_ended()
        finally:
            _end(queue.running, signals, queue.display)
    return Outcome(len(runs), queue.failures, signals[0] if signals else None)


class _Queue:
    """Runs that wait, and those that are trained now."""

    def __init__(self, runs: Sequence[TableRun], jobs: int, gpus: Sequence[str]) -> None:
        self.waiting, self.free = deque(runs), deque(range(jobs))
        self.running: list[_Job] = []
        self.failures: list[tuple[TableRun, str]] = []
        self.display = Display(len(runs))
        self._environments = [_environment(slot, jobs, gpus) for slot in self.free]

    def begin_next(self) -> None:
        """Start the next run, unless it is finished or cannot be started."""
        run = self.waiting.popleft()
        try:
            _check_free(run.work_dir)
            if is_finished(run.work_dir, run.settings):
                self.display.end(run.name, 'finished before')
                return
            self.running.append(_start(run, self.free[0], self._environments[self.free[0]]))
        except (OSError, RuntimeError) as error:
            self._fail(run, str(error))
            return
        self.free.popleft()
        self.display.begin(run.name, run.log)

    def collect_ended(self) -> None:
        """Take the trainings that have ended from those that run."""
        for job in [job for job in self.running if job.process.poll() is not None]:
            _kill([job])
            self.running.remove(job)
            self.free.append(job.slot)
            reason = _failure(job)
            if reason is None:
                self.display.end(job.run.name, 'done')
            else:
                self._fail(job.run, reason)

    def _fail(self, run: TableRun, reason: str) -> None:
        self.failures.append((run, reason))
        self.display.end(run.name, reason)


def _check_free(work_dir: Path) -> None:
    """Check that no other process trains in a work dir, as far as that can be seen.

    Raises:
        RuntimeError: one does; names it.
    """
    lock_folder(work_dir)
    unlock_folder(work_dir)


def _start(run: TableRun, slot: int, environment: Mapping[str, str]) -> _Job:
    # Without a checkpoint, the train tool of mmpretrain would forget the load_from that the run begins with.
    command = [*run.command, *(['--resume'] if has_checkpoints(run.work_dir) else [])]
    with run.log.open('ab') as log:
        log.write(f'{time.strftime("%Y-%m-%d %H:%M:%S")} {shlex.join(command)}\n'.encode(errors='surrogateescape'))
        log.flush()
        begin = log.tell()
        process = subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            # Ctrl-C is for the table, which ends the trainings; and their workers can be killed with them.
            start_new_session=True,
        )
    return _Job(run, process, slot, begin)


def _environment(slot: int, jobs: int, gpus: Sequence[str]) -> dict[str, str]:
    environment = dict(os.environ)
    # For an installed package this folder is site-packages, which must not come before the standard library.
    if (_PACKAGES / 'pyproject.toml').is_file():
        environment['PYTHONPATH'] = os.pathsep.join([str(_PACKAGES), *filter(None, [os.environ.get('PYTHONPATH')])])
    if gpus:
        environment[_GPUS] = gpus[slot % len(gpus)]
    else:
        environment.setdefault(_THREADS, str(max(1, _cores() // jobs)))
    return environment


def _cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1


def _failure(job: _Job) -> str | None:
    """Return why a training that has ended did not succeed, or None if it did."""
    status = job.process.returncode
    if status == 0:
        return None
    if status < 0:
        return f'killed by {signal.Signals(-status).name if -status in _SIGNALS else f"signal {-status}"}'
    try:
        with job.run.log.open('rb') as log:
            end = log.seek(0, os.SEEK_END)
            log.seek(max(job.log_begin, end - _LAST_BYTES))
            lines = log.read().decode(errors='replace').split('\n')
    # of a run whose folder was removed
    except OSError:
        lines = []
    return next((line.strip() for line in reversed(lines) if line.strip()), f'ended with status {status}')


@contextmanager
def _noted_signals() -> Iterator[list[int]]:
    """Yield a list to which the signals that would end this process are added, while the block runs.

    A handler that raised could do so between the start of a training and the note of it.
    """
    came: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        came.append(number)

    ending = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]
    # Under nohup, for one, SIGHUP is ignored.
    before = {number: signal.getsignal(number) for number in ending if signal.getsignal(number) != signal.SIG_IGN}
    for number in before:
        signal.signal(number, note)
    try:
        yield came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _end(running: Sequence[_Job], signals: Sequence[int], display: Display) -> None:
    """End trainings: ask them to save and end, then kill those that still run, and all workers."""
    try:
        for job in running:
            if job.process.poll() is None:
                job.process.send_signal(signal.SIGUSR1)
        # The terminal may be closed.
        with suppress(OSError):
            if running:
                display.say('The trainings save and end; a second signal (Ctrl-C) ends them at once')
        deadline = time.monotonic() + _GRACE
        while any(job.process.poll() is None for job in running):
            if time.monotonic() > deadline or len(signals) > 1:
                break
            time.sleep(_PAUSE)
    finally:
        _kill(running)


def _kill(jobs: Sequence[_Job]) -> None:
    """Kill all processes of trainings, including workers that are still running after their training has ended."""
    for job in jobs:
        # macOS raises PermissionError for a group whose processes have all ended.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(job.process.pid, signal.SIGKILL)
        job.process.wait()
