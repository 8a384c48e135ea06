"""Commands on bad data and full disks: all failures are named, and no file is written partially."""

import json
import runpy
import sys

import cv2
import numpy as np
import pytest
import synthetic_data

pytest.importorskip('mmseg')
pytest.importorskip('mmpretrain')

STATISTICS = 'tools/analysis_tools/class_statistics.py'
SYNTHIA = 'tools/dataset_converters/synthia_lists.py'
LONG_TAIL = 'tools/dataset_converters/long_tail_list.py'
SCENES = 'tools/demo/make_street_scenes.py'
DIGITS = 'tools/demo/make_digits.py'
CAMVID = 'configs/deeplabv3/deeplabv3_r18w32-d16_1xb8-ce-1k_camvid-180x240.py'


@pytest.fixture
def tool(repository, monkeypatch, capsys):
    """Return a function that runs a command in this process and returns its exit message, None for success."""

    def call(name, *arguments):
        monkeypatch.setattr(sys, 'argv', [name, *map(str, arguments)])
        try:
            runpy.run_path(str(repository / name), run_name='__main__')
        except SystemExit as end:
            return end.code
        finally:
            capsys.readouterr()

    return call


def truncate(path):
    path.write_bytes(path.read_bytes()[:-40])


def names(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob('*') if not path.is_dir())


def test_all_bad_labels_are_named_and_no_counts_written(repository, tool, tmp_path):
    synthetic_data.camvid(tmp_path / 'camvid')
    labels = tmp_path / 'camvid' / 'trainannot'
    good = (labels / '0000.png').read_bytes()
    truncate(labels / '0000.png')
    cv2.imwrite(str(labels / '0001.png'), np.zeros((48, 64, 3), np.uint8))
    cv2.imwrite(str(labels / '0003.png'), np.full((48, 64), 12, np.uint8))
    out = tmp_path / 'out' / 'counts.json'
    command = (
        STATISTICS, repository / CAMVID, '--out', out, '--workers', '0',
        '--cfg-options', f'train_dataloader.dataset.data_root={tmp_path / "camvid"}',
    )  # fmt: skip
    lines = tool(*command).splitlines()
    assert lines[0] == 'the classes are not counted, 3 failures:'
    for line, message in zip(
        lines[1:], ('0000.png is not an image', '0001.png is a picture of mode RGB', '0003.png has the label 12'),
        strict=True,
    ):  # fmt: skip
        assert f'trainannot/{message}' in line
    assert not out.parent.exists()
    for name in ('0000', '0001', '0003'):
        (labels / f'{name}.png').write_bytes(good)
    assert tool(*command) is None
    assert json.loads(out.read_text())['num_images'] == 4


def test_everything_that_a_sequence_lacks_is_named_and_no_list_written(tool, tmp_path):
    synthetic_data.synthia(tmp_path, frames=10)
    before = {name: (tmp_path / f'{name}.txt').read_bytes() for name in ('train', 'val', 'test')}
    sequence = tmp_path / 'SYNTHIA-SEQS-05-SUMMER'
    image = sequence / 'RGB' / 'Stereo_Left' / 'Omni_F' / '000003.png'
    image.unlink()
    image.symlink_to('nowhere.png')
    label = sequence / 'GT' / 'LABELS' / 'Stereo_Left' / 'Omni_F' / '000007.png'
    label.rename(tmp_path / 'kept.png')
    (tmp_path / 'EMPTY' / 'RGB').mkdir(parents=True)
    message = tool(SYNTHIA, tmp_path)
    assert message.splitlines()[0] == f'{tmp_path} is not complete, 3 failures:'
    assert f'the image {image} is missing' in message
    assert f'the label {label} is missing' in message
    assert f'{tmp_path}/EMPTY has no images' in message
    assert {name: (tmp_path / f'{name}.txt').read_bytes() for name in before} == before
    (tmp_path / 'kept.png').rename(label)
    image.unlink()
    image.write_bytes(image.with_name('000004.png').read_bytes())
    (tmp_path / 'EMPTY' / 'RGB').rmdir()
    assert tool(SYNTHIA, tmp_path) is None
    assert (tmp_path / 'train.txt').read_bytes() != before['train']


def test_more_failures_than_a_screen_are_all_printed(tool, tmp_path):
    synthetic_data.synthia(tmp_path, frames=10)
    labels = tmp_path / 'SYNTHIA-SEQS-05-SUMMER' / 'GT' / 'LABELS' / 'Stereo_Left' / 'Omni_F'
    for label in labels.iterdir():
        label.unlink()
    assert tool(SYNTHIA, tmp_path).count(' is missing') == 30


@pytest.fixture
def flowers(tmp_path):
    """Write a config for images of which some cannot be listed."""
    synthetic_data.image_folder(tmp_path / 'flowers', classes=2, images=4, size=8)
    for number, name in enumerate(('a\nb', 'c\rd')):
        (tmp_path / 'flowers' / '1' / f'{number}.png').rename(tmp_path / 'flowers' / '1' / f'{name}.png')
    path = tmp_path / 'config.py'
    path.write_text(
        "default_scope = 'mmpretrain'\n"
        f"train_dataloader = dict(dataset=dict(type='CustomDataset', pipeline=[], data_root='{tmp_path}/flowers'))\n"
    )
    return path


def mend(folder):
    """Give the images names that can be listed."""
    for number, path in enumerate(folder.glob('1/*[\n\r]*')):
        path.rename(path.with_name(f'{number}.png'))


def test_every_path_that_cannot_stand_in_a_list_is_named(flowers, tool, tmp_path):
    message = tool(LONG_TAIL, flowers, '--out', tmp_path / 'lt.txt', '--ratio', '1')
    assert message.startswith('no list is written, 2 failures:\n')
    assert r'1/a\nb.png' in message
    assert r'1/c\rd.png' in message
    assert not list(tmp_path.glob('lt.txt*'))
    mend(tmp_path / 'flowers')
    assert tool(LONG_TAIL, flowers, '--out', tmp_path / 'lt.txt', '--ratio', '1') is None
    assert len((tmp_path / 'lt.txt').read_text().splitlines()) == 8


FULL = r'cannot be written (No space left on device); make room'


@pytest.fixture
def fill(monkeypatch):
    """Make the temporary file of an atomic write a link to /dev/full, where the disk is always full."""
    monkeypatch.setattr('mmrecall.io.files.token_hex', lambda number: 'one')
    return lambda path: path.with_name(f'{path.name}.one.partial').symlink_to('/dev/full')


def test_a_full_disk_leaves_the_old_lists(tool, fill, tmp_path):
    synthetic_data.synthia(tmp_path)
    before = names(tmp_path)
    old = (tmp_path / 'train.txt').read_bytes()
    fill(tmp_path / 'test.txt')
    message = tool(SYNTHIA, tmp_path, '--seed', '1')
    assert FULL in message
    assert 'test.txt' in message
    assert names(tmp_path) == before
    assert (tmp_path / 'train.txt').read_bytes() == old
    assert tool(SYNTHIA, tmp_path, '--seed', '1') is None
    assert (tmp_path / 'train.txt').read_bytes() != old


def test_a_full_disk_leaves_no_half_list_and_no_half_chart(flowers, tool, fill, tmp_path):
    fill(tmp_path / 'lt.txt')
    mend(tmp_path / 'flowers')
    message = tool(LONG_TAIL, flowers, '--out', tmp_path / 'lt.txt', '--ratio', '1')
    assert FULL in message
    assert not list(tmp_path.glob('lt.txt*'))
    fill(tmp_path / 'counts.png')
    message = tool(STATISTICS, flowers, '--out', tmp_path / 'counts.json', '--workers', '0')
    assert FULL in message
    assert 'counts.png' in message
    assert not list(tmp_path.glob('counts.png*'))


def test_what_cannot_be_a_folder_is_named_by_every_converter(flowers, tool, tmp_path):
    pytest.importorskip('sklearn')
    synthetic_data.synthia(tmp_path / 'synthia')
    (tmp_path / 'file').write_text('')
    inside = tmp_path / 'file' / 'new'
    mend(tmp_path / 'flowers')
    for name, *arguments in (
        (SYNTHIA, tmp_path / 'synthia', '--out', inside),
        (LONG_TAIL, flowers, '--out', inside, '--ratio', '1'),
        (SCENES, inside, '--frames', '1'),
        (DIGITS, '--out', inside),
        (STATISTICS, flowers, '--out', inside, '--workers', '0'),
    ):
        message = tool(name, *arguments)
        assert isinstance(message, str), name
        assert str(tmp_path / 'file') in message, (name, message)
