"""The lock of a work directory: one run at a time writes its checkpoints there."""

from __future__ import annotations

import atexit
import functools
import json
import os
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

from mmrecall.exclusive import BUSY, UNKNOWN, holds, lock_file, unlock_file

LOCK = 'training.lock'

_BOOT_ID = Path('/proc/sys/kernel/random/boot_id')


def lock_folder(folder: str | Path) -> None:
    """Lock a folder for this process, until `unlock_folder` or the end of the process.

    The kernel knows whether a process of this machine has the lock: a run that was killed here leaves it free.
    For other machines, the file ``training.lock`` names the process and the host that have it. A killed run leaves
    this file behind. Another host takes the lock over if Slurm has requeued that job as the new run, or if ``squeue``
    says that the job has ended; otherwise the new run is refused.

    Args:
        folder: is created if it is missing.

    Raises:
        RuntimeError: another run has the lock, or had it on another host; names it, and says what to do.
    """
    path = Path(folder, LOCK).resolve()
    if not holds(path):
        lock_file(path, json.dumps(_this_process()), functools.partial(_refusal, path))
        # An error of the training skips the hooks of its end.
        atexit.register(unlock_file, path)


def unlock_folder(folder: str | Path) -> None:
    """Give the lock of a folder back, if this process has it."""
    unlock_file(Path(folder, LOCK).resolve())


def _refusal(path: Path, answer: str, text: str) -> RuntimeError | None:
    """Return an error if another run has the lock, or may have it."""
    owner = _read(text)
    if answer == BUSY:
        reason = 'wait for its end, or set another work_dir'
    elif answer == UNKNOWN and _is_this_host(owner) and _lives(owner):
        reason = f'wait for its end, remove {path} if it has ended, or set another work_dir'
    elif not _is_over(owner):
        reason = (
            f'whether it still runs cannot be seen from {socket.gethostname()}; if it has ended, remove {path}, '
            'otherwise set another work_dir'
        )
    else:
        return None
    return RuntimeError(f'{path.parent} is in use by another run, {_name(owner)}; {reason}')


def _this_process() -> dict[str, Any]:
    return dict(
        host=socket.gethostname(),
        pid=os.getpid(),
        # of the machine since its start, which the containers on it share
        boot=_BOOT_ID.read_text().strip() if _BOOT_ID.is_file() else None,
        job=os.environ.get('SLURM_JOB_ID'),
        restart=int(os.environ.get('SLURM_RESTART_COUNT', 0)),
        since=time.strftime('%Y-%m-%d %H:%M:%S'),
    )


def _read(text: str) -> dict[str, Any]:
    """Return the owner that a lock names; none if it has ended, or was killed while it wrote."""
    try:
        owner = json.loads(text)
    except ValueError:
        return {}
    return owner if isinstance(owner, dict) else {}


def _is_over(owner: dict[str, Any]) -> bool:
    """Return whether a run that is not known to the kernel of this machine has ended for certain."""
    this = _this_process()
    # With another boot id, the host was started again.
    if not owner or owner.get('host') == this['host'] or (this['boot'] and owner.get('boot') == this['boot']):
        return True
    if owner.get('job') is None:
        return False
    # Slurm requeues a job when all of its processes have ended.
    if owner['job'] == this['job']:
        return bool(owner.get('restart', 0) < this['restart'])
    return _has_left_the_queue(owner['job'])


def _has_left_the_queue(job: str) -> bool:
    """Return whether Slurm says that a job has ended; False if it cannot be asked."""
    command = ['squeue', '--noheader', f'--jobs={job}', '--format=%T']
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return False
    if answer.returncode == 0:
        return not answer.stdout.strip()
    return 'Invalid job id' in answer.stderr


def _is_this_host(owner: dict[str, Any]) -> bool:
    """Return whether the owner is on this machine, since its last start, and another process than this."""
    this = _this_process()
    return (owner.get('host'), owner.get('boot')) == (this['host'], this['boot']) and owner.get('pid') != this['pid']


def _lives(owner: dict[str, Any]) -> bool:
    try:
        os.kill(owner['pid'], 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _name(owner: dict[str, Any]) -> str:
    if not owner:
        return 'which has just begun'
    job = f' (Slurm job {owner["job"]})' if owner.get('job') else ''
    return f'process {owner.get("pid")} on {owner.get("host")}{job} since {owner.get("since")}'
