"""Counts of plain PyTorch data against numpy.bincount of all labels at once."""

import subprocess
import sys
from collections import UserDict

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

from mmrecall.functional import median_frequency_weights
from mmrecall.losses import LogitAdjustedLoss, WeightedCrossEntropyLoss
from mmrecall.losses.class_counts import CountedClasses
from mmrecall.losses.counting import count_classes

CLASSES = 5


def label_maps(images=7, size=(6, 4), ignored=255, seed=0):
    rng = np.random.default_rng(seed)
    # not every class in every image
    return np.stack([rng.choice(rng.choice([*range(CLASSES), ignored], 3), size) for _ in range(images)])


def by_bincount(maps, ignored=255):
    """(counts, image_totals) of one bincount of image number and label."""
    bins = (np.arange(len(maps))[:, None, None] * 256 + maps).ravel()
    table = np.bincount(bins, minlength=256 * len(maps)).reshape(len(maps), 256)[:, :CLASSES]
    return table.sum(0).tolist(), ((table > 0) * table.sum(1, keepdims=True)).sum(0).tolist()


def images_of(labels):
    return torch.zeros(len(labels), 3, 2, 2)


def as_pairs(maps):
    return DataLoader(TensorDataset(images_of(maps), torch.from_numpy(maps)), batch_size=3, shuffle=True)


def as_dicts(maps, key='labels'):
    return DataLoader([{'pixel_values': torch.zeros(3), key: torch.from_numpy(one)} for one in maps], batch_size=2)


@pytest.mark.parametrize(
    ('data', 'labels'),
    [
        (as_pairs, None),
        (as_dicts, None),
        (lambda maps: as_dicts(maps, 'mask'), 'mask'),
        (lambda maps: as_dicts(maps, 'mask'), lambda batch: batch['mask']),
        (lambda maps: map(UserDict, as_dicts(maps)), None),
        (lambda maps: TensorDataset(images_of(maps), torch.from_numpy(maps)), None),
        (lambda maps: [(torch.zeros(3), torch.from_numpy(maps), 'name')], 1),
        (lambda maps: [(torch.from_numpy(maps), torch.zeros(3))], 0),
        (lambda maps: [(torch.from_numpy(maps), torch.zeros(3))], -2),
        (lambda maps: [(torch.zeros(3), list(maps))], None),
        (lambda maps: [(torch.zeros(3), torch.from_numpy(maps)[:, None])], None),
        (lambda maps: iter(maps), None),
        (lambda maps: [maps[:2], maps[2:]], lambda batch: batch),
        (lambda maps: (torch.from_numpy(one) for one in maps), None),
        (lambda maps: maps, None),
        (torch.from_numpy, None),
        (lambda maps: maps.astype(np.uint8), None),
        (lambda maps: torch.from_numpy(maps).to(torch.int16), None),
    ],
)
def test_label_maps_of_any_form_equal_bincount(data, labels):
    maps = label_maps()
    found = count_classes(data(maps), CLASSES, ignore_index=255, labels=labels)
    assert found == by_bincount(maps)
    assert isinstance(found, CountedClasses)


@pytest.mark.parametrize(
    'data',
    [
        lambda labels: labels,
        lambda labels: labels.tolist(),
        lambda labels: tuple(labels.tolist()),
        lambda labels: iter(labels.tolist()),
        lambda labels: [(torch.zeros(3), label) for label in labels.tolist()],
        lambda labels: [labels[:30].tolist(), labels[30:].tolist()],
        lambda labels: DataLoader(TensorDataset(images_of(labels), torch.from_numpy(labels)), batch_size=8),
    ],
)
def test_labels_of_images_equal_bincount_and_have_no_image_totals(data):
    labels = np.random.default_rng(0).integers(0, CLASSES, 100)
    found = count_classes(data(labels), num_classes=CLASSES + 1)
    assert found == (np.bincount(labels, minlength=CLASSES + 1).tolist(), None)


def test_an_ignored_label_that_is_a_class_is_not_counted():
    assert count_classes([0, 0, 1, 2], num_classes=3, ignore_index=0).counts == [0, 1, 1]
    assert count_classes(torch.tensor([-100, 1]), num_classes=3).counts == [0, 1, 0]


def test_a_data_set_that_never_raises_index_error_ends():
    class Endless(Dataset):
        def __len__(self):
            return 3

        def __getitem__(self, index):
            return torch.zeros(3), index % 2

    assert count_classes(Endless(), num_classes=2).counts == [2, 1]


def test_an_iterable_data_set_is_read_once():
    class Stream(IterableDataset):
        def __iter__(self):
            return iter([(torch.zeros(3), 1)] * 4)

    assert count_classes(Stream(), num_classes=2).counts == [0, 4]
    assert count_classes(DataLoader(Stream(), batch_size=3), num_classes=2).counts == [0, 4]


def test_workers_read_the_same():
    maps = label_maps()
    data = TensorDataset(images_of(maps), torch.from_numpy(maps))
    assert count_classes(DataLoader(data, num_workers=1), CLASSES, ignore_index=255) == by_bincount(maps)


def test_the_training_shuffles_as_it_would_without_a_count():
    loader = DataLoader(torch.arange(50), batch_size=50, shuffle=True)
    torch.manual_seed(0)
    order = next(iter(loader)).tolist()
    torch.manual_seed(0)
    count_classes(loader, num_classes=50)
    assert next(iter(loader)).tolist() == order


def test_what_the_loader_leaves_out_is_not_counted():
    loader = DataLoader(torch.tensor([0, 0, 1, 1, 2]), batch_size=2, drop_last=True)
    assert count_classes(loader, num_classes=3).counts == [2, 2, 0]


BAD = [
    ([0, 1, 7, 7], ValueError, r'batch 0: got the label 7 \(2 times\); expected 0 to 4, .*-100; set ignore_index=7'),
    (iter([0, 1, -1]), ValueError, r'batch 2: got the label -1 \(1 times\)'),
    ([np.zeros((2, 2), int), np.full((2, 2), 255)], ValueError, r'batch 1: got the label 255 \(4 times\)'),
    ([torch.tensor([0.0, 1.0])], TypeError, r'batch 0: got labels of type float32 .*shape \(2,\).*expected integers'),
    (torch.tensor([True]), TypeError, 'batch 0: got labels of type bool'),
    ([(1, 2), ('a', 'b')], TypeError, 'batch 1: got labels of type <U1'),
    ([{'labels': [0]}, {'x': 1}], TypeError, r"batch 1: got a dict with \['x'\]; expected 'labels' in it; set labels="),
    ([('a', [0], 'c')], TypeError, r'batch 0: got tuple of 3; expected labels, or a pair .*; set labels='),
    ([[[0, 1], [1, 0]]], TypeError, 'batch 0: got list of 2; expected labels, or a pair'),
    ([], ValueError, r'no label of any of the 5 classes; expected at least one'),
    ([-100, -100], ValueError, r'no label of any of the 5 classes'),
]


@pytest.mark.parametrize(('data', 'error', 'message'), BAD)
def test_what_cannot_be_counted_is_named_with_its_batch(data, error, message):
    with pytest.raises(error, match=message):
        count_classes(data, num_classes=CLASSES)


@pytest.mark.parametrize('labels', [2, -3, 'mask'])
def test_an_index_that_a_batch_does_not_have_is_refused(labels):
    with pytest.raises(TypeError, match=rf'batch 0: got tuple of 2; expected a sequence for which labels={labels!r}'):
        count_classes([(torch.zeros(1), 0)], num_classes=2, labels=labels)


@pytest.mark.parametrize(
    ('arguments', 'error', 'message'),
    [
        (dict(num_classes=0), ValueError, 'got num_classes=0; expected at least 1'),
        (dict(num_classes=2.5), TypeError, 'num_classes=2.5'),
        (dict(num_classes=2, ignore_index='x'), TypeError, "ignore_index='x'"),
    ],
)
def test_arguments_are_checked(arguments, error, message):
    with pytest.raises(error, match=message):
        count_classes([0], **arguments)


def test_an_openmmlab_batch_says_which_function_counts_it():
    with pytest.raises(TypeError, match=r'mmrecall\.datasets\.count_labels'):
        count_classes([{'inputs': [], 'data_samples': []}], num_classes=2)


def test_a_loss_takes_the_counts():
    labels = torch.tensor([0, 0, 0, 1])
    counted = count_classes(labels, num_classes=2)
    logits, target = torch.randn(4, 2), torch.tensor([0, 1, 1, 0])
    given = LogitAdjustedLoss(class_counts=[3, 1])(logits, target)
    assert LogitAdjustedLoss(class_counts=counted)(logits, target) == given


def test_median_frequency_uses_the_image_totals():
    maps = label_maps()
    counted = count_classes(maps, CLASSES, ignore_index=255)
    loss = WeightedCrossEntropyLoss('median_frequency', class_counts=counted)
    counts, totals = by_bincount(maps)
    weights = median_frequency_weights(torch.tensor(counts), torch.tensor(totals))
    assert not torch.allclose(weights, median_frequency_weights(torch.tensor(counts)))
    logits, target = torch.randn(3, CLASSES), torch.tensor([0, 1, 4])
    expected = torch.nn.functional.cross_entropy(logits, target, weights.float(), reduction='sum')
    assert torch.isclose(loss(logits, target, reduction_override='sum'), expected)


def test_the_data_sets_hand_a_loader_over():
    datasets = pytest.importorskip('mmrecall.datasets', exc_type=ImportError)
    maps = label_maps()
    found = datasets.count_labels(as_pairs(maps), ignore_index=255, num_classes=CLASSES)
    assert found == by_bincount(maps)
    assert datasets.count_labels([0, 1, 1], num_classes=2).counts == [1, 2]
    assert datasets.count_labels(as_dicts(maps, 'm'), 255, CLASSES, labels='m') == by_bincount(maps)
    with pytest.raises(ValueError, match='got num_classes=None for a DataLoader; expected an integer; set num_classes'):
        datasets.count_labels(as_pairs(maps))


def test_it_needs_pytorch_and_numpy_alone():
    code = """
import sys
for name in ('mmengine', 'mmcv', 'mmseg', 'mmpretrain', 'rich', 'yaml', 'torchvision', 'PIL', 'cv2'):
    sys.modules[name] = None
from mmrecall import count_classes
print(count_classes([0, 1, 1], num_classes=2).counts)
"""
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, timeout=120)
    assert done.stdout == '[1, 2]\n', done.stderr
