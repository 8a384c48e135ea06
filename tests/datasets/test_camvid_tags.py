"""Tags of CamVid's images, written as lists for mmpretrain."""

import json

import cv2
import numpy as np
import pytest
import synthetic_data
from commands import run

pytest.importorskip('mmseg.datasets')
pytest.importorskip('mmpretrain')

from mmpretrain.datasets import MultiLabelDataset

TOOL = 'tools/dataset_converters/camvid_tags.py'
SIZE = (20, 30)


def write_label(path, pixels):
    """Write a label of Road with so many pixels of other ids."""
    label = np.full(SIZE[0] * SIZE[1], 3, np.uint8)
    begin = 0
    for id, number in pixels.items():
        label[begin : begin + number] = id
        begin += number
    cv2.imwrite(str(path), label.reshape(SIZE))


def test_an_image_has_the_tags_of_the_classes_with_a_hundredth_of_its_pixels(tmp_path, repository):
    synthetic_data.camvid(tmp_path, frames=2, size=SIZE)
    labels = tmp_path / 'testannot'
    write_label(labels / '0000.png', {0: 6, 9: 5, 11: 100})
    write_label(labels / '0001.png', {9: 6, 10: 594})
    status, output = run('python', repository / TOOL, tmp_path)
    assert status == 0, output
    data = MultiLabelDataset(ann_file='test_tags.json', data_root=str(tmp_path))
    assert [data.get_data_info(index)['gt_label'] for index in range(2)] == [[0, 3], [9, 10]]
    assert data.get_data_info(1)['img_path'] == f'{tmp_path}/test/0001.jpg'
    assert data.CLASSES[9:] == ['Pedestrian', 'Bicyclist']
    # training, validation, test
    assert [line.split()[-1] for line in output.splitlines() if line.split()[:1] in (['Road'], ['Tree'])] == ['1', '0']
    everything = json.loads((tmp_path / 'train_tags.json').read_text())['data_list']
    assert [image['gt_label'] for image in everything] == [list(range(11))] * 2


def test_an_invalid_label_is_named_and_its_list_not_written(tmp_path, repository):
    synthetic_data.camvid(tmp_path, frames=2, size=SIZE)
    write_label(tmp_path / 'trainannot' / '0001.png', {12: 3})
    status, output = run('python', repository / TOOL, tmp_path)
    assert status == 1
    assert 'trainannot/0001.png' in output
    assert 'Traceback' not in output
    assert not (tmp_path / 'train_tags.json').exists()
