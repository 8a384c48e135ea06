import errno
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip('mmseg.datasets')
from mmrecall.datasets.street_scenes import street_scene, write_street_scenes
from mmrecall.datasets.synthia import SYNTHIA_IDS, label_path

# shares of the pixels, in percent
RANGES = {
    'sky': (10, 25), 'building': (12, 30), 'road': (25, 40), 'sidewalk': (6, 16), 'vegetation': (8, 20),
    'lane marking': (1, 3.5), 'car': (1, 4), 'pole': (0.5, 1.6), 'fence': (0.2, 1),
    'pedestrian': (0.1, 0.4), 'traffic sign': (0.02, 0.15), 'traffic light': (0.02, 0.1), 'bicycle': (0.01, 0.1),
}  # fmt: skip


def files(folder):
    return {path.relative_to(folder): path.read_bytes() for path in sorted(folder.rglob('*')) if path.is_file()}


def test_the_same_seed_gives_the_same_bytes(tmp_path):
    first = files(write_street_scenes(tmp_path / 'a', 3, seed=7, progress=False))
    second = files(write_street_scenes(tmp_path / 'b', 3, seed=7, progress=False))
    other = files(write_street_scenes(tmp_path / 'c', 3, seed=8, progress=False))
    assert len(first) == 6
    assert first == second
    assert all(first[name] != other[name] for name in first)


def test_a_longer_sequence_begins_with_the_same_frames(tmp_path):
    short = files(write_street_scenes(tmp_path / 'a', 2, progress=False))
    long = files(write_street_scenes(tmp_path / 'b', 4, progress=False))
    assert short.items() <= long.items()


def test_class_shares_have_the_long_tail_that_is_stated():
    ids = np.concatenate([street_scene(np.random.default_rng((0, frame)))[1].ravel() for frame in range(300)])
    shares = 100 * np.bincount(ids, minlength=16) / len(ids)
    for name, (low, high) in RANGES.items():
        assert low < shares[SYNTHIA_IDS[name]] < high, (name, shares[SYNTHIA_IDS[name]])
    assert shares[[SYNTHIA_IDS[name] for name in ('void', 'reserved 13', 'reserved 14')]].sum() == 0


def test_files_are_synthias(tmp_path):
    folder = write_street_scenes(tmp_path, 1, size=(96, 64), progress=False)
    image_path = folder / 'RGB' / 'Stereo_Left' / 'Omni_F' / '000000.png'
    image, ids = street_scene(np.random.default_rng((0, 0)), (96, 64))
    np.testing.assert_array_equal(cv2.imread(str(image_path))[..., ::-1], image)
    label = cv2.imread(str(label_path(image_path)), cv2.IMREAD_UNCHANGED)
    assert label.dtype == np.uint16
    np.testing.assert_array_equal(label[..., 2], ids)


def test_a_sequence_that_exists_is_not_touched(tmp_path):
    before = files(write_street_scenes(tmp_path, 1, progress=False))
    with pytest.raises(FileExistsError, match='STREET-SCENES exists'):
        write_street_scenes(tmp_path, 2, progress=False)
    assert files(tmp_path / 'STREET-SCENES') == before


def test_an_interruption_leaves_nothing_half_written(tmp_path, monkeypatch):
    def interrupted(path, content):
        if path.name.startswith('000002.png'):
            raise KeyboardInterrupt
        path.touch()

    monkeypatch.setattr(Path, 'write_bytes', interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_street_scenes(tmp_path, 5, progress=False)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_an_error_and_leaves_nothing(tmp_path, monkeypatch):
    def full(path, content):
        path.touch()
        raise OSError(errno.ENOSPC, 'No space left on device')

    monkeypatch.setattr(Path, 'write_bytes', full)
    with pytest.raises(OSError, match=r'No space left on device\); make room.*000000\.png'):
        write_street_scenes(tmp_path, 5, progress=False)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ('options', 'message'), [(dict(num_frames=0), 'got num_frames=0'), (dict(num_frames=1, size=(20, 20)), '20x20')]
)
def test_bad_arguments_are_named(options, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        write_street_scenes(tmp_path, progress=False, **options)
