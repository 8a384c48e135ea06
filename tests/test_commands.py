"""A script that runs in a fork behaves as one that a shell has started."""

import signal

import pytest
from commands import run

SPAWNS = """
import multiprocessing, os, sys
def work(word):
    print(word, __name__, os.environ['WORD'], flush=True)
if __name__ == '__main__':
    process = multiprocessing.get_context('spawn').Process(target=work, args=sys.argv[1:])
    process.start()
    process.join()
    sys.exit(process.exitcode)
"""


def test_a_script_has_its_words_its_environment_and_processes_of_its_own(tmp_path):
    (tmp_path / 'script.py').write_text(SPAWNS)
    assert run('python', 'script.py', 'spawned', cwd=tmp_path, WORD='set') == (0, 'spawned __mp_main__ set\n')


def test_a_script_imports_what_lies_beside_it_and_nothing_of_the_tests(tmp_path):
    (tmp_path / 'beside.py').write_text('')
    (tmp_path / 'script.py').write_text('import beside, commands')
    status, output = run('python', tmp_path / 'script.py')
    assert status == 1
    assert output.endswith("ModuleNotFoundError: No module named 'commands'\n")


@pytest.mark.parametrize(
    ('ending', 'status', 'last_line'),
    [
        ('import sys; sys.exit("it is missing")', 1, 'it is missing'),
        ('raise ValueError("it is wrong")', 1, 'ValueError: it is wrong'),
        ('import atexit; atexit.register(print, "at the end")', 0, 'at the end'),
        ('import os; os.kill(os.getpid(), 15)', -signal.SIGTERM, 'first'),
    ],
)
def test_however_a_script_ends_its_status_and_its_output_are_there(ending, status, last_line, tmp_path):
    (tmp_path / 'script.py').write_text(f'print("first", flush=True)\n{ending}')
    found, output = run('python', tmp_path / 'script.py')
    assert found == status
    assert output.splitlines()[-1] == last_line
