import random
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip('mmseg.datasets')
from commands import run

from mmrecall.datasets import LoadSynthiaAnnotations, SynthiaSequenceDataset
from mmrecall.datasets.synthia import SYNTHIA_IDS, find_cameras, label_path, split_frames, write_lists
from mmrecall.exclusive import only_writer

PIPELINE = [dict(type='mmseg.LoadImageFromFile'), dict(type='mmrecall.LoadSynthiaAnnotations')]


def write_frame(root, name='000000', label=None, sequence='SYNTHIA-SEQS-05-SUMMER', camera='Omni_F'):
    """Write a frame of SYNTHIA: 16-bit label, class id in the first channel, instance id in the second."""
    image = root / sequence / 'RGB' / 'Stereo_Left' / camera / f'{name}.png'
    for path in (image, label_path(image)):
        path.parent.mkdir(parents=True, exist_ok=True)
    if label is None:
        ids = np.arange(16, dtype=np.uint16).reshape(4, 4)
        label = np.dstack([np.zeros_like(ids), ids + 300, ids])  # as OpenCV orders them: blue, green, red
    cv2.imwrite(str(image), np.zeros((4, 4, 3), np.uint8))
    cv2.imwrite(str(label_path(image)), label)
    return image


def synthia(root, **options):
    (root / 'list.txt').write_text('SYNTHIA-SEQS-05-SUMMER/RGB/Stereo_Left/Omni_F/000000\n')
    return SynthiaSequenceDataset('list.txt', data_root=str(root), data_prefix={}, pipeline=PIPELINE, **options)


def test_a_label_is_found_where_synthia_puts_it():
    image = Path('S/RGB/Stereo_Right/Omni_B/000123.png')
    assert label_path(image).as_posix() == 'S/GT/LABELS/Stereo_Right/Omni_B/000123.png'


def test_thirteen_classes_are_read_from_the_first_channel_and_the_rest_is_ignored(tmp_path):
    write_frame(tmp_path)
    data = synthia(tmp_path)
    assert data[0]['gt_seg_map'].flatten().tolist() == [255, *range(12), 255, 255, 12]
    assert len(data.metainfo['classes']) == len(data.metainfo['palette']) == 13
    assert data.metainfo['classes'][9:] == ('pedestrian', 'bicycle', 'lane marking', 'traffic light')


def test_all_ids_are_the_authors_sixteen(tmp_path):
    write_frame(tmp_path)
    data = synthia(tmp_path, all_ids=True)
    assert data[0]['gt_seg_map'].flatten().tolist() == list(range(16))
    assert data.metainfo['classes'] == tuple(SYNTHIA_IDS)


def test_a_part_of_the_classes_leaves_the_others_out(tmp_path):
    write_frame(tmp_path)
    data = synthia(tmp_path, metainfo=dict(classes=('bicycle', 'road')))
    assert sorted(set(data[0]['gt_seg_map'].flatten())) == [0, 1, 255]
    assert data[0]['gt_seg_map'].flatten()[[11, 3]].tolist() == [0, 1]
    assert data.metainfo['palette'] == [[0, 128, 192], [128, 64, 128]]


BAD_LABELS = {
    '8-bit': (np.zeros((4, 4, 3), np.uint8), 'uint8 with 3 channel.*GT/COLOR'),
    'one channel': (np.zeros((4, 4), np.uint16), 'uint16 with 1 channel'),
    'another size': (np.zeros((4, 6, 3), np.uint16), r'6x4 pixels.*RGB.*000000\.png has 4x4'),
    'an id above 15': (np.full((4, 4, 3), 77, np.uint16), 'class id 77'),
}


@pytest.mark.parametrize('case', BAD_LABELS)
def test_a_label_that_is_not_synthias_is_named(case, tmp_path):
    label, message = BAD_LABELS[case]
    write_frame(tmp_path, label=label)
    with pytest.raises(ValueError, match=rf'GT.LABELS.Stereo_Left.Omni_F.000000\.png.*{message}'):
        synthia(tmp_path)[0]


@pytest.mark.parametrize('size', [0, 40])
def test_a_truncated_label_is_named(size, tmp_path):
    label = label_path(write_frame(tmp_path))
    label.write_bytes(label.read_bytes()[:size])
    with pytest.raises(ValueError, match=r'000000\.png is not an image'):
        synthia(tmp_path)[0]


def test_a_missing_label_is_named(tmp_path):
    label_path(write_frame(tmp_path)).unlink()
    with pytest.raises(FileNotFoundError, match=r'1 file.*GT.LABELS.*000000\.png'):
        synthia(tmp_path)


def test_a_missing_list_says_which_tool_writes_it(tmp_path):
    with pytest.raises(FileNotFoundError, match=r'none.txt is missing.*mmrecall synthia-lists'):
        SynthiaSequenceDataset('none.txt', data_root=str(tmp_path), data_prefix={})


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('S/RGB/L/F/0\r\nS/RGB/L/F/1\r\nS/RGB/L/F/0\r\n', 'lists S/RGB/L/F/0 in line 1 and line 3; remove one'),
        ('\n000000\n', r"line 2: got '000000'; expected <sequence>/RGB/<side>/<camera>/<frame>, without \.png"),
        (' \n', 'lists no frames'),
    ],
)
def test_a_line_that_is_no_frame_or_a_second_one_is_named(text, message, tmp_path):
    (tmp_path / 'bad.txt').write_bytes(text.encode())
    with pytest.raises(ValueError, match=rf'bad\.txt.*{message}'):
        SynthiaSequenceDataset('bad.txt', data_root=str(tmp_path), data_prefix={})


def test_the_random_split_of_eight_cameras_with_787_frames_has_the_papers_sizes():
    names = [f'{frame:06d}' for frame in range(787)]
    sizes = np.array([[len(part) for part in split_frames(names, seed=0)] for _ in range(8)]).sum(0)
    assert sizes.tolist() == [4400, 624, 1272]


@pytest.mark.parametrize('contiguous', [False, True])
def test_splits_are_the_same_on_shuffled_listings_and_share_nothing(contiguous):
    names = [f'{frame:06d}' for frame in range(330)]
    expected = split_frames(names, 3, contiguous)
    random.Random(1).shuffle(names)
    assert split_frames(names, 3, contiguous) == expected
    joined = [name for part in expected for name in part]
    assert len(joined) == len(set(joined))
    assert all(part == sorted(part) and part for part in expected)


def test_another_seed_draws_another_split():
    names = [f'{frame:06d}' for frame in range(100)]
    assert split_frames(names, 0) != split_frames(names, 1)


def test_lists_are_the_same_bytes_on_shuffled_directory_listings(tmp_path, monkeypatch):
    for frame in range(20):
        for camera in ('Omni_B', 'Omni_F', 'Omni_L'):
            write_frame(tmp_path, f'{frame:06d}', camera=camera)
    listing = Path.glob
    written = []
    for seed in (0, 1, 2):
        shuffle = random.Random(seed).sample

        def shuffled(self, pattern, shuffle=shuffle):
            found = list(listing(self, pattern))
            return iter(shuffle(found, len(found)))

        monkeypatch.setattr(Path, 'glob', shuffled)
        for contiguous in (False, True):
            out = tmp_path / f'lists-{seed}-{contiguous}'
            write_lists(tmp_path, out, contiguous=contiguous)
            written.append([(out / f'{split}.txt').read_bytes() for split in ('train', 'val', 'test')])
    assert written[0] == written[2] == written[4]
    assert written[1] == written[3] == written[5]
    assert written[0] != written[1]


def neighbours(parts):
    """Return the pairs of splits of which one has the frame after a frame of the other."""
    return [(a, b) for a in range(3) for b in range(3) if a != b and {f + 1 for f in parts[a]} & parts[b]]


@pytest.mark.parametrize('frames', [20, 49, 50, 331, 787])
def test_block_splits_share_no_neighbouring_frames(frames):
    names = [f'{i:06d}' for i in range(frames)]
    parts = [set(map(int, part)) for part in split_frames(names, contiguous=True)]
    assert neighbours(parts) == []
    # every block gives up at most three frames
    assert sum(map(len, parts)) >= frames - 3 * -(-frames // 50)
    assert neighbours([set(map(int, part)) for part in split_frames(names)]) != []


def test_no_camera_shows_another_a_moment_of_another_split(repository, tmp_path):
    for frame in range(40):
        for camera in ('Omni_B', 'Omni_F'):
            write_frame(tmp_path, f'{frame:06d}', camera=camera)
    tool = repository / 'tools' / 'dataset_converters' / 'synthia_lists.py'
    status, output = run('python', tool, tmp_path, '--contiguous')
    assert status == 0, output
    parts = []
    for split in ('train', 'val', 'test'):
        lines = (tmp_path / f'{split}.txt').read_text().split()
        parts.append({int(line[-6:]) for line in lines})
        assert len(lines) == 2 * len(parts[-1]) > 0
    assert neighbours(parts) == []


def test_cameras_with_different_frames_are_named(tmp_path):
    for frame in range(20):
        write_frame(tmp_path, f'{frame:06d}')
        if frame:
            write_frame(tmp_path, f'{frame:06d}', camera='Omni_B')
    with pytest.raises(ValueError, match=r'Omni_F and .*Omni_B differ in 1 frame.*000000\.png'):
        write_lists(tmp_path, tmp_path / 'lists')


def test_lists_that_another_process_writes_are_refused(tmp_path):
    for frame in range(10):
        write_frame(tmp_path, f'{frame:06d}')
    with only_writer(tmp_path / 'lists' / 'train.txt'), pytest.raises(BlockingIOError, match='is being written by'):
        write_lists(tmp_path, tmp_path / 'lists')
    assert not list((tmp_path / 'lists').iterdir())


def test_too_few_frames_for_a_split_are_named(tmp_path):
    for frame in range(9):
        write_frame(tmp_path, f'{frame:06d}')
    with pytest.raises(ValueError, match='leaves none for val; expected at least 10 frames per camera'):
        write_lists(tmp_path, tmp_path / 'lists')
    assert not (tmp_path / 'lists').exists()


def png(ids):
    """Encode a 16-bit RGB PNG without OpenCV, with ids in red and instances in green."""
    rows = b''.join(b'\0' + b''.join(struct.pack('>HHH', i, 300 + i, 0) for i in row) for row in ids)
    header = struct.pack('>IIBBBBB', len(ids[0]), len(ids), 16, 2, 0, 0, 0)

    def chunk(kind, data):
        return struct.pack('>I', len(data)) + kind + data + struct.pack('>I', zlib.crc32(kind + data))

    signature = b'\x89PNG\r\n\x1a\n'
    return signature + chunk(b'IHDR', header) + chunk(b'IDAT', zlib.compress(rows)) + chunk(b'IEND', b'')


def test_the_class_id_is_the_red_channel_of_the_file(tmp_path):
    label = label_path(write_frame(tmp_path))
    label.write_bytes(png([[1, 2, 3, 4], [5, 6, 7, 8], [9, 10, 11, 12], [15, 15, 0, 13]]))
    expected = [*range(12), 12, 12, 255, 255]
    assert synthia(tmp_path)[0]['gt_seg_map'].flatten().tolist() == expected


def test_the_converter_writes_lists_that_the_data_set_reads(repository, tmp_path):
    for frame in range(10):
        for camera in ('Omni_B', 'Omni_F'):
            write_frame(tmp_path, f'{frame:06d}', camera=camera)
    status, output = run('python', repository / 'tools' / 'dataset_converters' / 'synthia_lists.py', tmp_path)
    assert status == 0, output
    assert "{'train': 14, 'val': 2, 'test': 4}" in output
    data = SynthiaSequenceDataset('train.txt', data_root=str(tmp_path), data_prefix={}, pipeline=PIPELINE)
    assert len(data) == 14
    assert data[13]['gt_seg_map'].shape == (4, 4)


@pytest.mark.parametrize(
    ('break_it', 'message'),
    [
        (lambda root: None, 'holds no sequence'),
        (lambda root: (root / 'S' / 'RGB').mkdir(parents=True), r'S has no images; expected .*S/RGB'),
        (lambda root: label_path(write_frame(root)).unlink(), r'the label .*GT/LABELS.* is missing'),
    ],
)
def test_a_layout_that_is_not_synthias_says_what_is_missing(break_it, message, tmp_path):
    break_it(tmp_path)
    with pytest.raises(FileNotFoundError, match=message):
        write_lists(tmp_path, tmp_path / 'lists')
    assert not (tmp_path / 'lists').exists()


def test_sequences_can_be_chosen(tmp_path):
    write_frame(tmp_path, sequence='ONE')
    write_frame(tmp_path, sequence='TWO')
    assert [path.parts[-4] for path in find_cameras(tmp_path, ['TWO'])] == ['TWO']
    with pytest.raises(FileNotFoundError, match='THREE has no images'):
        find_cameras(tmp_path, ['THREE'])


def test_loader_needs_no_data_set(tmp_path):
    image = write_frame(tmp_path)
    results = dict(
        img_path=str(image), seg_map_path=str(label_path(image)), ori_shape=(4, 4), seg_fields=[],
        label_map=SynthiaSequenceDataset.get_label_map(),
    )  # fmt: skip
    results = LoadSynthiaAnnotations().transform(results)
    assert results['seg_fields'] == ['gt_seg_map']
    assert results['gt_seg_map'].dtype == np.uint8
