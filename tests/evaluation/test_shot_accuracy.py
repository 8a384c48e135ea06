import csv
import json
import os

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mmengine.evaluator import Evaluator
from mmengine.registry import METRICS

from mmrecall.evaluation import ShotAccuracy, shot_accuracy

COUNTS = [101, 100, 20, 19, 500]


def samples(scores, labels):
    return [dict(pred_score=score, gt_label=torch.tensor([label])) for score, label in zip(scores, labels, strict=True)]


def evaluated(scores, labels, counts=COUNTS, batch=3, **options):
    metric = ShotAccuracy(counts, **{'topk': (1, 2), **options})
    for start in range(0, len(labels), batch):
        metric.process(None, samples(scores[start : start + batch], labels[start : start + batch]))
    return metric.evaluate(len(labels))


def direct(scores, labels, counts, topk=(1, 2), many=100, few=20):
    """The same from sorted scores, class by class."""
    scores, labels = np.asarray(scores), np.asarray(labels)
    order = np.argsort(-scores, axis=1, kind='stable')
    found = {f'shot/top{k}': 100 * (order[:, :k] == labels[:, None]).any(1).mean() for k in topk}
    accuracy = {c: 100 * (order[labels == c, 0] == c).mean() for c in range(len(counts)) if (labels == c).any()}
    found['shot/mean_class'] = np.mean(list(accuracy.values()))
    members = dict(
        many=[c for c in accuracy if counts[c] > many],
        medium=[c for c in accuracy if few <= counts[c] <= many],
        few=[c for c in accuracy if counts[c] < few],
    )
    return found | {f'shot/{name}': np.mean([accuracy[c] for c in members[name]]) for name in members if members[name]}


@settings(deadline=None)
@given(
    seed=st.integers(0, 10**6),
    size=st.integers(1, 60),
    classes=st.integers(2, 12),
    batch=st.integers(1, 61),
    few=st.integers(1, 50),
    more=st.integers(0, 100),
    ties=st.booleans(),
)
def test_it_equals_a_direct_computation(seed, size, classes, batch, few, more, ties):
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, 3, (size, classes)).astype(np.float32) if ties else rng.random((size, classes))
    labels = rng.integers(0, classes, size)
    counts = rng.integers(1, 200, classes).tolist()
    found = evaluated(torch.from_numpy(scores), labels.tolist(), counts, batch, many=few + more, few=few)
    assert found == pytest.approx(direct(scores, labels, counts, many=few + more, few=few))


def test_it_agrees_with_mmpretrains_accuracy():
    accuracy = pytest.importorskip('mmpretrain.evaluation').Accuracy
    scores, labels = torch.rand(200, 7).softmax(1), torch.randint(7, (200,))
    found = evaluated(scores, labels.tolist(), [5] * 7, batch=50, topk=(1, 5))
    top1, top5 = (part[0].item() for part in accuracy.calculate(scores, labels, topk=(1, 5)))
    assert (found['shot/top1'], found['shot/top5']) == pytest.approx((top1, top5))


def test_an_evaluator_takes_mmpretrains_samples():
    structures = pytest.importorskip('mmpretrain.structures')
    scores, labels = torch.rand(20, 5), torch.randint(5, (20,)).tolist()
    evaluator = Evaluator(metrics=dict(type='mmrecall.ShotAccuracy', class_counts=COUNTS, topk=(1, 2)))
    pairs = zip(scores, labels, strict=True)
    evaluator.process([structures.DataSample().set_pred_score(s).set_gt_label(y) for s, y in pairs])
    assert evaluator.evaluate(20) == pytest.approx(direct(scores, labels, COUNTS))


def open_f_measure(scores, labels, threshold):
    """As in the docstring, image by image, in percent."""
    true_positives = false_positives = false_negatives = 0
    for score, label in zip(scores.tolist(), labels, strict=True):
        largest = max(score)
        prediction = score.index(largest) if largest >= threshold else -1
        true_positives += prediction == label != -1
        false_positives += prediction != label and label != -1 and prediction != -1
        false_negatives += prediction != label == -1
    if not true_positives:
        return 0
    precision = true_positives / (true_positives + false_positives)
    recall = true_positives / (true_positives + false_negatives)
    return 100 * 2 * precision * recall / (precision + recall)


@settings(deadline=None)
@given(
    seed=st.integers(0, 10**6),
    size=st.integers(2, 60),
    classes=st.integers(2, 12),
    batch=st.integers(1, 61),
    threshold=st.floats(0.01, 0.99),
)
def test_the_open_set_f_measure_is_that_of_a_loop_and_the_rest_is_of_known_images(
    seed, size, classes, batch, threshold
):
    rng = np.random.default_rng(seed)
    scores = torch.from_numpy(rng.dirichlet(np.full(classes, 0.5), size))
    labels = [0, -1, *rng.integers(-1, classes, size - 2).tolist()]
    counts = rng.integers(1, 200, classes).tolist()
    found = evaluated(scores, labels, counts, batch, open_set_threshold=threshold)
    assert found.pop('shot/open_f_measure') == pytest.approx(open_f_measure(scores, labels, threshold))
    known = np.array(labels) >= 0
    assert found == evaluated(scores[known], [label for label in labels if label >= 0], counts, batch)


def test_a_known_image_that_is_rejected_counts_for_nothing_in_the_open_set():
    scores = torch.tensor([[0.9, 0.1], [0.2, 0.8], [0.4, 0.6], [0.45, 0.55], [0.7, 0.3]])
    labels = [0, 0, 1, -1, -1]  # right, wrong, rejected; rejected, taken
    found = evaluated(scores, labels, [200, 5], open_set_threshold=0.65)
    assert found['shot/open_f_measure'] == pytest.approx(50)  # P = R = 1/2
    assert found['shot/top1'] == pytest.approx(100 * 2 / 3)


def test_without_unknown_images_there_is_no_open_set_f_measure_which_is_said_once(monkeypatch):
    said = []
    monkeypatch.setattr(shot_accuracy, 'print_log', lambda message, logger: said.append(message))
    metric = ShotAccuracy([200, 50, 5], topk=(1,), open_set_threshold=0.1)
    for _ in range(2):
        metric.process(None, samples(torch.eye(3), [0, 1, 2]))
        assert 'shot/open_f_measure' not in metric.evaluate(3)
    assert len(said) == 1
    assert 'no tested image is of an unknown class' in said[0]


def test_unknown_images_alone_are_refused():
    with pytest.raises(ValueError, match='got 2 tested images, all with a negative label'):
        evaluated(torch.rand(2, 5), [-1, -1], open_set_threshold=0.1)


def on_rank(rank, world_size, scores, labels, folder, padded):
    """Evaluate the images that mmengine's sampler gives this rank."""
    before = os.getcwd()
    os.chdir(folder)
    size = len(labels)
    total = -(-size // world_size) * world_size if padded else size
    indices = [index % size for index in range(rank, total, world_size)]
    metric = ShotAccuracy(COUNTS, topk=(1, 2), out_dir='out', open_set_threshold=0.5)
    metric.process(None, samples(torch.tensor(scores)[indices], [labels[index] for index in indices]))
    found = metric.evaluate(size)
    os.chdir(before)
    return len(indices), found


@pytest.mark.parametrize('padded', [True, False])
def test_several_ranks_give_the_result_of_one_process(padded, two_ranks, tmp_path):
    scores, labels = torch.rand(9, 5), [0, 1, 2, 3, 4, 0, 1, -1, -1]
    (first, found), (second, other) = two_ranks.run(on_rank, scores.tolist(), labels, str(tmp_path), padded)
    assert (first, second) == ((5, 5) if padded else (5, 4))
    assert found == other == evaluated(scores, labels, out_dir=str(tmp_path / 'alone'), open_set_threshold=0.5)
    assert 'shot/open_f_measure' in found
    written = [(tmp_path / folder / 'shot_accuracy.csv').read_text() for folder in ('out', 'alone')]
    assert written[0] == written[1]


def test_scores_that_are_equal_or_not_numbers_win_nothing():
    labels = [0, 1, 2, 3, 4]
    assert evaluated(torch.zeros(5, 5), labels)['shot/top1'] == 20  # the lowest class number comes first
    broken = evaluated(torch.full((5, 5), float('nan')), labels, topk=(1, 4))
    assert (broken['shot/top1'], broken['shot/top4'], broken['shot/few']) == (0, 0, 0)


def test_a_group_without_tested_classes_is_left_out_and_said_once(monkeypatch):
    said = []
    monkeypatch.setattr(shot_accuracy, 'print_log', lambda message, logger: said.append(message))
    metric = ShotAccuracy([200, 300, 5], topk=(1,))
    for _ in range(2):
        metric.process(None, samples(torch.eye(3)[:2], [0, 1]))
        assert metric.evaluate(2) == {'shot/top1': 100, 'shot/mean_class': 100, 'shot/many': 100}
    assert len(said) == 1
    assert 'no tested class is medium or few-shot (many: above 100' in said[0]


def test_the_results_of_every_class_are_written(tmp_path):
    metric = ShotAccuracy([200, 50, 5, 7], topk=(1,), out_dir=str(tmp_path / 'new' / 'out'))
    metric.dataset_meta = dict(classes=('cat, wild', 'dog', 'bee', 'ant'))
    metric.process(None, samples(torch.eye(4)[[0, 1, 2, 0, 0, 0]], [0, 1, 2, 2, 2, 0]))
    metric.evaluate(6)
    with (tmp_path / 'new' / 'out' / 'shot_accuracy.csv').open(newline='') as file:
        rows = list(csv.reader(file))
    assert rows == [
        ['label', 'class', 'group', 'training_images', 'tested_images', 'correct', 'accuracy'],
        ['0', 'cat, wild', 'many', '200', '2', '2', '100.00'],
        ['1', 'dog', 'medium', '50', '1', '1', '100.00'],
        ['2', 'bee', 'few', '5', '3', '1', '33.33'],
        ['3', 'ant', 'few', '7', '0', '0', ''],
    ]


def test_counts_come_from_the_training_list_or_a_file(tmp_path):
    labels = np.repeat([0, 1, 2], [101, 30, 3])
    (tmp_path / 'train.txt').write_text(''.join(f'{i}.jpg {label}\n' for i, label in enumerate(labels)))
    (tmp_path / 'counts.json').write_text(json.dumps(dict(counts=[101, 30, 3, 0, 0])))
    np.save(tmp_path / 'counts.npy', [101, 30, 3, 0, 0])
    scores, truth = torch.rand(40, 5), torch.randint(5, (40,)).tolist()
    expected = evaluated(scores, truth, [101, 30, 3, 0, 0])
    for name in ('train.txt', 'counts.json', 'counts.npy'):
        assert evaluated(scores, truth, str(tmp_path / name)) == expected


def test_a_file_of_the_classes_of_the_data_in_another_order_is_refused(tmp_path):
    (tmp_path / 'counts.json').write_text(json.dumps(dict(classes=['a', 'c', 'b'], counts=[101, 30, 3])))
    metric = ShotAccuracy(str(tmp_path / 'counts.json'))
    with pytest.raises(ValueError, match=r"counts\.json .*in another order.* class 1 is 'c' there and 'b' in the data"):
        metric.dataset_meta = dict(classes=('a', 'b', 'c'))


@pytest.mark.parametrize(
    ('meta', 'warned'), [(dict(classes='acb'), 0), (dict(classes='acB'), 1), (dict(classes=None), 0), ({}, 0)]
)
def test_a_file_of_renamed_classes_is_taken_with_a_warning(meta, warned, tmp_path, monkeypatch):
    (tmp_path / 'counts.json').write_text(json.dumps(dict(classes=['a', 'c', 'b'], counts=[101, 30, 3])))
    messages = []
    monkeypatch.setattr(shot_accuracy, 'print_log', lambda message, **where: messages.append(message))
    metric = ShotAccuracy(str(tmp_path / 'counts.json'))
    metric.dataset_meta = meta
    assert metric.dataset_meta == meta
    assert ['renamed' in message for message in messages] == [True] * warned


@pytest.mark.parametrize(
    ('counts', 'options', 'label', 'message'),
    [
        ([1, 2], {}, 0, 'got class_counts with 2 entries; expected 3'),
        ([1, 2, 3], dict(topk=(1, 5)), 0, r'got topk=\(1, 5\); expected at most 3'),
        ([1, 2, 3], {}, 3, 'got an image with the label 3; expected 0 to 2'),
        ([1, 2, 3], {}, -1, 'got an image with the label -1; expected 0 to 2; set open_set_threshold'),
        ([1, 2, 3], dict(open_set_threshold=0.1), -2, 'got an image with the label -2; expected 0 to 2$'),
        ([1, 2, 3], dict(open_set_threshold=0.1), 3, 'got an image with the label 3; expected 0 to 2$'),
        ([1, 2, 3], dict(open_set_threshold=0), 0, 'got open_set_threshold=0; expected a number between 0 and 1'),
        ([1, 2, 3], dict(open_set_threshold=1.0), 0, 'got open_set_threshold=1.0'),
        ([1, 2, 3], dict(open_set_threshold=float('nan')), 0, 'got open_set_threshold=nan'),
        ([0, 0, 0], {}, 0, 'not all 0'),
        ([1, 2, 3], dict(many=5, few=6), 0, 'few is 6, many 5'),
    ],
)
def test_what_does_not_fit_is_named(counts, options, label, message):
    with pytest.raises(ValueError, match=message):
        evaluated(torch.rand(2, 3), [0, label], counts, **options)


def test_a_training_list_of_more_classes_than_scores_is_refused(tmp_path):
    (tmp_path / 'train.txt').write_text('a.jpg 0\nb.jpg 3\n')
    with pytest.raises(ValueError, match='got class_counts with 4 entries; expected 3'):
        evaluated(torch.rand(2, 3), [0, 1], str(tmp_path / 'train.txt'))


def test_missing_files_and_spoilt_lists_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r'the list .*none\.txt is missing'):
        ShotAccuracy(str(tmp_path / 'none.txt'))
    with pytest.raises(FileNotFoundError, match=r'none\.json'):
        ShotAccuracy(str(tmp_path / 'none.json'))
    (tmp_path / 'train.txt').write_text('a.jpg\n')
    with pytest.raises(ValueError, match=r'train\.txt, line 1'):
        ShotAccuracy(str(tmp_path / 'train.txt'))


def test_predictions_without_scores_or_with_several_labels_are_refused():
    metric = ShotAccuracy(COUNTS)
    with pytest.raises(ValueError, match=r"no pred_score, only \['pred_label'\]"):
        metric.process(None, [dict(pred_label=torch.tensor([0]))])
    with pytest.raises(ValueError, match='an image has 2 labels'):
        metric.process(None, [dict(pred_score=torch.rand(5), gt_label=torch.tensor([0, 1]))])


def test_both_spellings_of_the_type_build_it_and_no_stock_metric_has_its_name():
    for name in ('ShotAccuracy', 'mmrecall.ShotAccuracy'):
        assert isinstance(METRICS.build(dict(type=name, class_counts=COUNTS)), ShotAccuracy)
    pytest.importorskip('mmpretrain.evaluation')
    from mmpretrain.registry import METRICS as STOCK

    assert 'ShotAccuracy' not in STOCK.module_dict


def test_automatic_counts_are_refused_with_what_to_give_instead():
    with pytest.raises(ValueError, match=r"got class_counts='auto'.*ann_file"):
        ShotAccuracy(class_counts='auto')
