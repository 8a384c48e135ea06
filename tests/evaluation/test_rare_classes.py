import json
import math
import os
import re

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mmengine.evaluator import Evaluator
from mmengine.registry import METRICS

pytest.importorskip('mmseg')

from commands import run
from mmseg.evaluation import IoUMetric
from small_training import small_camvid

from mmrecall.analysis.report.runs import read_run
from mmrecall.datasets import CamVidDataset
from mmrecall.evaluation import RareClassIoU, frequency_groups, rare_classes

CONFIG = 'configs/deeplabv3/deeplabv3_r18w32-d16_1xb8-ce-1k_camvid-180x240.py'

GROUPS = ('rare', 'common', 'frequent')
STOCK = ('aAcc', 'mIoU', 'mAcc')


def names_of(counts):
    return tuple(f'class {number}' for number in range(len(counts)))


def samples(labels, predictions):
    """Outputs of mmseg, (1, H, W) each."""
    pairs = zip(labels, predictions, strict=True)
    return [
        dict(gt_sem_seg=dict(data=torch.tensor(label)[None]), pred_sem_seg=dict(data=torch.tensor(prediction)[None]))
        for label, prediction in pairs
    ]


def evaluated(labels, predictions, counts, batch=2, metric=RareClassIoU, classes=None, **options):
    built = metric(**({} if metric is IoUMetric else dict(class_counts=counts)), **options)
    built.dataset_meta = dict(classes=classes or names_of(counts))
    for start in range(0, len(labels), batch):
        built.process({}, samples(labels[start : start + batch], predictions[start : start + batch]))
    return built.evaluate(len(labels))


def drawn_maps(rng, images, classes, size=(5, 7), ignored=0.2):
    """Labels with ignored pixels, without some of the classes, of which one image has none; and predictions."""
    labels = rng.integers(0, classes, (images, *size))
    for label in labels:
        there = rng.permutation(classes)[: rng.integers(1, classes + 1)]
        label[:] = there[label % len(there)]
    labels[rng.random(labels.shape) < ignored] = 255
    if images > 2:
        labels[rng.integers(images)] = 255
    predictions = np.where(rng.random(labels.shape) < 0.6, labels % classes, rng.integers(0, classes, labels.shape))
    return labels, predictions


def mean(values):
    return sum(values) / len(values) if values else math.nan


def direct(labels, predictions, groups):
    """The same by loops over images, classes and pixels; what cannot be computed is not in it."""
    number, found = len(groups), {}
    areas = {}
    for image, (label, prediction) in enumerate(zip(labels, predictions, strict=True)):
        for c in range(number):
            pairs = [(t, p) for t, p in zip(label.ravel(), prediction.ravel(), strict=True) if t != 255]
            both = sum(t == c == p for t, p in pairs)
            either = sum(c in (t, p) for t, p in pairs)
            areas[image, c] = both, either, sum(t == c for t, _ in pairs)
    iou, accuracy = {}, {}
    for c in range(number):
        both, either, true = (sum(areas[image, c][part] for image in range(len(labels))) for part in range(3))
        if either:
            iou[c] = both / either
        if true:
            accuracy[c] = both / true
    for group in GROUPS:
        members = [c for c in range(number) if groups[c] == group]
        found[f'mIoU_{group}'] = mean([iou[c] for c in members if c in iou])
        found[f'mAcc_{group}'] = mean([accuracy[c] for c in members if c in accuracy])
    of_images = [
        mean([areas[image, c][0] / areas[image, c][1] for c in range(number) if areas[image, c][2]])
        for image in range(len(labels))
    ]
    of_classes = [
        mean([areas[image, c][0] / areas[image, c][1] for image in range(len(labels)) if areas[image, c][2]])
        for c in range(number)
    ]
    found['mIoU_I'] = mean([value for value in of_images if not math.isnan(value)])
    found['mIoU_C'] = mean([value for value in of_classes if not math.isnan(value)])
    found['IoU_worst'] = min(iou.values(), default=math.nan)
    return {name: 100 * value for name, value in found.items() if not math.isnan(value)}


@pytest.mark.filterwarnings('ignore:Mean of empty slice')
@settings(max_examples=60)
@given(
    seed=st.integers(0, 10**6),
    images=st.integers(1, 6),
    classes=st.integers(2, 8),
    batch=st.integers(1, 7),
    ignored=st.sampled_from([0, 0.2, 0.95]),
)
def test_it_equals_loops_over_images_classes_and_pixels_and_mmsegs_metric(seed, images, classes, batch, ignored):
    rng = np.random.default_rng(seed)
    labels, predictions = drawn_maps(rng, images, classes, ignored=ignored)
    counts = rng.integers(1, 9, classes).tolist()
    found = evaluated(labels, predictions, counts, batch)
    stock = evaluated(labels, predictions, counts, batch, IoUMetric)
    assert {name: found.pop(name) for name in STOCK} == pytest.approx(stock, nan_ok=True)
    # rounded to 0.01
    assert found == pytest.approx(direct(labels, predictions, frequency_groups(counts)), abs=0.00501)


def test_the_means_by_image_agree_with_segmentation_models_pytorch():
    metrics = pytest.importorskip('segmentation_models_pytorch').metrics
    labels, predictions = drawn_maps(np.random.default_rng(0), 9, 6, (20, 30))
    stats = metrics.get_stats(
        torch.tensor(predictions), torch.tensor(labels), mode='multiclass', num_classes=6, ignore_index=255
    )
    scores = metrics.iou_score(*stats).numpy()
    there = np.stack([[(label == c).any() for c in range(6)] for label in labels])
    scores = np.where(there, scores, np.nan)[there.any(1)]
    assert not there.all()
    found = evaluated(labels, predictions, [1] * 6)
    assert found['mIoU_I'] == pytest.approx(100 * np.nanmean(np.nanmean(scores, 1)), abs=0.00501)
    assert found['mIoU_C'] == pytest.approx(100 * np.nanmean(np.nanmean(scores, 0)), abs=0.00501)


def test_a_large_class_hides_a_small_object_in_miou_and_not_by_image():
    """Two images with a pole each, of 1 and of 99 pixels; the larger one alone is found."""
    labels = np.zeros((2, 10, 20), int)
    labels[0, 0, 0], labels[1].ravel()[:99] = 1, 1
    predictions = labels.copy()
    predictions[0] = 0
    found = evaluated(labels, predictions, [300, 100])
    road = (100 * 301 / 302 * 1, 100 * 199 / 200, 100)
    assert found['mIoU'] == pytest.approx((99 + 100 * 300 / 301) / 2, abs=0.00501)
    assert found['IoU_worst'] == 99
    assert found['mIoU_I'] == pytest.approx(((road[1] + 0) / 2 + 100) / 2, abs=0.00501)
    assert found['mIoU_C'] == pytest.approx(((road[1] + road[2]) / 2 + 50) / 2, abs=0.00501)


@pytest.mark.parametrize(
    ('counts', 'groups'),
    [
        ([9, 5, 1], 'f c r'),
        ([9, 5, 1, 7], 'f r r c'),
        ([1, 2, 3, 4, 5], 'r r c c f'),
        ([5, 5, 5, 5], 'r r c f'),  # the first of equal ones is the rarest
        ([0, 7], 'r c'),
        (list(range(11)), 'r r r r c c c c f f f'),
    ],
)
def test_thirds_are_of_the_ranked_classes_and_the_rarer_groups_are_the_larger_ones(counts, groups):
    assert [group[0] for group in frequency_groups(counts)] == groups.split()


@pytest.mark.parametrize(
    ('groups_by', 'thresholds', 'groups'),
    [
        ('pixels', (1, 10), 'r c c f'),  # shares of 0.5, 1, 10 and 88.5 %
        ('pixels', (0.5, 88.5), 'c c c c'),
        ('pixels', (0.6, 0.7), 'r f f f'),
        ('images', (11, 200), 'r r c f'),  # 5, 10, 100 and 885 images
        ('images', (5, 885), 'c c c c'),
    ],
)
def test_thresholds_are_percentages_of_the_pixels_or_numbers_of_images(groups_by, thresholds, groups):
    found = frequency_groups([5, 10, 100, 885], groups_by, thresholds)
    assert [group[0] for group in found] == groups.split()


def test_counts_are_a_list_a_dict_by_name_or_a_file_of_class_statistics(tmp_path):
    path = tmp_path / 'class_counts.json'
    names, pixels, images = ['road', 'car', 'pole'], [100, 20, 5], [3, 4, 9]
    path.write_text(json.dumps(dict(classes=names, counts=pixels, images=images, image_totals=[200, 150, 120])))
    labels, predictions = drawn_maps(np.random.default_rng(1), 4, 3)

    def found(counts, **options):
        return evaluated(labels, predictions, counts, classes=names, **options)

    by_pixels, by_images = found(pixels), found(images)
    assert by_pixels['mIoU_rare'] == by_images['mIoU_frequent'] != by_pixels['mIoU_frequent']
    assert found(dict(pole=5, road=100, car=20)) == found(str(path)) == by_pixels
    assert found(str(path), groups_by='images') == found(str(path), groups_by='images', thresholds=(4, 8)) == by_images
    assert found(str(path), thresholds=(5, 50)) == by_pixels


def messages(monkeypatch):
    said = []
    monkeypatch.setattr(rare_classes, 'print_log', lambda message, logger: said.append(message))
    return said


def test_the_log_names_the_worst_class_each_time_and_groups_and_absent_classes_once(monkeypatch):
    said = messages(monkeypatch)
    metric = RareClassIoU([9, 8, 5, 4, 1, 2])
    metric.dataset_meta = dict(classes=('road', 'sky', 'car', 'bus', 'pole', 'sign'))
    for _ in range(2):
        metric.process({}, samples(np.array([[[0, 0, 0, 1, 2, 3]]]), np.array([[[0, 0, 1, 1, 2, 3]]])))
        found = metric.evaluate(1)
        assert found['IoU_worst'] == 50
        assert not [name for name in found if 'rare' in name]
    assert said == [
        'RareClassIoU: rare by pixels of the training set: pole, sign',
        'RareClassIoU: common by pixels of the training set: car, bus',
        'RareClassIoU: frequent by pixels of the training set: road, sky',
        'RareClassIoU: no tested image has a label of pole, sign',
        'RareClassIoU: without a class to average, there is no mIoU_rare, mAcc_rare',
        'RareClassIoU: the worst IoU is 50.00, of sky',
        'RareClassIoU: the worst IoU is 50.00, of sky',
    ]


def test_a_class_that_is_only_predicted_has_an_iou_of_0_over_classes_and_is_not_in_means_by_image():
    found = evaluated(np.array([[[0, 0, 1, 1]]]), np.array([[[0, 0, 1, 2]]]), [9, 5, 1])
    assert (found['mIoU_rare'], found['IoU_worst']) == (0, 0)
    assert 'mAcc_rare' not in found
    assert found['mIoU_I'] == found['mIoU_C'] == 75


@pytest.mark.filterwarnings('ignore:Mean of empty slice')
def test_labels_that_are_all_ignored_leave_no_new_figure():
    assert set(evaluated(np.full((2, 1, 4), 255), np.zeros((2, 1, 4), int), [1, 2])) == set(STOCK)


def test_options_of_mmsegs_metric_work(tmp_path):
    labels, predictions = drawn_maps(np.random.default_rng(2), 3, 3)
    dice = evaluated(labels, predictions, [1, 2, 3], iou_metrics=['mDice', 'mFscore'])
    plain = evaluated(labels, predictions, [1, 2, 3])
    assert {'mDice', 'mFscore'} < set(dice)
    assert {name: dice[name] for name in plain if '_' in name} == {n: v for n, v in plain.items() if '_' in n}
    absent = np.zeros((1, 1, 4), int), np.zeros((1, 1, 4), int)
    assert evaluated(*absent, [9, 5, 1], nan_to_num=0)['mIoU_rare'] == 0
    metric = RareClassIoU([1, 2], format_only=True, output_dir=str(tmp_path / 'maps'))
    metric.dataset_meta = dict(classes=('a', 'b'))
    metric.process({}, [dict(pred_sem_seg=dict(data=torch.zeros(1, 2, 2)), img_path='a.jpg')])
    assert metric.evaluate(1) == {}
    assert (tmp_path / 'maps' / 'a.png').is_file()


def on_rank(rank, world_size, labels, predictions, counts, batch, padded, folder):
    """Evaluate the images that mmengine's sampler gives this rank, in batches."""
    from mmengine.dataset import DefaultSampler

    before = os.getcwd()
    os.chdir(folder)
    indices = list(DefaultSampler(labels, shuffle=False, round_up=padded))
    metric = RareClassIoU(counts)
    metric.dataset_meta = dict(classes=names_of(counts))
    for start in range(0, len(indices), batch):
        part = indices[start : start + batch]
        metric.process({}, samples(np.array(labels)[part], np.array(predictions)[part]))
    found = metric.evaluate(len(labels))
    os.chdir(before)
    return len(indices), found


@pytest.mark.parametrize(('images', 'padded', 'shares'), [(7, True, (4, 4)), (7, False, (4, 3)), (8, True, (4, 4))])
def test_several_ranks_give_the_result_of_one_process_without_the_padding(images, padded, shares, two_ranks, tmp_path):
    labels, predictions = drawn_maps(np.random.default_rng(3), images, 5)
    counts = [50, 40, 30, 20, 10]
    maps = labels.tolist(), predictions.tolist()
    # the last batch is smaller
    (first, found), (second, other) = two_ranks.run(on_rank, *maps, counts, 3, padded, str(tmp_path))
    assert (first, second) == shares
    assert found == other == evaluated(labels, predictions, counts)
    assert len(found) == 12
    with_padding = evaluated([*labels, labels[0]], [*predictions, predictions[0]], counts)
    assert with_padding['mIoU_I'] != found['mIoU_I']


def test_both_spellings_of_the_type_build_it_and_an_evaluator_tells_it_the_classes():
    for name in ('RareClassIoU', 'mmrecall.RareClassIoU'):
        assert isinstance(METRICS.build(dict(type=name, class_counts=[1, 2])), RareClassIoU)
    evaluator = Evaluator(dict(type='mmrecall.RareClassIoU', class_counts=[1, 2, 3]))
    with pytest.raises(ValueError, match=r"class_counts has 3 entries, but the data set has 2 classes.*'a', 'b'"):
        evaluator.dataset_meta = dict(classes=('a', 'b'))


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(class_counts='auto'), r"got class_counts='auto'.*mmrecall class-statistics"),
        (dict(class_counts=[0, 0]), 'not all 0'),
        (dict(class_counts=[1, -2]), 'at least 0'),
        (dict(class_counts=7), 'class_counts: got 7; expected one number per class, in order'),
        (dict(class_counts=dict(a=1, b=None)), 'class_counts: got .*expected one number per class'),
        (dict(class_counts=[1, 2], groups_by='share'), "got groups_by='share'; expected one of 'pixels', 'images'"),
        (dict(class_counts=[1, 2], thresholds=3), 'got thresholds=3; expected two numbers'),
        (dict(class_counts=[1, 2], thresholds=(1, 2, 3)), r'got thresholds=\(1, 2, 3\); expected two numbers'),
        (dict(class_counts=[1, 2], thresholds=(5, 5)), r'got thresholds=\(5, 5\).*two increasing numbers above 0'),
        (dict(class_counts=[1, 2], thresholds=(9, 5)), r'got thresholds=\(9, 5\)'),
        (dict(class_counts=[1, 2], thresholds=(0, 5)), r'got thresholds=\(0, 5\)'),
        (dict(class_counts=[1, 2], thresholds=(10, 100)), 'percentages of the pixels, below 100'),
        (dict(class_counts=[1, 2], thresholds=(1, float('nan'))), 'thresholds=nan'),
    ],
)
def test_bad_arguments_are_refused_when_it_is_built(options, message):
    with pytest.raises(ValueError, match=message):
        RareClassIoU(**options)


def test_numbers_of_images_may_be_above_100():
    assert RareClassIoU([1, 2], groups_by='images', thresholds=(11, 101)).thresholds == (11, 101)


def test_an_argument_that_mmsegs_metric_would_ignore_is_refused():
    with pytest.raises(TypeError, match=r'got treshold; expected class_counts, groups_by, thresholds, .*ignore_index'):
        RareClassIoU([1, 2], treshold=(1, 2))
    with pytest.raises(TypeError, match="thresholds='a'; expected a number"):
        RareClassIoU([1, 2], thresholds=('a', 'b'))


@pytest.mark.parametrize(
    ('counts', 'message'),
    [
        (dict(a=1, b=2, z=3), r"unknown names \['z'\] and missing names \['c'\]"),
        (dict(a=1, b=2), r"missing names \['c'\]; expected one number for each of \['a', 'b', 'c'\]"),
        ([1, 2], 'class_counts has 2 entries, but the data set has 3 classes'),
        (dict(classes=['a', 'b', 'x'], counts=[1, 2, 3]), r"counts of the classes \['a', 'b', 'x'\]; expected"),
        (dict(counts=[1, 2]), r'class_counts .*counts\.json has 2 entries, but the data set has 3 classes'),
    ],
)
def test_counts_of_other_classes_are_refused_when_the_loop_is_built(counts, message, tmp_path):
    if 'counts' in counts:
        path = tmp_path / 'counts.json'
        path.write_text(json.dumps(counts))
        counts = str(path)
    metric = RareClassIoU(counts)
    with pytest.raises(ValueError, match=message):
        metric.dataset_meta = dict(classes=('a', 'b', 'c'))


def test_files_that_are_missing_or_do_not_have_the_numbers_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r'none\.json'):
        RareClassIoU(str(tmp_path / 'none.json'))
    path = tmp_path / 'counts.json'
    path.write_text(json.dumps(dict(counts=[1, 2])))
    with pytest.raises(ValueError, match=r"counts\.json: got .*expected 'images'"):
        RareClassIoU(str(path), groups_by='images')
    with pytest.raises(ValueError, match=r'does not name its classes; set metainfo'):
        RareClassIoU([1, 2]).dataset_meta = {}


def test_the_stock_tools_train_and_test_with_it_and_the_report_reads_its_numbers(repository, tmp_path):
    small = small_camvid(tmp_path / 'camvid')
    counts, work_dir = tmp_path / 'class_counts.json', tmp_path / 'work'
    counter = repository / 'tools' / 'analysis_tools' / 'class_statistics.py'
    options = ['--cfg-options', *(word for word in small if word.startswith('train_dataloader.dataset.data_root'))]
    status, output = run('python', counter, repository / CONFIG, '--workers', '0', '--out', counts, *options)
    assert status == 0, output
    metric = ['evaluator.type=mmrecall.RareClassIoU', f'evaluator.class_counts={counts}']
    status, output = run(
        'python', repository / 'tools' / 'train.py', repository / CONFIG, '--work-dir', work_dir, '--cfg-options',
        *small, *(f'val_{word}' for word in metric), 'default_hooks.checkpoint.save_best=mIoU_rare',
    )  # fmt: skip
    assert status == 0, output[-3000:]
    assert list(work_dir.glob('best_mIoU_rare_iter_*.pth'))
    assert re.search(r'RareClassIoU: rare by pixels of the training set: (\w+, ){3}\w+\n', output)
    assert re.search(
        rf'RareClassIoU: the worst IoU is [\d.]+, of ({"|".join(CamVidDataset.METAINFO["classes"])})', output
    )
    status, output = run(
        'python', repository / 'tools' / 'test.py', repository / CONFIG, work_dir / 'iter_2.pth', '--work-dir',
        work_dir / 'test', '--cfg-options', *small, *(f'test_{word}' for word in metric),
        'test_evaluator.groups_by=images', 'test_evaluator.thresholds=(3,4)',
    )  # fmt: skip
    assert status == 0, output[-3000:]
    # all classes are in all four images, and as common as each other
    assert 'RareClassIoU: rare by images of the training set: no class' in output
    test, validation = read_run(work_dir).results
    by_image = {'IoU_worst', 'mIoU_I', 'mIoU_C'}
    of_groups = {f'm{name}_{group}' for name in ('IoU', 'Acc') for group in GROUPS}
    assert set(validation.metrics) == {*STOCK, *of_groups, *by_image}
    assert set(test.metrics) == {*STOCK, 'mIoU_common', 'mAcc_common', *by_image}
    assert test.metrics['mIoU_common'] == pytest.approx(test.metrics['mIoU'], abs=0.011)
    assert test.metrics['IoU_worst'] == test.classes['IoU'].min()


@pytest.mark.parametrize('number', [-1, 0])
def test_a_class_without_pixels_is_not_the_worst_whatever_stands_for_nan(number):
    found = evaluated(np.array([[[0, 0, 1, 1]]]), np.array([[[0, 1, 1, 1]]]), [9, 5, 1], nan_to_num=number)
    assert found['IoU_worst'] == 50
