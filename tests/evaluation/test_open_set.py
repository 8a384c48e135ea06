"""A test on images of known and of unknown classes, from two lists, by a runner."""

import pytest
import synthetic_data
import torch

pytest.importorskip('mmpretrain')

import mmpretrain.datasets
import mmpretrain.models  # noqa: F401
from mmengine.hooks import Hook
from mmengine.registry import DATASETS
from mmengine.runner import Runner
from sdn_network import CHANNELS, network_config

CLASSES = 365
PIPELINE = [dict(type='LoadImageFromFile'), dict(type='PackInputs')]


def places(root, name, **options):
    return dict(type='mmrecall.PlacesLT', data_root=str(root), ann_file=name, pipeline=PIPELINE, **options)


def both(root):
    """As docs/data.md shows it; the classes are those of the first list."""
    lists = [places(root, f'Places_LT_{name}.txt', test_mode=True) for name in ('test', 'open')]
    return dict(type='ConcatDataset', datasets=lists, ignore_keys=['classes'])


@pytest.fixture
def root(tmp_path):
    """Places-LT with a training image of every class, some test images, and some of unknown classes, of two folders."""
    synthetic_data.long_tail(tmp_path, ['Places_LT_train.txt'], CLASSES, size=32)
    train = (tmp_path / 'Places_LT_train.txt').read_text().splitlines()
    (tmp_path / 'Places_LT_test.txt').write_text('\n'.join(train[:6] + train[-3:]) + '\n')
    unknown = [line.rsplit(' ', 1)[0] for line in train[20:25]]
    (tmp_path / 'Places_LT_open.txt').write_text(''.join(f'{path} -1\n' for path in unknown))
    return tmp_path


class Scores(Hook):
    """Keeps scores and labels of all images."""

    def __init__(self):
        self.images = []

    def after_test_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.images += [(one.pred_score.tolist(), int(one.gt_label)) for one in outputs]


def open_f_measure(images, threshold):
    """By a loop."""
    true_positives = false_positives = false_negatives = 0
    for score, label in images:
        if max(score) >= threshold:
            true_positives += label == score.index(max(score))
            false_positives += label not in (-1, score.index(max(score)))
            false_negatives += label == -1
    precision = true_positives / (true_positives + false_positives)
    recall = true_positives / (true_positives + false_negatives)
    return 100 * 2 * precision * recall / (precision + recall)


def test_a_runner_tests_on_a_list_of_known_and_one_of_unknown_classes(root):
    head = dict(type='LinearClsHead', num_classes=CLASSES, in_channels=CHANNELS)
    runner = Runner(
        model={**network_config(data_preprocessor=dict(mean=[127.0] * 3, std=[60.0] * 3)), 'head': head},
        default_scope='mmpretrain',
        work_dir=str(root / 'work'),
        experiment_name=root.name,
        test_dataloader=dict(
            batch_size=4, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=False), dataset=both(root)
        ),
        test_cfg=dict(),
        test_evaluator=dict(
            type='mmrecall.ShotAccuracy',
            class_counts=str(root / 'Places_LT_train.txt'),
            open_set_threshold=0.001,
            out_dir=str(root),
        ),
        log_level='WARNING',
    )
    kept = Scores()
    runner.register_hook(kept)
    # all are taken for class 0, some more surely than others
    torch.nn.init.constant_(runner.model.head.fc.bias[0], 7.0)
    runner.test()
    images = list(kept.images)
    threshold = max(max(score) for score, label in images if label == 0)
    assert any(max(score) < threshold for score, _ in images)
    runner.test_evaluator.metrics[0].open_set_threshold = threshold
    found = runner.test()
    expected = open_f_measure(images, threshold)
    assert 0 < expected < 100
    assert found['shot/open_f_measure'] == pytest.approx(expected)
    rows = (root / 'shot_accuracy.csv').read_text().splitlines()[1:]
    assert len(rows) == CLASSES
    assert sum(int(row.split(',')[4]) for row in rows) == 9
    assert runner.test_dataloader.dataset.metainfo['classes'][1] == '1'


def test_images_of_unknown_classes_have_no_part_in_names_and_counts(root):
    (root / 'mixed.txt').write_text('a/x.jpg 0\nb/y.jpg -1\nb/z.jpg 1\n')
    listed = dict(type='mmrecall.LongTailList', data_root=str(root), ann_file='mixed.txt', test_mode=True)
    mixed = DATASETS.build(listed)
    assert mixed.metainfo['classes'] == ('a', 'b')
    assert mixed.class_counts == [1, 1]
    assert [mixed.get_data_info(index)['gt_label'] for index in range(3)] == [0, -1, 1]


@pytest.mark.parametrize('kind', ['PlacesLT', 'LongTailList'])
def test_a_training_list_with_unknown_classes_is_refused(kind, root):
    config = {**places(root, 'Places_LT_open.txt'), 'type': f'mmrecall.{kind}', '_scope_': 'mmpretrain'}
    with pytest.raises(ValueError, match=r'open\.txt, line 1: .* has the label -1, .*test_mode=True'):
        DATASETS.build(config)


def test_another_negative_label_is_refused_in_a_test_list_too(root):
    (root / 'Places_LT_open.txt').write_text('a.jpg -1\nb.jpg -2\n')
    config = {**places(root, 'Places_LT_open.txt', test_mode=True), '_scope_': 'mmpretrain'}
    with pytest.raises(ValueError, match=r'open\.txt, line 2: b\.jpg has the label -2'):
        DATASETS.build(config)
