"""The lock of a work directory: one run at a time writes its checkpoints there."""

from __future__ import annotations

import atexit
import errno
import json
import os
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

# Windows has no such locks, and a run there takes none.
try:
    import fcntl
except ImportError:
    fcntl = None  # type: ignore[assignment]

LOCK = 'training.lock'

_BUSY = (errno.EACCES, errno.EAGAIN)
_BOOT_ID = Path('/proc/sys/kernel/random/boot_id')

# the descriptors of the locks of this process; a fork does not have them
_held: dict[Path, int] = {}
if hasattr(os, 'register_at_fork'):
    os.register_at_fork(after_in_child=_held.clear)


def lock_folder(folder: str | Path) -> None:
    """Take the lock of a folder for this process, until `unlock_folder`, or the end of the process.

    The kernel knows whether a process of this machine holds it, so that a run that was killed leaves no lock behind.
    For other machines, the file ``training.lock`` says which process on which host does. It is left behind by a run
    that was killed, and cannot be checked from another host, but by a job that Slurm has requeued since.

    Args:
        folder: is created if it is missing.

    Raises:
        RuntimeError: another run has the lock, or had it on another host; names it, and says what to do.
    """
    path = Path(folder, LOCK).resolve()
    if path in _held or fcntl is None:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, answer = _open(path)
    owner = _read(descriptor)
    reason = None
    if answer == 'busy':
        reason = 'wait for its end, or set another work_dir'
    elif answer == 'unknown' and _is_this_host(owner) and _lives(owner):
        reason = f'wait for its end, remove {path} if it has ended, or set another work_dir'
    elif not _is_over(owner):
        reason = (
            f'whether it still runs cannot be seen from {socket.gethostname()}; if it has ended, remove {path}, '
            'otherwise set another work_dir'
        )
    if reason is not None:
        os.close(descriptor)
        raise RuntimeError(f'{path.parent} is in use by another run, {_name(owner)}; {reason}')
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, json.dumps(_this_process()).encode(), 0)
    _held[path] = descriptor
    # An error of the training skips the hooks of its end.
    atexit.register(unlock_folder, folder)


def unlock_folder(folder: str | Path) -> None:
    """Give the lock of a folder back, if this process has it."""
    path = Path(folder, LOCK).resolve()
    if path in _held:
        path.unlink(missing_ok=True)
        os.close(_held.pop(path))


def _open(path: Path) -> tuple[int, str]:
    """Return a descriptor of the file, and whether it is now ``'locked'``, ``'busy'``, or that is ``'unknown'``."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            # a lock of the process, which its data-loader workers do not inherit
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            # Some network file systems have no locks.
            return descriptor, 'busy' if error.errno in _BUSY else 'unknown'
        # The owner removes the file at its end, which may have been in between.
        try:
            if os.path.samestat(os.fstat(descriptor), path.stat()):
                return descriptor, 'locked'
        except FileNotFoundError:
            pass
        os.close(descriptor)


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


def _read(descriptor: int) -> dict[str, Any]:
    """Return what the owner has written; nothing if it has ended, or was killed while it wrote."""
    try:
        owner = json.loads(os.pread(descriptor, 10_000, 0))
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
