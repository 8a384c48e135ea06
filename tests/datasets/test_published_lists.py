"""Published lists, and the lists of the long-tailed sets of docs/data.md."""

import tarfile
from collections import Counter
from pathlib import Path

import pytest

pytest.importorskip('mmpretrain.datasets')
from mmpretrain.datasets import LoadImageFromFile

from mmrecall.datasets import INaturalist2018, LongTailList, PlacesLT, long_tailed_counts


@pytest.fixture(scope='module')
def unpack(tmp_path_factory):
    """Return a function that unpacks files of an archive in ../shared/data."""

    def unpack(archive, wanted):
        path = Path(__file__).parents[3] / 'shared' / 'data' / archive
        if not path.is_file():
            pytest.skip(f'{path} is not there')
        folder = tmp_path_factory.mktemp('unpacked')
        with tarfile.open(path) as file:
            file.extractall(folder, [member for member in file if wanted(member.name)])
        return folder

    return unpack


@pytest.fixture(scope='module')
def lists(unpack):
    return unpack('long-tail-lists.tar.gz', lambda name: True) / 'long-tail-lists'


@pytest.mark.parametrize(('split', 'size'), [('train', 62_500), ('val', 7_300), ('test', 36_500)])
def test_the_places_lt_lists_have_the_published_numbers(split, size, lists):
    data = PlacesLT(ann_file=f'Places_LT/Places_LT_{split}.txt', data_root=str(lists))
    assert len(data) == size
    counts = data.class_counts
    assert len(counts) == len(set(data.CLASSES)) == 365
    assert (data.CLASSES[0], data.CLASSES[8]) == ('airfield', 'apartment_building-outdoor')
    if split == 'train':
        assert (max(counts), min(counts)) == (4980, 5)
        assert Counter(data.shot_groups) == dict(many=131, medium=163, few=71)
    else:
        assert set(counts) == {size // 365}


def test_the_inaturalist_lists_have_the_published_numbers(lists):
    data = INaturalist2018(ann_file='iNaturalist18/iNaturalist18_val.txt', data_root=str(lists))
    assert len(data) == 24_426
    assert set(data.class_counts) == {3}
    assert len(data.class_counts) == len(set(data.CLASSES)) == 8142
    assert data.CLASSES[7291] == 'Plantae/7291'
    train = INaturalist2018(ann_file='iNaturalist18/iNaturalist18_train_first_lines.txt', data_root=str(lists))
    assert len(train) == sum(train.class_counts) == 6_500
    assert len(train.class_counts) == 8142


def test_cifar10_lt_is_read(unpack):
    root = unpack('cifar10-lt.tar', lambda name: name.endswith(('.txt', '/train/truck/4988.jpg'))) / 'cifar10-lt'
    data = LongTailList(ann_file='CIFAR10_LT_train.txt', data_root=str(root), pipeline=[LoadImageFromFile()])
    assert data.class_counts == long_tailed_counts(10, 5000, 100)
    assert len(data) == 12_406
    assert data.CLASSES[:2] == ('airplane', 'automobile')
    assert Counter(data.shot_groups) == dict(many=8, medium=2)
    assert data[len(data) - 1]['img'].shape == (32, 32, 3)
    test = LongTailList(ann_file='CIFAR10_LT_test.txt', data_root=str(root))
    assert test.CLASSES == data.CLASSES
    assert test.class_counts == [1000] * 10


def test_tiny_imagenet_lt_is_read(unpack):
    wanted = ('.txt', '/train/n02123394/n02123394_0.JPEG')
    root = unpack('tiny-imagenet-lt.tar', lambda name: name.endswith(wanted)) / 'tiny-imagenet-lt'
    options = dict(data_root=str(root), classes=str(root / 'classes.txt'), pipeline=[LoadImageFromFile()])
    data = LongTailList(ann_file='TinyImageNet_LT_train.txt', **options)
    assert data.class_counts == long_tailed_counts(200, 500, 100)
    assert len(data) == 21_549
    assert data.CLASSES[:2] == ('Persian cat', 'walking stick, walkingstick, stick insect')
    assert Counter(data.shot_groups) == dict(many=70, medium=70, few=60)
    assert data[0]['img'].shape == (64, 64, 3)
    val = LongTailList(ann_file='TinyImageNet_LT_val.txt', **options)
    assert val.class_counts == [50] * 200
