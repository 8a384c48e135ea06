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


@pytest.mark.parametrize('mode', ['L', 'P', 'I;16'])
def test_grey_and_palette_files_hold_ids(mode, tmp_path):
    ids = np.array([[0, 1], [1, 0]], np.uint8)
    if mode == 'P':
        image = Image.fromarray(ids, 'P')
        image.putpalette([9, 9, 9, 200, 0, 0])
    else:
        image = Image.fromarray(ids.astype(np.uint8 if mode == 'L' else np.uint16))
    assert image.mode == mode
    image.save(tmp_path / 'label.png')
    found = LoadCheckedAnnotations(2)(item(tmp_path / 'label.png'))['gt_seg_map']
    np.testing.assert_array_equal(found, ids)


def load(image, path, num_classes=11, palette=(), **options):
    image.save(path)
    return LoadCheckedAnnotations(num_classes)(item(path, palette=palette, **options))['gt_seg_map']


def test_white_pixels_of_one_bit_are_refused_and_black_ones_are_zeros(tmp_path):
    path = tmp_path / 'label.png'
    assert not load(Image.new('1', (4, 3)), path).any()
    cv2.imwrite(str(path), np.eye(3, dtype=np.uint8) * 255, [cv2.IMWRITE_PNG_BILEVEL, 1])
    # two readers of the same file
    assert cv2.imread(str(path), cv2.IMREAD_UNCHANGED).max() == 255
    assert np.asarray(Image.open(path)).astype(np.uint8).max() == 1
    with pytest.raises(ValueError, match=rf'{path} has 1 bit per pixel; expected 8'):
        LoadCheckedAnnotations(2)(item(path))


CAMVID = CamVidDataset.METAINFO['palette']


def pascal_voc(index):
    """Return colour ``index`` of Pascal VOC: bits 0, 3, 6 of the index are the highest ones of red, and so on."""
    return [sum((index >> (3 * bit + channel) & 1) << (7 - bit) for bit in range(3)) for channel in range(3)]


@pytest.mark.parametrize(
    'colours',
    [
        [pascal_voc(index) for index in range(256)], [pascal_voc(index) for index in range(11)], CAMVID,
        [[index] * 3 for index in range(256)], [[20 * index] * 3 for index in range(11)],
        [[0, 0, 0], [255, 255, 255]], [[128, 0, 0]] * 11,
    ],
    ids=['VOC', 'beginning of VOC', 'the data set', 'identity', 'greys to look at', 'black and white', 'one colour'],
)  # fmt: skip
def test_the_index_of_a_palette_is_the_label(colours, tmp_path):
    ids = np.arange(min(len(colours), 11), dtype=np.uint8)[None]
    image = Image.fromarray(ids).convert('P')
    image.putpalette(np.ravel(colours).tolist())
    found = load(image, tmp_path / 'label.png', palette=CAMVID)
    np.testing.assert_array_equal(found, ids)


@pytest.mark.parametrize('ids', [[3, 7, 10], [0, 1, 255], [5, 0], [11, 0, 2]])
@pytest.mark.parametrize('kind', ['greys', 'colours'])
def test_a_palette_that_a_program_has_sorted_is_refused(kind, ids, tmp_path):
    array = np.repeat(np.array(ids, np.uint8), 9).reshape(-1, 9)
    if kind == 'colours':
        array = np.array([*CAMVID, *[[0, 0, 0]] * 245], np.uint8)[array]
    image = Image.fromarray(array).quantize(8)
    assert image.mode == 'P'
    with pytest.raises(
        ValueError,
        match=r'label\.png has a palette whose index \d, the label \d+, is \(.*, the colour of the label \d+;',
    ):
        load(image, tmp_path / 'label.png', palette=CAMVID, label_map={11: 255})


def test_labels_that_the_data_set_shifts_are_compared_after_it(tmp_path):
    image = Image.fromarray(np.arange(12, dtype=np.uint8)[None]).convert('P')
    image.putpalette([0, 0, 0, *np.ravel(CAMVID).tolist()])
    found = load(image, tmp_path / 'label.png', palette=CAMVID, reduce_zero_label=True)
    assert found.tolist() == [[255, *range(11)]]
    with pytest.raises(ValueError, match=r'index 1, the label 1, is \(128, 128, 128\), the colour of the label 0;'):
        load(image, tmp_path / 'label.png', palette=CAMVID, label_map={11: 255})


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
    'sorted palette': (
        lambda path: Image.fromarray(np.array(CAMVID, np.uint8)[LABEL % 11]).quantize(16).save(path),
        r'has a palette whose index \d+, the label \d+, is .*, the colour of the label',
    ),
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
    items = iter(DataLoader(camvid, batch_size=None, num_workers=1, collate_fn=lambda item: item))
    with pytest.raises(ValueError, match=r'(?s)worker process 0.*trainannot/b\.png is not an image'):
        list(items)
    # Garbage collection would wait five seconds for the worker.
    items._shutdown_workers()


def test_an_image_to_predict_has_no_label(camvid, tmp_path):
    pipeline = Compose(camvid.pipeline.transforms)
    assert 'gt_sem_seg' not in pipeline(dict(img_path=str(tmp_path / 'train' / 'a.jpg')))['data_samples']
    camvid = CamVidDataset(
        data_root=str(tmp_path), data_prefix=dict(img_path='train'), pipeline=camvid.pipeline.transforms
    )
    with pytest.raises(ValueError, match=r'train/a\.jpg has no label; set seg_map_path in data_prefix'):
        camvid[0]
