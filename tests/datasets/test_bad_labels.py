"""Labels that cannot be used, each in a file: the error names it."""

import cv2
import numpy as np
import pytest
from PIL import Image

pytest.importorskip('mmseg.datasets')
from mmengine.dataset import Compose
from mmseg.datasets.transforms import LoadAnnotations
from torch.utils.data import DataLoader

from mmrecall.datasets import CamVidDataset, LoadCheckedAnnotations

LABEL = np.arange(12, dtype=np.uint8).reshape(3, 4)


def item(path, label_map=None, reduce_zero_label=False, **others):
    return dict(
        seg_map_path=str(path), label_map=label_map, reduce_zero_label=reduce_zero_label, seg_fields=[], **others
    )


@pytest.mark.parametrize('reduce_zero_label', [False, True])
@pytest.mark.parametrize('label_map', [None, {11: 255}, {0: 3, 3: 0, 254: 1, 255: 2}])
def test_labels_are_those_that_mmseg_reads(label_map, reduce_zero_label, tmp_path):
    path = tmp_path / 'label.png'
    cv2.imwrite(str(path), np.arange(256, dtype=np.uint8).reshape(16, 16))
    expected = LoadAnnotations()(item(path, label_map, reduce_zero_label))['gt_seg_map']
    found = LoadCheckedAnnotations(255)(item(path, label_map, reduce_zero_label))
    np.testing.assert_array_equal(found['gt_seg_map'], expected)
    assert found['gt_seg_map'].dtype == np.uint8
    assert found['seg_fields'] == ['gt_seg_map']


@pytest.mark.parametrize('mode', ['L', 'P', '1', 'I;16'])
def test_grey_and_palette_files_hold_ids(mode, tmp_path):
    ids = np.array([[0, 1], [1, 0]], np.uint8)
    if mode == 'P':
        image = Image.fromarray(ids, 'P')
        image.putpalette([9, 9, 9, 200, 0, 0])
    else:
        image = Image.fromarray(ids.astype(dict(L=np.uint8).get(mode, np.uint16 if mode == 'I;16' else bool)))
    assert image.mode == mode
    image.save(tmp_path / 'label.png')
    found = LoadCheckedAnnotations(2)(item(tmp_path / 'label.png'))['gt_seg_map']
    np.testing.assert_array_equal(found, ids)


def truncate(path):
    path.write_bytes(path.read_bytes()[:-30])


BAD = {
    'truncated': (truncate, 'is not an image that can be read.*truncated.*fetch it again'),
    'empty': (lambda path: path.write_bytes(b''), 'is not an image that can be read'),
    'text': (lambda path: path.write_text('0 0 1\n'), 'is not an image that can be read'),
    'RGB': (lambda path: cv2.imwrite(str(path), np.zeros((3, 4, 3), np.uint8)), 'of mode RGB;.*not of colours'),
    'RGBA': (lambda path: cv2.imwrite(str(path), np.zeros((3, 4, 4), np.uint8)), 'a picture of mode RGBA'),
    'another size': (lambda path: cv2.imwrite(str(path), LABEL.T), r'has 3x4 pixels, but its image .*\.jpg has 4x3'),
    '16 bits': (lambda path: cv2.imwrite(str(path), LABEL.astype(np.uint16) + 256), 'the label 267; expected 0 to 255'),
    'id out of range': (
        lambda path: cv2.imwrite(str(path), LABEL + 1),
        r'has the label 12 \(1 pixels\), but classes are 0 to 10 and ignore_index is 255; correct the file',
    ),
}  # fmt: skip


@pytest.fixture
def camvid(tmp_path):
    for folder in ('train', 'trainannot'):
        (tmp_path / folder).mkdir()
    for name in 'ab':
        cv2.imwrite(str(tmp_path / 'train' / f'{name}.jpg'), np.zeros((3, 4, 3), np.uint8))
        cv2.imwrite(str(tmp_path / 'trainannot' / f'{name}.png'), LABEL)
    return CamVidDataset(
        data_root=str(tmp_path),
        data_prefix=dict(img_path='train', seg_map_path='trainannot'),
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(type='mmrecall.LoadCheckedAnnotations', num_classes=11),
            dict(type='mmseg.PackSegInputs'),
        ],
    )


@pytest.mark.parametrize('case', BAD)
def test_a_label_that_cannot_be_used_is_named_in_training(case, camvid, tmp_path):
    spoil, message = BAD[case]
    assert camvid[1]['data_samples'].gt_sem_seg.data.flatten().tolist() == [*range(11), 255]
    spoil(tmp_path / 'trainannot' / 'b.png')
    with pytest.raises(ValueError, match=rf'(?s)trainannot/b\.png.*{message}'):
        camvid[1]


def test_a_bad_label_is_named_from_a_worker_too(camvid, tmp_path):
    truncate(tmp_path / 'trainannot' / 'b.png')
    with pytest.raises(ValueError, match=r'(?s)worker process 0.*trainannot/b\.png is not an image'):
        list(DataLoader(camvid, batch_size=None, num_workers=1, collate_fn=lambda item: item))


def test_an_image_to_predict_has_no_label(camvid, tmp_path):
    pipeline = Compose(camvid.pipeline.transforms)
    assert 'gt_sem_seg' not in pipeline(dict(img_path=str(tmp_path / 'train' / 'a.jpg')))['data_samples']
    camvid = CamVidDataset(
        data_root=str(tmp_path), data_prefix=dict(img_path='train'), pipeline=camvid.pipeline.transforms
    )
    with pytest.raises(ValueError, match=r'train/a\.jpg has no label; set seg_map_path in data_prefix'):
        camvid[0]
