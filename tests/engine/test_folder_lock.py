"""One run at a time writes to a work directory."""

import errno
import fcntl
import json
import multiprocessing
import os
import signal
import socket
import time

import pytest

from mmrecall.engine.folder_lock import LOCK, lock_folder, unlock_folder

FORK = multiprocessing.get_context('fork')
HOST = socket.gethostname()


class Owner:
    """A process that has the lock of a folder until it is killed, and perhaps a worker that outlives it."""

    def __init__(self, folder, worker=False):
        here, there = FORK.Pipe()
        self.process = FORK.Process(target=self.run, args=(folder, there, worker))
        self.process.start()
        self.worker = here.recv()

    @staticmethod
    def run(folder, connection, worker):
        lock_folder(folder)
        child = os.fork() if worker else None
        if child != 0:
            connection.send(child)
        time.sleep(600)

    def kill(self):
        self.process.kill()
        self.process.join()


@pytest.fixture(autouse=True)
def given_back(tmp_path):
    yield
    unlock_folder(tmp_path)


def written(folder, **owner):
    """The lock that a process of another time or place has left."""
    (folder / LOCK).write_text(json.dumps(dict(host='node7', pid=42, boot='0-1', job=None, restart=0) | owner))


def test_the_run_that_has_the_lock_is_named_while_it_lives(tmp_path):
    owner = Owner(tmp_path)
    match = (
        rf'{tmp_path} is in use by another run, process {owner.process.pid} on {HOST} since .*; wait for its end, or'
    )
    with pytest.raises(RuntimeError, match=match):
        lock_folder(tmp_path)
    assert json.loads((tmp_path / LOCK).read_text())['pid'] == owner.process.pid
    owner.kill()
    lock_folder(tmp_path)


def test_a_killed_run_leaves_no_lock_though_its_workers_live_on(tmp_path):
    owner = Owner(tmp_path, worker=True)
    owner.kill()
    try:
        lock_folder(tmp_path)
    finally:
        os.kill(owner.worker, signal.SIGKILL)


def test_a_run_that_reads_its_lock_keeps_it(tmp_path):
    lock_folder(tmp_path)
    (tmp_path / LOCK).read_text()
    with FORK.Pool(1) as pool, pytest.raises(RuntimeError, match=f'in use by another run, process {os.getpid()} on'):
        pool.apply(lock_folder, (tmp_path,))


def test_a_run_is_refused_while_another_host_has_the_lock(tmp_path):
    written(tmp_path, job='17', since='2026-01-01 00:00:00')
    match = rf'process 42 on node7 \(Slurm job 17\) since 2026-01-01 00:00:00; .* cannot be seen from {HOST}; if it has'
    with pytest.raises(
        RuntimeError, match=match + rf' ended, remove {tmp_path}/{LOCK}, otherwise set another work_dir'
    ):
        lock_folder(tmp_path)
    (tmp_path / LOCK).unlink()
    lock_folder(tmp_path)


@pytest.mark.parametrize('restart', [0, 1])
def test_a_requeued_job_takes_the_lock_that_it_had_on_another_host(restart, tmp_path, monkeypatch):
    written(tmp_path, job='17', restart=0)
    monkeypatch.setenv('SLURM_JOB_ID', '17')
    monkeypatch.setenv('SLURM_RESTART_COUNT', str(restart))
    # another step of the same job may be running there
    if not restart:
        with pytest.raises(RuntimeError, match='Slurm job 17'):
            lock_folder(tmp_path)
    else:
        lock_folder(tmp_path)


@pytest.mark.parametrize(
    ('answer', 'is_over'),
    [('exit 0', True), ('echo "slurm_load_jobs error: Invalid job id specified" >&2; exit 1', True),
     ('echo RUNNING', False), ('exit 1', False)],
)  # fmt: skip
def test_a_job_that_has_left_the_queue_has_no_lock_on_another_host(answer, is_over, tmp_path, monkeypatch):
    (tmp_path / 'squeue').write_text(f'#!/bin/sh\n{answer}\n')
    (tmp_path / 'squeue').chmod(0o755)
    monkeypatch.setenv('PATH', f'{tmp_path}{os.pathsep}{os.environ["PATH"]}')
    written(tmp_path, job='17', restart=0)
    if is_over:
        lock_folder(tmp_path)
    else:
        with pytest.raises(RuntimeError, match='Slurm job 17'):
            lock_folder(tmp_path)


def test_a_lock_from_before_the_machine_was_started_again_is_over(tmp_path):
    written(tmp_path, host=HOST)
    lock_folder(tmp_path)


@pytest.mark.parametrize('content', ['', '{"host": "no', '[]'])
def test_a_lock_that_was_not_written_to_its_end_is_over(content, tmp_path):
    (tmp_path / LOCK).write_text(content)
    lock_folder(tmp_path)


def test_a_process_may_take_its_lock_again_and_leaves_no_file(tmp_path):
    lock_folder(tmp_path / 'new')
    lock_folder(tmp_path / 'new')
    unlock_folder(tmp_path / 'new')
    unlock_folder(tmp_path / 'new')
    assert not (tmp_path / 'new' / LOCK).exists()


def test_without_locks_of_the_file_system_the_process_is_looked_for(tmp_path, monkeypatch):
    def refuse(*arguments):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    owner = Owner(tmp_path)
    monkeypatch.setattr(fcntl, 'flock', refuse)
    with pytest.raises(RuntimeError, match='wait for its end'):
        lock_folder(tmp_path)
    owner.kill()
    lock_folder(tmp_path)
