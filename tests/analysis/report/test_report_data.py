import copy

import pytest

pytest.importorskip('mmseg')
pytest.importorskip('seaborn')

from written_runs import classification_config, segmentation_config, write_run

from mmrecall.analysis.report.notes import notes_on
from mmrecall.analysis.report.selection import comparable, find_work_dirs, read_runs
from mmrecall.analysis.report.tables import compare
from mmrecall.datasets import LabelCounts

LINEAR = dict(type='LinearClsHead', loss=dict(type='CrossEntropyLoss'))
METRICS = {'shot/top1': 50.0}


def written(folder, name, config, **options):
    return write_run(folder / name, config, **options)


def compared(folder):
    """Return the label of every run with a result that is compared, by the name of its work dir, and the notes."""
    runs, _ = read_runs(sorted(find_work_dirs([folder])[0]))
    comparison = compare(comparable(runs)[0])
    notes = [note for note in notes_on(comparison) if 'same data' in note]
    return {one.run.work_dir.name: one.label for one in comparison.runs if one.result}, notes


def listed(train='train.txt', test='test.txt', seed=0, root='data/cifar10-lt'):
    config = copy.deepcopy(classification_config(LINEAR, seed))
    for split, path in (('train', train), ('val', test), ('test', test)):
        config[f'{split}_dataloader']['dataset'] |= dict(ann_file=path, data_root=root)
    return config


def test_lists_of_the_same_name_in_other_folders_of_the_data_are_no_seeds_of_one_label(tmp_path):
    written(tmp_path, 'a', listed(), metrics=METRICS)
    written(tmp_path, 'b', listed('other/train.txt', seed=1), metrics=METRICS)
    written(tmp_path, 'c', listed('./other/../train.txt', seed=2), metrics=METRICS)
    written(tmp_path, 'd', listed(test='other/test.txt', seed=3), metrics=METRICS)
    labels, _ = compared(tmp_path)
    assert list(labels) == ['a', 'c', 'b']
    assert labels['a'] == labels['c'] != labels['b']
    assert 'other/train.txt' in labels['b']


@pytest.mark.parametrize(
    ('one', 'other'),
    [
        (segmentation_config(root='data/CamVid'), segmentation_config(root='/scratch/CamVid', seed=1)),
        (listed('/data/a/train.txt'), listed('/data/b/train.txt', seed=1)),
        (listed('a/train.txt', root=''), listed('b/train.txt', root='', seed=1)),
    ],
)
def test_data_of_the_same_name_in_another_place_are_compared_with_a_note(one, other, tmp_path):
    metrics = None if 'decode_head' in one['model'] else METRICS
    written(tmp_path, 'a', one, metrics=metrics)
    written(tmp_path, 'b', other, metrics=metrics)
    labels, notes = compared(tmp_path)
    assert labels['a'] == labels['b']
    places = [
        config['train_dataloader']['dataset'].get(key)
        for config in (one, other)
        for key in ('data_root', 'ann_file')
        if '/' in str(config['train_dataloader']['dataset'].get(key))
    ]
    different = {place for place in places if places.count(place) == 1}
    assert [all(place in note for place in different) for note in notes] == [True]


@pytest.mark.parametrize('place', ['/home/me/data/CamVid', 'data/CamVid/', './data/CamVid'])
def test_a_relative_place_is_the_same_as_one_that_ends_in_it(place, tmp_path):
    written(tmp_path, 'a', segmentation_config())
    written(tmp_path, 'b', segmentation_config(root=place, seed=1))
    labels, notes = compared(tmp_path)
    assert labels['a'] == labels['b']
    assert notes == []


@pytest.mark.parametrize(
    ('batches', 'gpus', 'same'), [((12, 12), (1, 1), True), ((12, 24), (1, 1), False), ((12, 6), (1, 2), True)]
)
def test_runs_whose_logs_tell_of_other_data_are_no_seeds_of_one_label(batches, gpus, same, tmp_path):
    for seed, (number, ranks) in enumerate(zip(batches, gpus, strict=True)):
        start = written(tmp_path, f'run{seed}', segmentation_config(seed=seed))
        start.logger.info(f'\nSystem environment:\n    GPU number: {ranks}\n------\n')
        start.logger.info(f'Epoch(train) [1][ 4/{number}]  lr: 4.9991e-02  loss: 2.1456')
    labels, notes = compared(tmp_path)
    assert (labels['run0'] == labels['run1']) == same
    assert [str(tmp_path / 'run1') in note for note in notes] == ([] if same else [True])


@pytest.mark.parametrize('counts', [[5, 3, 2], [5, 2, 3]])
def test_runs_with_other_class_counts_are_no_seeds_of_one_label(counts, tmp_path):
    for seed, found in enumerate(([5, 3, 2], counts)):
        written(tmp_path, f'run{seed}', segmentation_config(seed=seed))
        counted = LabelCounts(['road', 'pole', 'bus'], found, [1, 1, 1], None, 0, 10, 1, 'pixels')
        counted.write(tmp_path / f'run{seed}' / 'class_counts-0.json')
    labels, notes = compared(tmp_path)
    same = counts == [5, 3, 2]
    assert (labels['run0'] == labels['run1']) == same
    assert len(notes) == (0 if same else 1)
