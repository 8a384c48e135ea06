"""Command-line behaviour of long_tail_list.py."""

import pytest
import synthetic_data
from commands import run

pytest.importorskip('mmpretrain')
from mmrecall.datasets import LongTailList

TOOL = 'tools/dataset_converters/long_tail_list.py'


@pytest.fixture
def config(tmp_path):
    """Write a config of mmpretrain for three folders of eight images."""
    synthetic_data.image_folder(tmp_path / 'flowers', classes=3, images=8, size=8)
    path = tmp_path / 'config.py'
    path.write_text(
        "train_dataloader = dict(dataset=dict(type='CustomDataset', data_root='flowers',\n"
        "    pipeline=[dict(type='LoadImageFromFile'), dict(type='PackInputs')]))\n"
    )
    return path


def test_a_folder_becomes_a_list_that_can_be_read_and_the_seed_decides(config, repository, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    texts = []
    for seed in (0, 1):
        name = f'flowers/lt{seed}.txt'
        status, output = run('python', repository / TOOL, config, '--out', name, '--ratio', '4', '--seed', seed)
        assert status == 0, output
        assert f'{name}: 14 images of 3 classes, 8 to 2 each' in output
        texts.append((tmp_path / name).read_text())
    assert texts[0] != texts[1]
    data = LongTailList(ann_file='lt1.txt', data_root=str(tmp_path / 'flowers'))
    assert data.class_counts == [8, 4, 2]
    assert all((tmp_path / 'flowers' / line.rsplit(' ', 1)[0]).is_file() for line in texts[0].splitlines())


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (['--ratio', '9'], 'got 8 images in the largest class and an imbalance ratio of 9.0; expected at least one'),
        (['--cfg-options', 'train_dataloader.dataset.data_root=nowhere'], 'nowhere'),
    ],
)
def test_what_cannot_be_made_is_said_in_one_line(options, message, config, repository, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    status, output = run('python', repository / TOOL, config, '--out', tmp_path / 'lt.txt', *options)
    assert status == 1
    assert message in output
    assert 'Traceback' not in output
    assert not (tmp_path / 'lt.txt').exists()


def test_a_config_without_training_set_is_named(repository, tmp_path):
    (tmp_path / 'config.py').write_text('x = 1\n')
    status, output = run('python', repository / TOOL, tmp_path / 'config.py', '--out', tmp_path / 'lt.txt')
    assert status == 1
    assert 'config.py has no train_dataloader' in output
    assert 'Traceback' not in output
