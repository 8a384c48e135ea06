"""Two processes that write one file or folder: one of them is refused, and the other's files are whole."""

import os
import signal
import subprocess
import sys

import pytest

from mmrecall.exclusive import new_folder, only_writer

HOLD = """
import sys
from mmrecall.exclusive import new_folder, only_writer
with getattr(sys.modules['mmrecall.exclusive'], sys.argv[1])(sys.argv[2]) as folder:
    if folder:
        (folder / 'file').touch()
    print('holds', flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(repository, tmp_path):
    """Start a process that holds the lock of the path ``data`` until its input ends."""
    started = []

    def start(kind):
        words = [sys.executable, '-c', HOLD, kind, str(tmp_path / 'data')]
        process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=repository, text=True)
        started.append(process)
        # The toolboxes print to it, too, when they are imported.
        assert 'holds\n' in iter(process.stdout.readline, '')
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()


@pytest.mark.parametrize(('kind', 'take'), [('only_writer', only_writer), ('new_folder', new_folder)])
def test_a_second_writer_is_refused_with_the_name_of_the_first(holder, tmp_path, kind, take):
    first = holder(kind)
    message = rf'data is being written by process {first.pid} on .*; wait until'
    with pytest.raises(BlockingIOError, match=message), take(tmp_path / 'data'):
        pass
    first.communicate()
    assert first.returncode == 0
    assert [path.name for path in tmp_path.rglob('*')] == (['data', 'file'] if kind == 'new_folder' else [])


def test_a_killed_writer_leaves_no_lock_and_its_rest_is_cleared_away(holder, tmp_path):
    first = holder('new_folder')
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    assert sorted(path.name for path in tmp_path.iterdir()) == ['data.lock', 'data.partial']
    with new_folder(tmp_path / 'data') as folder:
        assert not list(folder.iterdir())
    assert [path.name for path in tmp_path.iterdir()] == ['data']


def test_a_folder_that_another_process_has_filled_is_not_filled_again(tmp_path):
    (tmp_path / 'data').mkdir()
    with (
        pytest.raises(FileExistsError, match='data exists; remove it, or set another name'),
        new_folder(tmp_path / 'data'),
    ):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ['data']
