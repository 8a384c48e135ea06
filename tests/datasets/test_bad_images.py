"""Images that cannot be read, and folders without images: the error names the file or the folder."""

from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip('mmseg.datasets')
pytest.importorskip('mmpretrain.datasets')
from PIL import Image
from torch.utils.data import DataLoader

from mmrecall.datasets import CamVidDataset, LongTailList, SynthiaSequenceDataset
from mmrecall.datasets.image_files import ReadableImages, check_complete
from mmrecall.datasets.synthia import label_path

IMAGE = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 256, (64, 80, 3), np.uint8), (9, 9), 3)
PIPELINE = [dict(type='LoadImageFromFile')]


def write(path, image=IMAGE):
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), image)


def camvid(root, suffix, **options):
    for name in 'ab':
        write(root / 'train' / f'{name}{suffix}')
        write(root / 'trainannot' / f'{name}.png', np.zeros((64, 80), np.uint8))
    return open_camvid(root, **options)


def open_camvid(root, **options):
    prefix = dict(img_path='train', seg_map_path='trainannot')
    return CamVidDataset(data_root=str(root), data_prefix=prefix, pipeline=PIPELINE, **options)


def synthia(root, suffix):
    camera = root / 'S' / 'RGB' / 'Stereo_Left' / 'Omni_F'
    for name in 'ab':
        write(camera / f'{name}.png')
        write(label_path(camera / f'{name}.png'), np.zeros((64, 80, 3), np.uint16))
    (root / 'list.txt').write_text('S/RGB/Stereo_Left/Omni_F/a\nS/RGB/Stereo_Left/Omni_F/b\n')
    return SynthiaSequenceDataset('list.txt', data_root=str(root), data_prefix={}, pipeline=PIPELINE)


def long_tail(root, suffix):
    for name in 'ab':
        write(root / f'{name}{suffix}')
    (root / 'list.txt').write_text(f'a{suffix} 0\nb{suffix} 1\n')
    return LongTailList(ann_file='list.txt', data_root=str(root), pipeline=PIPELINE)


@pytest.mark.parametrize('remains', [0.0, 0.02, 0.5, 0.99])
@pytest.mark.parametrize(
    ('make', 'suffix'),
    [(camvid, '.jpg'), (camvid, '.png'), (synthia, '.png'), (long_tail, '.jpg'), (long_tail, '.png')],
)
def test_a_truncated_image_is_named(make, suffix, remains, tmp_path):
    data = make(tmp_path, suffix)
    assert data[1]['img'].shape == (64, 80, 3)
    path = Path(data.get_data_info(1)['img_path'])
    content = path.read_bytes()
    path.write_bytes(content[: int(remains * len(content))])
    assert data[0]['img'].shape == (64, 80, 3)
    with pytest.raises(ValueError, match=rf'{path} is not an image that can be read.*fetch it again'):
        data[1]


def test_a_truncated_image_is_named_from_a_worker_too(tmp_path):
    data = long_tail(tmp_path, '.jpg')
    path = tmp_path / 'b.jpg'
    path.write_bytes(path.read_bytes()[:-40])
    items = iter(DataLoader(data, batch_size=None, num_workers=1, collate_fn=lambda item: item))
    with pytest.raises(ValueError, match=r'(?s)worker process 0.*b\.jpg is not an image'):
        list(items)
    # Garbage collection would wait five seconds for the worker.
    items._shutdown_workers()


def test_what_is_behind_the_end_of_a_jpeg_does_no_harm(tmp_path):
    write(tmp_path / 'a.jpg')
    for padding in (b'\0', b'\xff\xd8 of another \xff\xda', b'\xff\xd9'):
        (tmp_path / 'padded.jpg').write_bytes((tmp_path / 'a.jpg').read_bytes() + padding)
        check_complete(str(tmp_path / 'padded.jpg'))


def encoded(image, *options):
    return bytearray(cv2.imencode('.jpg', image, options)[1].tobytes())


def with_hole(content, begin, size):
    begin = int(begin * len(content))
    content[begin : begin + size] = bytes(size)
    return content


@pytest.mark.parametrize('begin', [0.3, 0.6, 0.9])
@pytest.mark.parametrize('size', [128, 4096])
@pytest.mark.parametrize('make', [camvid, long_tail])
def test_a_jpeg_with_a_hole_of_zeros_is_named(make, size, begin, tmp_path):
    data = make(tmp_path, '.jpg')
    path = Path(data.get_data_info(1)['img_path'])
    noise = np.random.default_rng(0).integers(0, 256, (64, 80, 3), np.uint8)
    path.write_bytes(with_hole(encoded(noise, cv2.IMWRITE_JPEG_QUALITY, 100), begin, size))
    with pytest.raises(ValueError, match=rf'{path} is not an image that can be read \(a part of it is zeros.*fetch it'):
        data[1]


def test_zeros_that_an_encoder_writes_are_no_hole(tmp_path):
    even = np.full((1000, 1000, 3), 200, np.uint8)
    ramp = np.arange(0, 250, 0.25).astype(np.uint8)[None, :, None].repeat(1000, 0).repeat(3, 2)
    black = np.zeros((1000, 1000), np.uint8)
    for image in (even, ramp, black, black[..., None].repeat(3, 2)):
        for options in ((), (cv2.IMWRITE_JPEG_OPTIMIZE, 1), (cv2.IMWRITE_JPEG_PROGRESSIVE, 1)):
            (tmp_path / 'a.jpg').write_bytes(encoded(image, *options))
            check_complete(str(tmp_path / 'a.jpg'))
    optimised = encoded(even, cv2.IMWRITE_JPEG_OPTIMIZE, 1)
    assert bytes(128) in optimised
    # Behind the end, and in a segment of data about the picture.
    (tmp_path / 'a.jpg').write_bytes(encoded(IMAGE) + bytes(4096))
    check_complete(str(tmp_path / 'a.jpg'))
    plain = encoded(IMAGE)
    (tmp_path / 'a.jpg').write_bytes(plain[:2] + b'\xff\xe1\x10\x02' + bytes(4096) + plain[2:])
    check_complete(str(tmp_path / 'a.jpg'))


def turned(root, orientation, loader, *between):
    camvid(root, '.jpg')
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(IMAGE).save(root / 'train' / 'a.jpg', exif=exif)
    prefix = dict(img_path='train', seg_map_path='trainannot')
    pipeline = [loader, *between, dict(type='mmrecall.LoadCheckedAnnotations', num_classes=11)]
    return CamVidDataset(data_root=str(root), data_prefix=prefix, pipeline=pipeline)


@pytest.mark.parametrize('orientation', [2, 3, 6, 8])
@pytest.mark.parametrize('backend', ['cv2', 'pillow'])
def test_an_image_that_is_turned_away_from_its_label_is_named(orientation, backend, tmp_path):
    data = turned(tmp_path, orientation, dict(type='LoadImageFromFile', imdecode_backend=backend))
    with pytest.raises(
        ValueError, match=rf'train/a\.jpg has the EXIF orientation {orientation}, by which it is turned'
    ):
        data[0]
    assert data[1]['gt_seg_map'].shape == (64, 80)


def test_an_image_that_is_read_as_it_is_stored_fits_its_label(tmp_path):
    for orientation, loader in (
        (1, dict(type='LoadImageFromFile')),
        (3, dict(type='LoadImageFromFile', color_type='color_ignore_orientation')),
    ):
        data = turned(tmp_path / str(orientation), orientation, loader)
        assert data[0]['gt_seg_map'].shape == (64, 80)


def test_an_image_that_is_resized_before_its_label_is_read_is_judged_as_before(tmp_path):
    resize = dict(type='Resize', scale=(40, 32))
    ignoring = dict(type='LoadImageFromFile', color_type='color_ignore_orientation')
    assert turned(tmp_path / 'stored', 3, ignoring, resize)[0]['img'].shape == (32, 40, 3)
    with pytest.raises(ValueError, match='EXIF orientation 3'):
        turned(tmp_path / 'turned', 3, dict(type='LoadImageFromFile'), resize)[0]


class Bucket:
    """Data set on a storage backend whose paths are not files of this machine."""

    def get_data_info(self, index):
        return dict(img_path='bucket/image.jpg')

    def prepare_data(self, index):
        return 'image'


def test_a_path_of_a_storage_backend_is_left_to_it():
    class Images(ReadableImages, Bucket):
        pass

    assert Images().prepare_data(0) == 'image'


def test_an_error_of_the_pipeline_stays_what_it_is(tmp_path):
    data = camvid(tmp_path, '.jpg')
    data.pipeline.transforms.append(lambda results: results['no such key'])
    with pytest.raises(KeyError, match='no such key'):
        data[0]


def test_a_broken_link_is_a_missing_image(tmp_path):
    camvid(tmp_path, '.jpg')
    (tmp_path / 'train' / 'c.jpg').symlink_to('nowhere.jpg')
    with pytest.raises(FileNotFoundError, match=r'train/c\.jpg is missing: it is a link to nowhere\.jpg'):
        open_camvid(tmp_path)


def test_a_link_to_its_own_folder_is_named(tmp_path):
    camvid(tmp_path, '.jpg')
    inner = tmp_path / 'train' / 'inner'
    inner.mkdir()
    # two of them would be followed for ever
    for name in ('x', 'y'):
        (inner / name).symlink_to('..')
    with pytest.raises(ValueError, match=r'train/inner/x is a link to a folder that contains it, \.\.; remove it'):
        open_camvid(tmp_path)


def test_a_link_to_another_folder_is_followed(tmp_path):
    camvid(tmp_path / 'a', '.jpg')
    camvid(tmp_path / 'b', '.jpg')
    for folder in ('train', 'trainannot'):
        (tmp_path / 'a' / folder / 'more').symlink_to(tmp_path / 'b' / folder)
    assert len(open_camvid(tmp_path / 'a')) == 4


def test_an_empty_split_is_named_also_when_the_suffix_is_given(tmp_path):
    (tmp_path / 'train').mkdir()
    for options in ({}, dict(img_suffix='.png')):
        with pytest.raises(FileNotFoundError, match=r'/train holds no .*\.png'):
            open_camvid(tmp_path, **options)


def test_a_label_without_an_image_is_warned_of(tmp_path, monkeypatch):
    logged = []
    monkeypatch.setattr('mmrecall.datasets.camvid.print_log', lambda text, **options: logged.append(text))
    camvid(tmp_path, '.jpg')
    assert not logged
    (tmp_path / 'train' / 'b.jpg').unlink()
    assert len(open_camvid(tmp_path)) == 1
    assert logged[0].startswith(
        f'1 label(s) have no image in {tmp_path}/train, first {tmp_path}/trainannot/b.png; is the folder unpacked'
    )
