"""Files that are complete or not there."""

import errno
import os

import pytest

from mmrecall.io import atomic_write


def test_an_error_while_writing_leaves_the_old_file_and_nothing_beside_it(tmp_path):
    path = tmp_path / 'list.txt'
    path.write_text('old')
    with pytest.raises(TypeError), atomic_write(path) as partial:
        partial.write_text('half') + 'no number'
    assert path.read_text() == 'old'
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_is_named_with_the_file_and_what_to_do(tmp_path):
    path = tmp_path / 'list.txt'
    with pytest.raises(OSError, match=r'make room.*list\.txt') as caught, atomic_write(path):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert caught.value.errno == errno.ENOSPC


def test_a_folder_that_is_a_file_is_named(tmp_path):
    (tmp_path / 'folder').write_text('')
    with pytest.raises(OSError, match=r'folder/list\.txt'), atomic_write(tmp_path / 'folder' / 'list.txt'):
        pass


def test_two_writers_of_one_path_do_not_meet(tmp_path):
    path = tmp_path / 'list.txt'
    with atomic_write(path) as one, atomic_write(path) as other:
        one.write_text('one')
        other.write_text('the other')
    assert path.read_text() == 'one'
    assert list(tmp_path.iterdir()) == [path]


def test_an_error_of_another_file_stays_what_it_is(tmp_path):
    with pytest.raises(FileNotFoundError, match=r'No such file.*missing\.txt'), atomic_write(tmp_path / 'list.txt'):
        (tmp_path / 'missing.txt').read_text()
