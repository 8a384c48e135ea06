"""CIFAR-10-LT and CIFAR-100-LT of small archives in the official layout."""

import os
import pickle

import numpy as np
import pytest

pytest.importorskip('mmpretrain')

from cifar_archives import taken_for_official, write_archive, write_pickle
from mmpretrain.datasets import CIFAR10, CIFAR100
from mmpretrain.registry import DATASETS

from mmrecall.datasets import CIFAR10LT, CIFAR100LT, count_labels, data_key, draw_long_tail

STOCK = {CIFAR10LT: CIFAR10, CIFAR100LT: CIFAR100}
IMAGES = 20


@pytest.fixture(scope='module')
def archives(tmp_path_factory):
    """Folder with both archives, and what was written into each."""
    root = tmp_path_factory.mktemp('archives')
    return root, {dataset: write_archive(root, dataset, IMAGES) for dataset in STOCK}


@pytest.fixture
def root(archives):
    with taken_for_official(archives[0]):
        yield str(archives[0])


def infos(data):
    return [data.get_data_info(index) for index in range(len(data))]


@pytest.mark.parametrize(
    ('dataset', 'images', 'total'), [(CIFAR10LT, 5000, 12406), (CIFAR100LT, 500, 10847)], ids=['10', '100']
)
def test_the_official_archives_give_the_published_counts(dataset, images, total, monkeypatch):
    classes = len(dataset.METAINFO['classes'])
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(classes), images))
    # the images are of no interest here: one pixel, seen as all of them
    pixels = np.broadcast_to(np.zeros(1, np.uint8), (len(labels), 1, 1, 3))
    monkeypatch.setattr('mmrecall.datasets.long_tailed_cifar.read_batches', lambda paths: (pixels, labels))
    monkeypatch.setattr(dataset, '_fetch', lambda self: None)
    data = dataset(data_root='data')
    # get_img_num_per_cls of Cao et al.'s imbalance_cifar.py, with their imb_factor
    expected = [int(images * 0.01 ** (label / (classes - 1.0))) for label in range(classes)]
    assert data.class_counts == expected
    assert len(data) == sum(expected) == total
    if classes == 10:
        assert expected == [5000, 2997, 1796, 1077, 645, 387, 232, 139, 83, 50]


@pytest.mark.parametrize('dataset', STOCK, ids=['10', '100'])
@pytest.mark.parametrize('split', ['train', 'test'])
def test_without_imbalance_it_is_mmpretrains_data_set(dataset, split, archives, root):
    ours = infos(dataset(data_root=root, split=split, imbalance_factor=1))
    with pytest.MonkeyPatch.context() as patch:
        for name in ('train_list', 'test_list'):
            patch.setattr(STOCK[dataset], name, getattr(dataset, name))
        stock = infos(STOCK[dataset](data_root=root, split=split, download=False))
    written, labels = archives[1][dataset][split]
    assert len(ours) == len(stock) == len(labels)
    for one, other, row, label in zip(ours, stock, written, labels.tolist(), strict=True):
        assert one['gt_label'] == other['gt_label'] == label
        np.testing.assert_array_equal(one['img'], other['img'])
        # red, green, blue in turn, each by rows
        np.testing.assert_array_equal(one['img'], row.reshape(3, 32, 32).transpose(1, 2, 0))


@pytest.mark.parametrize('dataset', STOCK, ids=['10', '100'])
@pytest.mark.parametrize('kind', ['exponential', 'step'])
def test_the_training_images_are_a_long_tail_and_all_test_images_stay(dataset, kind, archives, root):
    data = dataset(data_root=root, imbalance_factor=10, imbalance_type=kind)
    images, labels = archives[1][dataset]['train']
    chosen = draw_long_tail(labels, len(data.CLASSES), 10, kind)
    assert data.get_gt_labels().tolist() == labels[chosen].tolist()
    pixels = np.stack([info['img'] for info in infos(data)])
    np.testing.assert_array_equal(pixels, images[chosen].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1))
    counts = data.class_counts
    half = len(counts) // 2
    assert (counts[0], counts[-1]) == (IMAGES, IMAGES // 10)
    assert kind == 'exponential' or counts == [IMAGES] * half + [IMAGES // 10] * half
    test = dataset(data_root=root, split='test', imbalance_factor=10, imbalance_type=kind)
    assert test.class_counts == [IMAGES] * len(counts)


def test_the_seed_decides_which_images_are_kept(root):
    def kept(**options):
        return {info['img'].tobytes() for info in infos(CIFAR10LT(data_root=root, **options))}

    assert kept(imbalance_factor=10) == kept(imbalance_factor=10, seed=0) != kept(imbalance_factor=10, seed=1)
    assert kept(imbalance_factor=20) < kept(imbalance_factor=10)


def test_an_archive_of_python_3_is_read_as_well(tmp_path):
    written = write_archive(tmp_path, CIFAR10LT, pickler=pickle.Pickler)
    with taken_for_official(tmp_path):
        data = CIFAR10LT(data_root=str(tmp_path), imbalance_factor=1)
    assert data.get_gt_labels().tolist() == written['train'][1].tolist()


def test_losses_count_it_and_other_subsets_have_another_key(root):
    data = CIFAR10LT(data_root=root, imbalance_factor=10)
    found = count_labels(data)
    assert found.counts == data.class_counts
    assert found.classes[0] == 'airplane'
    assert data.shot_groups == ['medium', *['few'] * 9]
    assert data_key(data) == data_key(CIFAR10LT(data_root=root, imbalance_factor=10))
    assert data_key(data) != data_key(CIFAR10LT(data_root=root, imbalance_factor=20))


@pytest.mark.parametrize('name', ['CIFAR10LT', 'CIFAR100LT'])
def test_both_spellings_of_the_type_build_it(name, root):
    for spelling in (name, f'mmrecall.{name}'):
        data = DATASETS.build(dict(type=spelling, data_root=root, imbalance_factor=10))
        assert type(data).__name__ == name


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(imbalance_factor=0.01), r'got imbalance_factor=0\.01; expected at least 1'),
        (dict(imbalance_type='exp'), "got imbalance_type='exp'; expected one of 'exponential', 'step'"),
        (dict(imbalance_factor=21), 'got 20 images in the largest class and an imbalance ratio of 21'),
    ],
)
def test_options_that_make_no_sense_are_refused(options, message, root):
    with pytest.raises(ValueError, match=message):
        CIFAR10LT(data_root=root, **options)


def test_a_file_that_is_missing_or_not_the_official_one_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r'data_batch_1 is missing; unpack https://\S+cifar-10-python\.tar\.gz'):
        CIFAR10LT(data_root=str(tmp_path), download=False)
    write_archive(tmp_path, CIFAR10LT)
    with pytest.raises(ValueError, match='data_batch_1 has another MD5 sum than the file of https'):
        CIFAR10LT(data_root=str(tmp_path), download=False)


def test_a_download_that_fails_is_the_cause_of_the_error(tmp_path, monkeypatch):
    def offline(*args, **kwargs):
        raise OSError('no network')

    monkeypatch.setattr('mmrecall.datasets.long_tailed_cifar.download_and_extract_archive', offline)
    with pytest.raises(FileNotFoundError, match='data_batch_1 is missing') as caught:
        CIFAR10LT(data_root=str(tmp_path))
    assert str(caught.value.__cause__) == 'no network'


def load_without_network(rank, world_size, root):
    def offline(*args, **kwargs):
        raise OSError('no network')

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr('mmrecall.datasets.long_tailed_cifar.download_and_extract_archive', offline)
        try:
            CIFAR10LT(data_root=root)
        except FileNotFoundError as error:
            return str(error)


def test_all_ranks_raise_if_the_first_cannot_download(two_ranks, tmp_path):
    first, second = two_ranks.run(load_without_network, str(tmp_path))
    assert 'data_batch_1 is missing' in first
    assert first == second


def test_an_archive_that_is_missing_is_downloaded(tmp_path, monkeypatch):
    def fetched(url, root, filename, md5):
        assert url.endswith(filename)
        assert md5 == CIFAR10.tgz_md5
        write_archive(tmp_path / 'data', CIFAR10LT)

    write_archive(tmp_path / 'same', CIFAR10LT)
    monkeypatch.setattr('mmrecall.datasets.long_tailed_cifar.download_and_extract_archive', fetched)
    with taken_for_official(tmp_path / 'same'):
        assert len(CIFAR10LT(data_root=str(tmp_path / 'data'), imbalance_factor=1)) == 40


class Call:
    def __init__(self, command):
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


def test_code_in_a_file_is_refused_and_does_not_run(tmp_path):
    write_archive(tmp_path, CIFAR10LT)
    marker = tmp_path / 'ran'
    write_pickle(tmp_path / CIFAR10LT.base_folder / 'data_batch_3', dict(data=Call(f'touch {marker}')), pickle.Pickler)
    with (
        taken_for_official(tmp_path),
        pytest.raises(ValueError, match=r'data_batch_3 holds \w+\.system, which no'),
    ):
        CIFAR10LT(data_root=str(tmp_path))
    assert not marker.exists()


@pytest.mark.parametrize(
    'content',
    [
        [1, 2],
        dict(data=np.zeros((2, 3072), np.uint8)),
        dict(labels=[0, 1]),
        dict(labels=[0, 1], data=np.zeros((2, 3071), np.uint8)),
        dict(labels=[0, 1], data=np.zeros((2, 3072))),
        dict(labels=[0], data=np.zeros((2, 3072), np.uint8)),
    ],
    ids=['a list', 'no labels', 'no images', 'other sizes', 'floats', 'too few labels'],
)
def test_a_file_without_labelled_images_is_named(content, tmp_path):
    write_archive(tmp_path, CIFAR10LT)
    write_pickle(tmp_path / CIFAR10LT.base_folder / 'data_batch_2', content)
    with taken_for_official(tmp_path), pytest.raises(ValueError, match='data_batch_2 has no labelled images of 32x32'):
        CIFAR10LT(data_root=str(tmp_path))
