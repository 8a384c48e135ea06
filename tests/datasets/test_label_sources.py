"""Wrappers of data sets, labels of items, and the key of cached counts."""

import importlib.util
import linecache
import os
import shutil
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from mmcv.transforms import BaseTransform
from mmengine.dataset import BaseDataset, ClassBalancedDataset, ConcatDataset, RepeatDataset
from mmengine.logging import MMLogger
from mmengine.registry import TRANSFORMS
from test_label_counts import classification, segmentation, write_labels
from torch.utils.data import Subset

from mmrecall.datasets import count_labels, data_key
from mmrecall.datasets.label_sources import image_labels


class Flowers(BaseDataset):
    """Data set of images with the given labels."""

    METAINFO = dict(classes=('a', 'b', 'c'))

    def __init__(self, labels, **options):
        self.labels = labels
        super().__init__(**options)

    def load_data_list(self):
        return [dict(img_path=f'{i}.jpg', gt_label=label) for i, label in enumerate(self.labels)]

    def get_cat_ids(self, index):
        return [self.get_data_info(index)['gt_label']]


def met(dataset):
    """Return the counts of the items that a training loads, by get_data_info of the wrappers."""
    labels = [dataset.get_data_info(index)['gt_label'] for index in range(len(dataset))]
    return [labels.count(number) for number in range(3)]


ONE, OTHER = [0, 0, 0, 0, 0, 0, 1, 1, 2], [2, 0]
WRAPPED = {
    'repeat': lambda: RepeatDataset(Flowers(ONE), 3),
    'concat': lambda: ConcatDataset([Flowers(ONE), Flowers(OTHER)]),
    'class balanced': lambda: ClassBalancedDataset(Flowers(ONE), 0.9),
    'lazy': lambda: RepeatDataset(Flowers(ONE, lazy_init=True), 3, lazy_init=True),
    'subset': lambda: RepeatDataset(Flowers(ONE, indices=[8, 7, 0]), 2),
}


@pytest.mark.parametrize('case', WRAPPED)
def test_wrapped_data_are_counted_as_often_as_training_meets_them(case):
    counted = count_labels(WRAPPED[case]()).counts
    dataset = WRAPPED[case]()
    dataset.full_init()
    assert counted == met(dataset)
    assert counted != count_labels(Flowers(ONE)).counts


def test_wrappers_nest():
    inner = ClassBalancedDataset(Flowers(ONE), 0.9)
    nested = RepeatDataset.__new__(RepeatDataset)
    # of built data sets, mmengine wraps plain ones alone; of configs, any
    nested.dataset, nested.times, nested._metainfo, nested._fully_initialized = inner, 4, inner.metainfo, False
    nested.full_init()
    assert count_labels(nested).counts == met(nested) == [4 * number for number in met(inner)]


def test_a_repeated_file_is_read_once(tmp_path, monkeypatch):
    data = segmentation(write_labels(tmp_path, frames=2))
    reads = []
    loader = data.pipeline.transforms[1]
    read = type(loader).transform
    monkeypatch.setattr(type(loader), 'transform', lambda self, info: reads.append(1) or read(self, info))
    found = count_labels(RepeatDataset(data, 1000))
    assert len(reads) == 2
    assert found.num_images == 2000
    assert found.counts == [1000 * number for number in count_labels(data).counts]


def test_segmentation_data_that_are_joined_and_mixed_are_counted(tmp_path):
    one, other = (segmentation(write_labels(tmp_path / str(seed), seed=seed)) for seed in (0, 1))
    expected = (np.array(count_labels(one).counts) + count_labels(other).counts).tolist()
    joined = ConcatDataset([one, other], ignore_keys=['palette'])
    assert count_labels(joined).counts == expected
    mixed = pytest.importorskip('mmseg.datasets').MultiImageMixDataset(
        joined, [dict(type='mmseg.RandomMosaic', prob=1.0)]
    )
    assert count_labels(mixed).counts == expected


def test_a_fold_is_counted_alone(tmp_path):
    datasets = pytest.importorskip('mmpretrain.datasets')
    (tmp_path / 'list.txt').write_text(''.join(f'{i}.jpg {label}\n' for i, label in enumerate([0, 0, 1, 1, 2, 2])))
    options = dict(ann_file='list.txt', data_root=str(tmp_path), classes=['a', 'b', 'c'])
    fold = datasets.KFoldDataset(dict(type='CustomDataset', **options), fold=0, num_splits=3)
    assert count_labels(fold).counts == met(fold) == [0, 2, 2]


def test_the_loader_may_be_a_class_that_inherits_from_one(tmp_path):
    transforms = pytest.importorskip('mmseg.datasets.transforms')

    class Swapped(transforms.LoadAnnotations):
        def transform(self, results):
            results = super().transform(results)
            results['gt_seg_map'] = np.array([1, 0, 2])[np.minimum(results['gt_seg_map'], 2)].astype(np.int64)
            return results

    data = segmentation(write_labels(tmp_path, values=(0, 1, 2)))
    plain = count_labels(data).counts
    data.pipeline.transforms[1] = Swapped()
    assert count_labels(data).counts == [plain[1], plain[0], plain[2]]


@pytest.mark.parametrize(
    ('dataset', 'error', 'message'),
    [
        (lambda: Flowers([], serialize_data=False), ValueError, 'Flowers is empty'),
        (lambda: [1, 2], ValueError, 'got num_classes=None for a list'),
    ],
)
def test_what_cannot_be_counted_is_named(dataset, error, message):
    with pytest.raises(error, match=message):
        count_labels(dataset())


def test_data_without_labels_are_named(tmp_path):
    data = segmentation(write_labels(tmp_path))
    del data.pipeline.transforms[1]
    with pytest.raises(ValueError, match=r"Plain has neither a loader of annotations nor a 'gt_label'"):
        count_labels(data)


def key_of_a_new_one(root, ignore_index=None, **options):
    return data_key(segmentation(root, **options), ignore_index)


def test_the_key_of_the_same_files_is_the_same_also_after_a_count(tmp_path):
    data = segmentation(write_labels(tmp_path))
    before = data_key(data)
    count_labels(data)
    assert before == data_key(data) == key_of_a_new_one(tmp_path)


def test_the_key_changes_with_everything_that_counts_depend_on(tmp_path):
    write_labels(tmp_path, values=(0, 1, 2))
    keys = [
        key_of_a_new_one(tmp_path),
        key_of_a_new_one(tmp_path, reduce_zero_label=True),
        key_of_a_new_one(tmp_path, ignore_index=7),
        key_of_a_new_one(tmp_path, classes=('a', 'b', 'd')),
        key_of_a_new_one(tmp_path, classes=('b', 'a'), known=('a', 'b', 'c')),
        data_key(RepeatDataset(segmentation(tmp_path), 2)),
        data_key(segmentation(tmp_path, indices=5)),
    ]
    label = tmp_path / 'labels' / '3.png'
    os.utime(label, ns=(0, label.stat().st_mtime_ns + 1))
    keys.append(key_of_a_new_one(tmp_path))
    cv2.imwrite(str(label), np.zeros((9, 9), np.uint8))
    os.utime(label, ns=(0, 0))
    keys.append(key_of_a_new_one(tmp_path))
    data = segmentation(tmp_path)
    data.pipeline.transforms[1].imdecode_backend = 'cv2'
    keys.append(data_key(data))
    assert len(set(keys)) == len(keys)


def test_the_key_of_images_is_that_of_their_labels(tmp_path):
    for folder in ('a', 'b'):
        (tmp_path / folder).mkdir()
    keys = [
        data_key(classification(tmp_path / folder, labels))
        for folder, labels in (('a', [0, 1]), ('b', [0, 1]), ('a', [1, 0]), ('a', [0, 1, 1]))
    ]
    assert keys[0] == keys[1]
    assert len(set(keys)) == 3


def test_labels_elsewhere_have_no_key(tmp_path, monkeypatch):
    data = segmentation(write_labels(tmp_path), serialize_data=False)
    data.data_list[2]['seg_map_path'] = 's3://bucket/labels/2.png'
    assert data_key(data) is None


def data_in_lmdb(root, **options):
    """Return a data set of mmseg whose labels are in an LMDB, and the counts of the files that were put there."""
    lmdb = pytest.importorskip('lmdb')
    expected = count_labels(segmentation(write_labels(root))).counts
    files = sorted((root / 'labels').iterdir())
    with lmdb.open(str(root / 'labels.lmdb')) as database, database.begin(write=True) as transaction:
        for file in files:
            transaction.put(str(file).encode(), file.read_bytes())
    (root / 'list.txt').write_text(''.join(f'{file.stem}\n' for file in files))
    data = segmentation(root, ann_file='list.txt')
    backend_args = dict(backend='lmdb', db_path=str(root / 'labels.lmdb'))
    loader = dict(type='mmseg.LoadAnnotations', backend_args=backend_args, **options)
    data.pipeline.transforms[1] = TRANSFORMS.build(loader)
    return data, expected


@pytest.mark.parametrize('num_workers', [0, 2])
@pytest.mark.parametrize('imdecode_backend', ['pillow', 'cv2'])
def test_labels_in_an_lmdb_are_counted(imdecode_backend, num_workers, tmp_path):
    data, expected = data_in_lmdb(tmp_path, imdecode_backend=imdecode_backend)
    shutil.rmtree(tmp_path / 'labels')
    assert count_labels(data, num_workers=num_workers).counts == expected


def test_labels_in_an_lmdb_have_no_key_though_their_files_are_there_too(tmp_path):
    data, _ = data_in_lmdb(tmp_path)
    assert data_key(data) is None


def test_a_label_that_is_not_in_the_lmdb_is_named(tmp_path):
    data, _ = data_in_lmdb(tmp_path)
    data.data_prefix['seg_map_path'] = 'elsewhere'
    data._fully_initialized = False
    data.full_init()
    with pytest.raises(ValueError, match=r'elsewhere/0\.png cannot be read as a label'):
        count_labels(data)


def test_a_missing_label_has_no_key_and_its_name_is_in_the_error_of_the_count(tmp_path):
    data = segmentation(write_labels(tmp_path))
    (tmp_path / 'labels' / '4.png').unlink()
    assert data_key(data) is None
    with pytest.raises(FileNotFoundError, match=r'labels/4\.png'):
        count_labels(data)


def test_paths_of_pathlib_are_counted_and_have_a_key(tmp_path):
    data = segmentation(write_labels(tmp_path), serialize_data=False)
    key, counts = data_key(data), count_labels(data)
    for item in data.data_list:
        item['seg_map_path'] = Path(item['seg_map_path'])
    assert (data_key(data), count_labels(data)) == (key, counts)


class Remapped:
    """Loader that maps the labels by a table."""

    def __init__(self, table):
        self.table = table

    def __call__(self, results):
        label = cv2.imread(results['seg_map_path'], cv2.IMREAD_UNCHANGED)
        return dict(results, gt_seg_map=self.table[label])


class LoadRemappedAnnotations(Remapped):
    """Loader whose class is found by its name."""


def remapped(root, changed=None):
    data = segmentation(root)
    table = np.arange(65536)
    if changed is not None:
        table[changed] = 1
    data.pipeline.transforms[1] = LoadRemappedAnnotations(table)
    return data


def test_a_change_in_the_middle_of_a_large_table_changes_the_key(tmp_path):
    write_labels(tmp_path)
    assert data_key(remapped(tmp_path)) == data_key(remapped(tmp_path))
    assert data_key(remapped(tmp_path)) != data_key(remapped(tmp_path, changed=9000))


class Option:
    """Option of a loader without a representation of its content."""

    def __init__(self, value):
        self.value = value


def test_an_option_is_compared_by_its_content(tmp_path):
    write_labels(tmp_path)
    keys = []
    for value in (1, 1, 2):
        data = segmentation(tmp_path)
        data.pipeline.transforms[1].option = Option(value)
        keys.append(data_key(data))
    assert keys[0] == keys[1] != keys[2]
    data.pipeline.transforms[1].option = lambda: 1
    assert data_key(data) is None


def test_the_code_of_the_loader_is_in_the_key(tmp_path, monkeypatch):
    write_labels(tmp_path)
    keys = []
    for number in (1, 1, 2):
        (tmp_path / 'own_loader.py').write_text(f"""
from mmseg.datasets.transforms import LoadAnnotations
class Own(LoadAnnotations):
    def transform(self, results):
        results = super().transform(results)
        results['gt_seg_map'][results['gt_seg_map'] == 2] = {number}
        return results
""")
        linecache.clearcache()
        spec = importlib.util.spec_from_file_location('own_loader', tmp_path / 'own_loader.py')
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, 'own_loader', module)
        spec.loader.exec_module(module)
        data = segmentation(tmp_path)
        data.pipeline.transforms[1] = module.Own()
        keys.append(data_key(data))
    assert keys[0] == keys[1] != keys[2]


class Merged(BaseTransform):
    """Transform that edits labels: class 2 becomes class 1."""

    def transform(self, results):
        label = results['gt_seg_map']
        return dict(results, gt_seg_map=np.where(label == 2, 1, label).astype(np.uint8))


def test_transforms_that_may_edit_labels_are_named_and_counted_through_the_pipeline(tmp_path, caplog):
    transforms = pytest.importorskip('mmseg.datasets.transforms')
    data = segmentation(write_labels(tmp_path, values=(0, 1, 2)))
    for image in (tmp_path / 'images').iterdir():
        cv2.imwrite(str(image), np.zeros((20, 30, 3), np.uint8))
    data.pipeline.transforms += [Merged(), transforms.PackSegInputs()]
    logger = MMLogger.get_instance('counts')
    logger.addHandler(caplog.handler)
    before = count_labels(data).counts
    assert 'Merged come after the labels are loaded' in caplog.text
    assert 'PackSegInputs' not in caplog.text
    caplog.clear()
    found = count_labels(data, through_pipeline=True)
    assert found.counts == [before[0], before[1] + before[2], 0]
    assert found == count_labels(data, through_pipeline=True, num_workers=2)
    assert 'Merged' not in caplog.text


def test_the_pipeline_of_a_wrapper_that_mixes_items_is_refused(tmp_path):
    data = segmentation(write_labels(tmp_path))
    mixed = pytest.importorskip('mmseg.datasets').MultiImageMixDataset(
        ConcatDataset([data]), [dict(type='mmseg.RandomMosaic', prob=1.0)]
    )
    with pytest.raises(ValueError, match='MultiImageMixDataset, whose pipeline mixes several items'):
        count_labels(mixed, through_pipeline=True)


@pytest.mark.parametrize('option', [{'b', 'a', 'c'}, np.array([None, 'a'], dtype=object)])
def test_the_key_is_the_same_in_every_process(tmp_path, option):
    data = segmentation(write_labels(tmp_path))
    data.pipeline.transforms[1].option = option
    key = data_key(data)
    data.pipeline.transforms[1].option = (
        type(option)(sorted(option)[::-1]) if isinstance(option, set) else option.copy()
    )
    assert data_key(data) == key


def test_a_subset_is_counted_by_its_indices():
    base = Flowers(ONE)
    indices = [4, 5, 6, 6, 6, 6, 6, 7, 8]
    assert len(indices) == len(base)
    assert count_labels(Subset(base, indices)).counts == [2, 6, 1]


class Shuffled:
    """Wrapper of which nothing is known."""

    def __init__(self, dataset):
        self.dataset = dataset

    def __len__(self):
        return len(self.dataset)


def test_an_unknown_wrapper_of_the_same_length_is_refused():
    with pytest.raises(TypeError, match=r'got a Shuffled; expected .*Subset'):
        count_labels(Shuffled(Flowers(ONE)))


def test_data_without_metainfo_need_the_number_of_classes():
    data = Items(0, 1, 1)
    with pytest.raises(ValueError, match=r'Items does not name its classes.*num_classes'):
        count_labels(data)
    assert count_labels(data, num_classes=3).counts == [1, 2, 0]
    assert data_key(data) is not None


class Items:
    """Stand-in for a data set of mmpretrain."""

    def __init__(self, *labels):
        self.labels = labels

    def __len__(self):
        return len(self.labels)

    def get_data_info(self, index):
        return dict(gt_label=self.labels[index])


@pytest.mark.parametrize('wrong', [None, [0, 1], -1])
def test_an_item_that_has_not_exactly_one_class_is_named(wrong):
    assert image_labels(Items(1, np.int64(2))).tolist() == [1, 2]
    with pytest.raises(ValueError, match='item 1 of Items has gt_label='):
        image_labels(Items(0, wrong))
    with pytest.raises(ValueError, match='Items is empty'):
        image_labels(Items())
