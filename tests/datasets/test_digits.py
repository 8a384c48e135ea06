import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

datasets = pytest.importorskip('sklearn.datasets')
from mmrecall.datasets import digits, long_tailed_counts  # noqa: E402


def files(folder):
    return {path.relative_to(folder): path.read_bytes() for path in sorted(folder.rglob('*')) if path.is_file()}


def read(folder, split):
    """Pixels and labels of a list."""
    pairs = [line.rsplit(' ', 1) for line in (folder / f'{split}.txt').read_text().splitlines()]
    images = np.stack([np.asarray(Image.open(folder / path)) for path, _ in pairs])
    return images, np.array([int(label) for _, label in pairs])


def test_the_seed_decides_the_bytes(tmp_path):
    for name, seed in (('a', 0), ('b', 0), ('c', 1)):
        digits.write_digits(tmp_path / name, seed=seed)
    first, second, other = (files(tmp_path / name) for name in 'abc')
    assert first == second
    assert first != other


def test_the_test_split_is_balanced_and_the_others_have_the_tail_of_the_package(tmp_path):
    counts = digits.write_digits(tmp_path / 'digits')
    assert sorted(counts, reverse=True) == long_tailed_counts(10, 133, 40)
    _, labels = read(tmp_path / 'digits', 'train')
    assert np.bincount(labels).tolist() == counts
    _, labels = read(tmp_path / 'digits', 'test')
    assert np.bincount(labels).tolist() == 10 * [50]


def test_a_tail_that_is_too_flat_for_the_smallest_class_is_refused(tmp_path):
    with pytest.raises(ValueError, match='the profile asks for 133'):
        digits.write_digits(tmp_path / 'digits', imbalance_ratio=1)
    assert not list(tmp_path.iterdir())


def test_images_are_scikit_learns_and_none_is_in_both_splits(tmp_path):
    digits.write_digits(tmp_path / 'digits')
    images, labels = datasets.load_digits(return_X_y=True)
    known = {image.astype(int).tobytes(): label for image, label in zip(images, labels, strict=True)}
    assert len(known) == 1797
    found = []
    for split in ('train', 'test'):
        pixels, given = read(tmp_path / 'digits', split)
        assert pixels.dtype == np.uint8
        assert pixels.shape[1:] == (8, 8)
        written = [np.rint(image.ravel().astype(int) * 16 / 255).astype(int).tobytes() for image in pixels]
        assert [known[image] for image in written] == given.tolist()
        found += written
    assert len(found) == len(set(found)) == 385 + 500


def test_lists_are_those_of_the_data_set_class(tmp_path):
    pytest.importorskip('mmpretrain')
    from mmrecall.datasets import LongTailList

    counts = digits.write_digits(tmp_path / 'digits')
    data = LongTailList(ann_file='train.txt', data_root=str(tmp_path / 'digits'))
    assert data.class_counts == counts
    assert list(data.metainfo['classes']) == list('0123456789')


def test_a_folder_is_complete_or_not_there(tmp_path, monkeypatch):
    root = tmp_path / 'digits'
    write = digits.write_long_tail

    def interrupted(dataset, out, *arguments, **options):
        if out.name == 'train.txt':
            raise KeyboardInterrupt
        return write(dataset, out, *arguments, **options)

    monkeypatch.setattr(digits, 'write_long_tail', interrupted)
    with pytest.raises(KeyboardInterrupt):
        digits.write_digits(root)
    assert not list(tmp_path.iterdir())
    monkeypatch.undo()
    # what a process that was killed leaves behind
    (tmp_path / 'digits.partial' / 'train').mkdir(parents=True)
    (tmp_path / 'digits.partial' / 'train' / 'stray.png').touch()
    digits.write_digits(root)
    assert list(tmp_path.iterdir()) == [root]
    assert not list(root.rglob('stray.png'))


def test_of_two_writers_one_is_refused_and_the_files_of_the_other_are_whole(tmp_path):
    def write(seed):
        try:
            return digits.write_digits(tmp_path / 'digits', seed=seed)
        except (BlockingIOError, FileExistsError):
            return None

    with ThreadPoolExecutor(2) as writers:
        counts = list(writers.map(write, (0, 1)))
    assert counts.count(None) == 1
    digits.write_digits(tmp_path / 'alone', seed=counts.index(None) ^ 1)
    assert files(tmp_path / 'digits') == files(tmp_path / 'alone')
    assert {path.name for path in tmp_path.iterdir()} == {'digits', 'alone'}


def test_a_folder_that_exists_is_not_touched(tmp_path):
    with pytest.raises(FileExistsError, match=f'{tmp_path} exists'):
        digits.write_digits(tmp_path)
    assert not list(tmp_path.iterdir())


def test_without_scikit_learn_it_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, 'sklearn.datasets', None)
    with pytest.raises(ImportError, match=r'scikit-learn.*run: pip install scikit-learn$'):
        digits.write_digits(tmp_path / 'digits')
