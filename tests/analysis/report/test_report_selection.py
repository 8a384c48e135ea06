from pathlib import Path

import pytest

pytest.importorskip('mmseg')
pytest.importorskip('seaborn')

from written_runs import (
    RECALL,
    Start,
    classification_config,
    log_table,
    segmentation_config,
    write_run,
)

from mmrecall.analysis.report.selection import comparable, find_work_dirs, read_runs


def select(*paths):
    """Return the names of the work dirs that are reported, and reasons by the name of those that are not."""
    work_dirs, missing = find_work_dirs(paths)
    runs, unread = read_runs(work_dirs)
    selected, others = comparable(runs)
    skipped = {Path(one.work_dir).name: one.reason for one in (*missing, *unread, *others)}
    return [one.run.work_dir.name for one in selected], skipped


def test_runs_are_found_below_a_folder_and_once(tmp_path):
    for name in ('ce/seed_0', 'ce/seed_1', 'recall/seed_0'):
        write_run(tmp_path / name, segmentation_config())
    found, skipped = find_work_dirs([tmp_path / 'ce', tmp_path, tmp_path / 'ce' / 'seed_1'])
    assert [str(path.relative_to(tmp_path)) for path in found] == ['ce/seed_0', 'ce/seed_1', 'recall/seed_0']
    assert not skipped


def test_a_folder_that_is_missing_or_without_logs_is_named(tmp_path):
    (tmp_path / 'empty').mkdir()
    selected, skipped = select(tmp_path / 'empty', tmp_path / 'missing')
    assert not selected
    assert skipped == {'empty': 'there are no logs in it or below it', 'missing': 'there is no such folder'}


def test_a_run_of_runs_tsv_that_has_not_begun_is_named(tmp_path):
    write_run(tmp_path / 'ce' / 'seed_0', segmentation_config())
    rows = [f'{seed}\tce.py\t{seed}\t/elsewhere/ce/seed_{seed}\tpython' for seed in (0, 1)]
    (tmp_path / 'runs.tsv').write_text('task\tconfig\tseed\twork_dir\tcommand\n' + '\n'.join(rows) + '\n')
    selected, skipped = select(tmp_path)
    assert selected == ['seed_0']
    assert skipped == {'seed_1': 'in runs.tsv, but not started'}


def test_of_segmentation_and_classification_the_fewer_are_named(tmp_path):
    for seed in (0, 1):
        write_run(tmp_path / f's{seed}', segmentation_config(seed=seed))
    write_run(tmp_path / 'c', classification_config(dict(type='LinearClsHead')), metrics={'shot/top1': 50.0})
    selected, skipped = select(tmp_path)
    assert selected == ['s0', 's1']
    assert skipped == {'c': 'not comparable with most of the runs: kind: classification here, segmentation there'}


def test_another_data_set_is_named_and_another_place_of_the_same_is_not(tmp_path):
    write_run(tmp_path / 'here', segmentation_config())
    write_run(tmp_path / 'there', segmentation_config(root='/scratch/CamVid/'))
    write_run(tmp_path / 'other', segmentation_config(root='data/CamVid-night'))
    selected, skipped = select(tmp_path)
    assert selected == ['here', 'there']
    assert 'data set, data_root: CamVid-night here, CamVid there' in skipped['other']


def test_other_class_names_are_named(tmp_path):
    for number in (0, 1):
        write_run(tmp_path / f'run{number}', segmentation_config())
    write_run(tmp_path / 'other', segmentation_config(), classes=('road', 'pole', 'tram'))
    selected, skipped = select(tmp_path)
    assert selected == ['run0', 'run1']
    assert 'tram' in skipped['other']


def test_a_log_of_mmcv_1_is_named(tmp_path):
    write_run(tmp_path / 'new', segmentation_config())
    (tmp_path / 'old').mkdir()
    (tmp_path / 'old' / '20210101_000000.log.json').write_text('{"mode": "train"}\n')
    selected, skipped = select(tmp_path)
    assert selected == ['new']
    assert 'MMCV 1.x' in skipped['old']


def test_an_empty_log_is_named(tmp_path):
    write_run(tmp_path / 'whole', segmentation_config())
    write_run(tmp_path / 'empty', segmentation_config()).scalars.write_text('{"lr": 0.')
    selected, skipped = select(tmp_path)
    assert selected == ['whole']
    assert 'no line that can be read' in skipped['empty']


def validated(work_dir, config):
    start = write_run(work_dir, config, tested=None)
    start.validate(10, log_table()[0])


def test_a_validation_of_other_images_is_not_compared_with_tests(tmp_path):
    for number in (0, 1):
        write_run(tmp_path / f'tested{number}', segmentation_config())
    validated(tmp_path / 'validated', segmentation_config())
    validated(tmp_path / 'elsewhere', segmentation_config(root='data/other'))
    runs, _ = read_runs(find_work_dirs([tmp_path])[0])
    selected, skipped = comparable(runs)
    results = {one.run.work_dir.name: one.result and one.result.source for one in selected}
    # it is trained on the same images, so its curves are compared
    assert results == dict(tested0='test', tested1='test', validated=None)
    assert 'img_path: val here, test there' in skipped[0].reason


def test_a_validation_of_the_same_images_is(tmp_path):
    head = dict(type='LinearClsHead')
    write_run(tmp_path / 'tested', classification_config(head), metrics={'shot/top1': 50.0})
    start = Start(tmp_path / 'validated', classification_config(head, seed=1))
    start.train(10)
    start.validate(1, {'shot/top1': 40.0})
    assert select(tmp_path) == (['tested', 'validated'], {})


def test_where_most_are_validated_alone_a_tested_run_takes_part_with_its_validation(tmp_path):
    for number in (0, 1):
        validated(tmp_path / f'run{number}', segmentation_config())
    start = write_run(tmp_path / 'tested', segmentation_config())
    start.validate(10, log_table()[0])
    runs, _ = read_runs(find_work_dirs([tmp_path])[0])
    selected, skipped = comparable(runs)
    assert [one.result.source for one in selected] == ['validation'] * 3
    assert not skipped


def test_a_run_without_a_result_stays_for_its_curves(tmp_path):
    write_run(tmp_path / 'done', segmentation_config())
    write_run(tmp_path / 'running', segmentation_config(RECALL), tested=None)
    write_run(tmp_path / 'elsewhere', segmentation_config(root='data/other'), tested=None)
    selected, skipped = select(tmp_path)
    assert selected == ['done', 'running']
    assert list(skipped) == ['elsewhere']
