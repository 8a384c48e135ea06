"""Counts by image against loops over the files, and the file that keeps them."""

import os
import pickle

import cv2
import numpy as np
import pytest
from mmengine.dataset import ConcatDataset, RepeatDataset
from mmengine.logging import MMLogger
from test_label_counts import classification, segmentation, write_labels

from mmrecall.datasets import ImageCounts, count_images, count_labels
from mmrecall.datasets.image_counts import find_pixel_sources, read_or_count_images, rows_of_items


def loop(root, classes=3):
    """Return the pixels of every class in every file, (N, C)."""
    files = sorted((root / 'labels').iterdir())
    labels = [cv2.imread(str(path), cv2.IMREAD_UNCHANGED) for path in files]
    return np.array([[(label == number).sum() for number in range(classes)] for label in labels])


@pytest.mark.parametrize('num_workers', [0, 2])
def test_pixels_of_every_image_are_those_of_a_loop_over_the_files(num_workers, tmp_path):
    found = count_images(segmentation(write_labels(tmp_path, frames=9)), num_workers=num_workers)
    assert found.counts.dtype == np.int64
    np.testing.assert_array_equal(found.counts, loop(tmp_path))
    assert found.classes == ['a', 'b', 'c']


def test_the_images_of_a_data_set_add_up_to_its_class_counts(tmp_path):
    data = segmentation(write_labels(tmp_path))
    assert count_images(data).counts.sum(0).tolist() == count_labels(data).counts


WRAPPED = {
    'plain': lambda one, other: one,
    'repeat': lambda one, other: RepeatDataset(one, 3),
    'concat': lambda one, other: ConcatDataset([one, other], ignore_keys=['palette']),
}


@pytest.mark.parametrize('case', WRAPPED)
def test_every_item_of_a_wrapper_has_the_row_of_its_file(case, tmp_path):
    one, other = (
        segmentation(write_labels(tmp_path / str(seed), seed=seed, frames=frames)) for seed, frames in ((0, 5), (1, 3))
    )
    data = WRAPPED[case](one, other)
    found = count_images(data).counts[rows_of_items(find_pixel_sources(data))]
    labels = [cv2.imread(data.get_data_info(index)['seg_map_path'], 0) for index in range(len(data))]
    np.testing.assert_array_equal(found, [[(label == number).sum() for number in range(3)] for label in labels])


def test_images_with_one_label_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r'CustomDataset with a label per image.*ClassProbabilitySampler'):
        count_images(classification(tmp_path, [0, 1, 1]))


def test_counts_come_back_from_their_file(tmp_path):
    found = count_images(segmentation(write_labels(tmp_path)))
    assert found.key
    for one in (found, found._replace(key=None)):
        one.write(tmp_path / 'counts.npz')
        again = ImageCounts.read(tmp_path / 'counts.npz')
        np.testing.assert_array_equal(again.counts, one.counts)
        assert again._replace(counts=None) == one._replace(counts=None)


@pytest.fixture
def counted(tmp_path, monkeypatch):
    """A data set, the file of its counts, and a list that gets longer with each count."""
    root, calls = write_labels(tmp_path / 'data'), []

    def count(*arguments, **options):
        calls.append(1)
        return count_images(*arguments, **options)

    monkeypatch.setattr('mmrecall.datasets.image_counts.count_images', count)
    read_or_count_images(segmentation(root), tmp_path / 'counts.npz')
    assert calls == [1]
    return root, tmp_path / 'counts.npz', calls


def test_the_counts_in_a_file_are_not_counted_again(counted):
    root, file, calls = counted
    found = read_or_count_images(segmentation(root), file)
    np.testing.assert_array_equal(found.counts, loop(root))
    assert calls == [1]


def change_a_label(root):
    cv2.imwrite(str(root / 'labels' / '3.png'), np.full((20, 30), 2, np.uint8))
    return segmentation(root)


def remove_an_image(root):
    (root / 'images' / '3.jpg').unlink()
    (root / 'labels' / '3.png').unlink()
    return segmentation(root)


@pytest.mark.parametrize('change', [change_a_label, remove_an_image])
def test_counts_of_other_labels_are_counted_again_and_replace_the_file(change, counted, caplog):
    root, file, calls = counted
    MMLogger.get_instance('image counts').addHandler(caplog.handler)
    for _ in range(2):
        found = read_or_count_images(change(root) if calls == [1] else segmentation(root), file)
        np.testing.assert_array_equal(found.counts, loop(root))
        assert calls == [1, 1]
    assert 'holds the counts of other labels' in caplog.text


def test_labels_whose_changes_cannot_be_noticed_are_counted_every_time(counted, monkeypatch):
    root, file, calls = counted
    monkeypatch.setattr('mmrecall.datasets.image_counts.data_key', lambda *arguments, **options: None)
    for _ in range(2):
        read_or_count_images(segmentation(root), file)
    assert calls == [1, 1, 1]


def save(**arrays):
    return lambda path: np.savez(path, **arrays)


class Command:
    """Object whose pickle would make a folder."""

    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (self.folder,)


GOOD = dict(classes=np.array(['a']), counts=np.array([[5]]), key=np.array('k'))
BAD = {
    'empty': lambda path: path.write_bytes(b''),
    'text': lambda path: path.write_text('{"counts": [1]}'),
    'cut off': lambda path: (np.savez(path, **GOOD), path.write_bytes(path.read_bytes()[:-40])),
    'a part is missing': save(classes=GOOD['classes'], counts=GOOD['counts']),
    'one array': lambda path: np.save(path.open('wb'), GOOD['counts']),
    'negative': save(**dict(GOOD, counts=np.array([[-5]]))),
    'real': save(**dict(GOOD, counts=np.array([[5.0]]))),
    'other classes': save(**dict(GOOD, counts=np.array([[5, 6]]))),
    'totals': save(**dict(GOOD, counts=np.array([5]))),
    'pickle': lambda path: path.write_bytes(pickle.dumps(Command(str(path.parent / 'made')))),
    'array of objects': lambda path: np.savez(path, **dict(GOOD, key=np.array(Command(str(path.parent / 'made'))))),
}


@pytest.mark.parametrize('case', BAD)
def test_a_file_that_holds_no_counts_by_image_is_named_and_runs_nothing(case, tmp_path):
    path = tmp_path / 'counts.npz'
    BAD[case](path)
    with pytest.raises(ValueError, match=r'counts\.npz does not hold counts by image .*; remove it, or name another'):
        read_or_count_images(None, path)
    assert not (tmp_path / 'made').exists()


def test_any_flipped_bit_of_the_file_is_named_or_changes_nothing(tmp_path):
    path = tmp_path / 'counts.npz'
    found = ImageCounts(['a', 'b'], np.arange(20).reshape(10, 2), 'k' * 64)
    found.write(path)
    content, messages = path.read_bytes(), []
    rng = np.random.default_rng(0)
    for place, bit in zip(rng.integers(len(content), size=400), rng.integers(8, size=400), strict=True):
        damaged = bytearray(content)
        damaged[place] ^= 1 << bit
        path.write_bytes(damaged)
        try:
            again = ImageCounts.read(path)
        except ValueError as error:
            messages.append(str(error))
        else:
            np.testing.assert_array_equal(again.counts, found.counts)
            assert again._replace(counts=None) == found._replace(counts=None)
    assert all('counts.npz does not hold counts by image' in message for message in messages)
    assert len(messages) > 200
