"""Commands as a user types them."""

import os
import socket
import subprocess
import sys


def run(*command, timeout=300, cwd=None, **environment):
    """Run a command with this interpreter as ``python``; its output, standard error included."""
    command = [sys.executable if word == 'python' else str(word) for word in command]
    bin_folder = os.path.dirname(sys.executable)
    finished = subprocess.run(
        command,
        cwd=cwd,
        env={**os.environ, 'PATH': f'{bin_folder}:{os.environ["PATH"]}', 'OMP_NUM_THREADS': '1', **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=timeout,
    )
    return finished.returncode, finished.stdout


def free_port():
    """A port that nothing listens on."""
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        return str(free.getsockname()[1])
