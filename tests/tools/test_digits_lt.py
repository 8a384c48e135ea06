"""Command-line behaviour of make_digits.py."""

import pytest
from commands import run

pytest.importorskip('sklearn')
pytest.importorskip('mmengine')

from mmrecall.cli import make_digits

TOOL = 'tools/demo/make_digits.py'


def test_the_folder_of_the_configs_is_written_once(repository, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    example = next(line for line in make_digits.__doc__.splitlines() if line.startswith('Example: '))
    command = example.removeprefix('Example: ')
    words = command.split()
    # where the configs look
    base = (repository / 'configs' / '_base_' / 'datasets' / 'digits_lt.py').read_text()
    assert f"data_root = '{words[-1]}'" in base
    assert command in base
    write = ['python', repository / TOOL, *words[2:]]
    status, output = run(*write)
    assert status == 0, output
    assert 'data/digits-lt: 385 training images of 10 classes, 133 to 3 each; 500 test images' in output
    assert {path.name for path in (tmp_path / 'data' / 'digits-lt').iterdir()} == {
        'train', 'train.txt', 'test', 'test.txt',
    }  # fmt: skip
    status, output = run(*write)
    assert status == 1
    assert 'data/digits-lt exists' in output
    assert 'Traceback' not in output


def test_a_tail_that_cannot_be_made_is_said_in_one_line(repository, tmp_path):
    status, output = run('python', repository / TOOL, '--out', tmp_path / 'digits', '--ratio', '200')
    assert status == 1
    assert 'got 133 images in the largest class' in output
    assert 'Traceback' not in output
    assert not (tmp_path / 'digits').exists()
