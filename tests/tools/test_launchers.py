"""The launchers of several ranks: what a signal to them does."""

import os
import shutil
import signal
import subprocess
import sys
import time

import pytest
from commands import free_port

# A rank in place of the tool: it says that it runs, and sleeps.
RANK = 'import os, time\nopen(f"rank_{os.environ[\'RANK\']}", "w").write(str(os.getpid()))\ntime.sleep(120)\n'


@pytest.fixture
def tools(repository, tmp_path):
    """The scripts in a folder with stand-ins for train.py and test.py."""
    folder = tmp_path / 'tools'
    folder.mkdir()
    for script in (repository / 'tools').glob('*.sh'):
        shutil.copy(script, folder)
    for name in ('train', 'test'):
        (folder / f'{name}.py').write_text(RANK)
    return folder


@pytest.mark.parametrize(('script', 'words'), [('dist_train', ['a.py', '2']), ('dist_test', ['a.py', 'a.pth', '2'])])
def test_sigterm_to_the_launcher_ends_every_rank(tools, tmp_path, script, words):
    launcher = _start(tools, tmp_path, script, *words, PYTHON=sys.executable)
    ranks = [_pid_in(tmp_path / f'rank_{rank}', launcher) for rank in (0, 1)]
    launcher.terminate()
    launcher.wait(60)
    assert not [pid for pid in ranks if _is_running(pid)]


@pytest.mark.parametrize('tool', ['train', 'test'])
def test_sigterm_to_the_foreground_scripts_reaches_srun(tools, tmp_path, tool):
    for name, script in (('sinfo', 'echo gpu:1'), ('srun', 'echo $$ > rank_0; exec sleep 120')):
        (tmp_path / name).write_text(f'#!/bin/sh\n{script}\n')
        (tmp_path / name).chmod(0o755)
    path = f'{tmp_path}:{os.environ["PATH"]}'
    launcher = _start(tools, tmp_path, f'slurm_{tool}', 'gpu', 'job', 'a.py', 'a.pth', PATH=path)
    srun = _pid_in(tmp_path / 'rank_0', launcher)
    launcher.terminate()
    launcher.wait(60)
    assert not _is_running(srun)


def _start(tools, folder, script, *words, **environment):
    return subprocess.Popen(
        ['bash', tools / f'{script}.sh', *words],
        cwd=folder,
        env={**os.environ, 'PORT': free_port(), 'OMP_NUM_THREADS': '1', **environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def _pid_in(file, launcher):
    while not (file.exists() and file.read_text()):
        assert launcher.poll() is None
        time.sleep(0.05)
    return int(file.read_text())


def _is_running(pid):
    """Whether a process is there; it is ended, so that a failed test leaves nothing behind."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True
