"""Commands as a user types them."""

import atexit
import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

_ROOT = Path(__file__).parents[1]
# whatever comes with the toolboxes, the tests or the report
BEYOND_TORCH = (
    'mmengine', 'mmcv', 'mmseg', 'mmpretrain', 'mmdet', 'cv2', 'rich', 'yaml', 'addict', 'yapf', 'pandas', 'matplotlib',
    'scipy', 'sklearn', 'PIL', 'torchvision', 'termcolor', 'pytest', 'hypothesis',
)  # fmt: skip
_BLOCK = """
import sys
class FinderWithoutThem:
    def __init__(self, finder):
        self.finder = finder
    def __getattr__(self, name):
        return getattr(self.finder, name)
    def find_spec(self, name, path=None, target=None):
        return None if name.partition('.')[0] in {missing!r} else self.finder.find_spec(name, path, target)
sys.meta_path[:] = [FinderWithoutThem(finder) for finder in sys.meta_path]
"""


def run(*command, timeout=300, cwd=None, **environment):
    """Run a command with this interpreter as ``python``; its output, standard error included."""
    bin_folder = os.path.dirname(sys.executable)
    environment = {
        **os.environ,
        'PATH': f'{bin_folder}:{os.environ["PATH"]}',
        'OMP_NUM_THREADS': '1',
        **environment,
    }
    command = [str(word) for word in command]
    if command[0] == 'python' and command[1].endswith('.py'):
        return _SCRIPTS.run(command[1:], timeout, cwd, environment)
    finished = subprocess.run(
        [sys.executable, *command[1:]] if command[0] == 'python' else command,
        cwd=cwd,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=timeout,
    )
    return finished.returncode, finished.stdout


def python(code, *missing):
    """Run code in a Python without some packages."""
    status, output = run('python', '-c', _BLOCK.format(missing=set(missing)) + code)
    assert status == 0, f'status {status}: {output}'
    return output


class Scripts:
    """The process of script_server.py, which starts with the first script."""

    def __init__(self):
        self.server = None

    def run(self, words, timeout, folder, environment):
        """Exit status and output."""
        if self.server is None:
            self._start()
        with tempfile.NamedTemporaryFile('r', errors='replace') as output:
            folder = str(folder or Path.cwd())
            call = dict(words=words, output=output.name, folder=folder, environment=environment)
            try:
                self.server.stdin.write(json.dumps(call) + '\n')
                self.server.stdin.flush()
                if not select.select([self.server.stdout], [], [], timeout)[0]:
                    raise subprocess.TimeoutExpired(words, timeout, output.read())
                return int(self.server.stdout.readline()), output.read()
            except BaseException:
                self.stop()
                raise

    def _start(self):
        self.server = subprocess.Popen(
            [sys.executable, Path(__file__).with_name('script_server.py')],
            # PyTorch must not initialise CUDA, which forks cannot use then, to say whether it is there
            env={**os.environ, 'OMP_NUM_THREADS': '1', 'PYTORCH_NVML_BASED_CUDA_CHECK': '1'},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            # to be killed together with the script
            start_new_session=True,
        )

    def stop(self):
        """End it and what it runs; the next `run` starts it again."""
        if self.server is not None:
            os.killpg(self.server.pid, signal.SIGKILL)
            self.server.wait()
            self.server = None


_SCRIPTS = Scripts()
atexit.register(_SCRIPTS.stop)


def check_example(output, beginning):
    """Check that a help has an example that calls the command, with configs that are there."""
    found = re.search(r'^Example: (.*(?:\\\n.*)*)', output, re.MULTILINE)
    assert found, output
    assert beginning in found[1]
    for word in re.findall(r'configs/\S+', found[1]):
        status, listed = run('bash', '-O', 'failglob', '-c', f'ls -d {word}', cwd=_ROOT)
        assert status == 0, listed


def free_port():
    """A port that nothing listens on."""
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        return str(free.getsockname()[1])
