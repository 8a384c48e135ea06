"""Counts against loops over the files."""

import json

import cv2
import numpy as np
import pytest
import torch

from mmrecall.datasets import LabelCounts, count_labels


def write_labels(root, frames=6, size=(20, 30), values=(0, 1, 2, 255), seed=0):
    """Write labels, and images that are empty files."""
    rng = np.random.default_rng(seed)
    for folder in ('images', 'labels'):
        (root / folder).mkdir(parents=True)
    for frame in range(frames):
        (root / 'images' / f'{frame}.jpg').touch()
        # not every class in every image
        here = rng.choice(values, 3)
        cv2.imwrite(str(root / 'labels' / f'{frame}.png'), rng.choice(here, size).astype(np.uint8))
    return root


def segmentation(root, classes=('a', 'b', 'c'), known=None, **options):
    """Return mmseg's plain data set of some ``classes``, all of the ``known`` ones by default."""
    datasets = pytest.importorskip('mmseg.datasets')

    class Plain(datasets.BaseSegDataset):
        METAINFO = dict(classes=known or classes, palette=[[i, i, i] for i in range(len(known or classes))])

    pipeline = [dict(type='mmseg.LoadImageFromFile'), dict(type='mmseg.LoadAnnotations')]
    return Plain(
        data_root=str(root),
        data_prefix=dict(img_path='images', seg_map_path='labels'),
        metainfo=dict(classes=classes),
        pipeline=pipeline,
        **options,
    )


def loop(root, of_class, ignored):
    """Return [counts, images, image_totals, ignored] from a loop over files and classes."""
    counts, images, totals = (np.zeros(len(of_class), int) for _ in range(3))
    unlabelled = 0
    for path in sorted((root / 'labels').iterdir()):
        label = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        here = np.array([(label == value).sum() for value in of_class])
        counts += here
        images += here > 0
        totals += np.where(here > 0, here.sum(), 0)
        unlabelled += int(np.isin(label, ignored).sum())
    return [counts.tolist(), images.tolist(), totals.tolist(), unlabelled]


def numbers(found):
    return [found.counts, found.images, found.image_totals, found.ignored]


def test_pixels_are_those_of_a_loop_over_the_files_without_any_image_read(tmp_path):
    found = count_labels(segmentation(write_labels(tmp_path)))
    assert numbers(found) == loop(tmp_path, [0, 1, 2], [255])
    assert (found.total, found.num_images, found.unit) == (6 * 600, 6, 'pixels')
    assert found.classes == ['a', 'b', 'c']
    assert sum(found.counts) + found.ignored == found.total
    assert min(found.images) < 6


def test_reduce_zero_label_takes_zero_out_and_moves_the_rest(tmp_path):
    write_labels(tmp_path, values=(0, 1, 2, 3, 255))
    found = count_labels(segmentation(tmp_path, reduce_zero_label=True))
    assert numbers(found) == loop(tmp_path, [1, 2, 3], [0, 255])


def test_custom_classes_are_counted_in_their_order_and_the_others_ignored(tmp_path):
    write_labels(tmp_path, values=(0, 1, 2, 3, 255))
    found = count_labels(segmentation(tmp_path, classes=('d', 'b'), known=('a', 'b', 'c', 'd')))
    assert found.classes == ['d', 'b']
    assert numbers(found) == loop(tmp_path, [3, 1], [0, 2, 255])


@pytest.mark.parametrize('where', ['argument', 'data set'])
def test_another_ignore_index_is_honoured(where, tmp_path):
    write_labels(tmp_path, values=(0, 1, 2, 7))
    data = segmentation(tmp_path, ignore_index=7 if where == 'data set' else 255)
    found = count_labels(data, ignore_index=7 if where == 'argument' else None)
    assert numbers(found) == loop(tmp_path, [0, 1, 2], [7])


def test_an_ignore_index_that_is_a_class_leaves_that_class_out(tmp_path):
    write_labels(tmp_path, values=(0, 1, 2))
    assert numbers(count_labels(segmentation(tmp_path), ignore_index=0)) == [
        *loop(tmp_path, [-1, 1, 2], [])[:3],
        loop(tmp_path, [0], [0])[3],
    ]


def test_workers_change_nothing(tmp_path):
    data = segmentation(write_labels(tmp_path, frames=11))
    alone = count_labels(data)
    assert count_labels(data, num_workers=2) == alone
    assert alone.num_images == 11


def test_counting_draws_no_random_number_of_the_training(tmp_path):
    data = segmentation(write_labels(tmp_path))
    before = torch.get_rng_state()
    count_labels(data)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize('num_workers', [0, 1])
@pytest.mark.parametrize(
    ('break_it', 'error', 'message'),
    [
        (lambda path: path.unlink(), FileNotFoundError, ''),
        (lambda path: path.write_bytes(b''), ValueError, 'cannot be read as a label'),
        (lambda path: path.write_bytes(path.read_bytes()[:50]), ValueError, 'cannot be read as a label'),
        (
            lambda path: cv2.imwrite(str(path), np.full((4, 4), 9, np.uint8)),
            ValueError,
            r'has the label 9 \(16 pixels\), but classes are 0 to 2 and ignore_index is 255; correct the file',
        ),
        (lambda path: cv2.imwrite(str(path), np.zeros((4, 4, 3), np.uint8)), ValueError, r'the shape \(4, 4, 3\)'),
    ],
    ids=['missing', 'empty', 'truncated', 'unknown label', 'colours'],
)
def test_a_bad_label_file_is_named(break_it, error, message, num_workers, tmp_path):
    data = segmentation(write_labels(tmp_path))
    break_it(tmp_path / 'labels' / '4.png')
    with pytest.raises(error, match=rf'(?s)labels/4\.png.*{message}'):
        count_labels(data, num_workers=num_workers)


def test_synthias_labels_are_counted_by_their_own_loader(tmp_path):
    pytest.importorskip('mmseg.datasets')
    from mmrecall.datasets import SynthiaSequenceDataset
    from mmrecall.datasets.synthia import label_path

    image = tmp_path / 'S' / 'RGB' / 'Stereo_Left' / 'Omni_F' / '000000.png'
    for path in (image, label_path(image)):
        path.parent.mkdir(parents=True)
    image.touch()
    ids = np.repeat(np.arange(16, dtype=np.uint16), 2).reshape(4, 8)
    cv2.imwrite(str(label_path(image)), np.dstack([np.zeros_like(ids), ids + 300, ids]))
    (tmp_path / 'list.txt').write_text('S/RGB/Stereo_Left/Omni_F/000000\n')
    pipeline = [dict(type='mmseg.LoadImageFromFile'), dict(type='mmrecall.LoadSynthiaAnnotations')]
    data = SynthiaSequenceDataset('list.txt', data_root=str(tmp_path), data_prefix={}, pipeline=pipeline)
    found = count_labels(data)
    assert (found.counts, found.ignored) == ([2] * 13, 6)


def classification(root, labels, classes=('a', 'b', 'c'), multiple=False, **options):
    """Return a data set of mmpretrain with a list; there are no images."""
    datasets = pytest.importorskip('mmpretrain.datasets')
    names = dict(metainfo=dict(classes=classes)) if classes else {}
    if multiple:
        entries = [dict(img_path=f'{i}.jpg', gt_label=label) for i, label in enumerate(labels)]
        (root / 'list.json').write_text(json.dumps(dict(metainfo=names['metainfo'], data_list=entries)))
        return datasets.MultiLabelDataset(ann_file='list.json', data_root=str(root), **options)
    (root / 'list.txt').write_text(''.join(f'{i}.jpg {label}\n' for i, label in enumerate(labels)))
    return datasets.CustomDataset(ann_file='list.txt', data_root=str(root), **names, **options)


def test_images_are_those_of_the_list(tmp_path):
    labels = np.random.default_rng(0).choice(3, 1500, p=[0.7, 0.29, 0.01]).tolist()
    found = count_labels(classification(tmp_path, labels))
    assert found.counts == found.images == [labels.count(number) for number in range(3)]
    assert (found.image_totals, found.ignored, found.total, found.unit) == (None, 0, 1500, 'images')
    assert count_labels(classification(tmp_path, labels), num_workers=2) == found


def test_an_image_with_several_labels_counts_for_each(tmp_path):
    found = count_labels(classification(tmp_path, [[0, 1], [1], [], [1, 2]], multiple=True))
    assert (found.counts, found.ignored, found.total) == ([1, 3, 1], 1, 4)


def test_class_255_is_a_class_of_images(tmp_path):
    classes = [str(number) for number in range(300)]
    found = count_labels(classification(tmp_path, [255, 3, 255], classes))
    assert (found.counts[255], found.counts[3], found.ignored) == (2, 1, 0)


def test_an_image_with_a_label_that_is_no_class_is_named(tmp_path):
    with pytest.raises(ValueError, match=r'1\.jpg has the label 3 .*classes are 0 to 2'):
        count_labels(classification(tmp_path, [0, 3]))


def test_a_data_set_without_class_names_needs_their_number(tmp_path):
    data = classification(tmp_path, [0, 2], classes=None)
    assert count_labels(data, num_classes=4).counts == [1, 0, 1, 0]
    with pytest.raises(ValueError, match='CustomDataset does not name its classes'):
        count_labels(data)


COUNTS = LabelCounts(['a', 'ö'], [2**40, 1], [3, 1], [2**41, 5], 7, 2**40 + 8, 3, 'pixels')


@pytest.mark.parametrize('counts', [COUNTS, COUNTS._replace(image_totals=None, unit='images')])
def test_counts_come_back_from_their_file(counts, tmp_path):
    counts.write(tmp_path / 'new' / 'counts.json')
    assert LabelCounts.read(tmp_path / 'new' / 'counts.json') == counts
    assert [path.name for path in (tmp_path / 'new').iterdir()] == ['counts.json']


def test_the_losses_read_the_file(tmp_path):
    from mmrecall.losses import read_class_counts

    COUNTS.write(tmp_path / 'counts.json')
    assert read_class_counts(str(tmp_path / 'counts.json'), ['a', 'ö']) == (COUNTS.counts, COUNTS.image_totals)


@pytest.mark.parametrize('content', ['[1, 2]', '{"counts": [1]}', '{"counts":'])
def test_a_file_that_holds_no_counts_is_named(content, tmp_path):
    (tmp_path / 'counts.json').write_text(content)
    with pytest.raises(ValueError, match=r'counts\.json does not hold class counts.*remove it'):
        LabelCounts.read(tmp_path / 'counts.json')
