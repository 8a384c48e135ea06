"""A test counts for the run whose checkpoint it is of."""

import pytest

pytest.importorskip('mmseg')
pytest.importorskip('seaborn')

from written_runs import Start, log_table, segmentation_config, write_run, write_test

from mmrecall.analysis.report.checkpoints import is_of_run
from mmrecall.analysis.report.runs import read_run


def test_a_test_of_an_earlier_trainings_checkpoint_in_the_work_dir_is_left_out(tmp_path):
    start = Start(tmp_path / 'ce', segmentation_config())
    start.train(10)
    metrics, _ = log_table(seed=1)
    start.validate(10, metrics)
    # what `AtomicCheckpointHook` writes when a training begins anew
    (tmp_path / 'ce' / 'earlier_checkpoints').write_text('iter_40.pth\n')
    write_test(tmp_path / 'ce', seed=2, checkpoint=tmp_path / 'ce' / 'iter_40.pth')
    run = read_run(tmp_path / 'ce')
    assert [one.source for one in run.results] == ['validation']
    (problem,) = run.problems
    assert 'iter_40.pth, of an earlier training in this work dir; it is left out' in problem


def test_a_test_of_another_runs_checkpoint_is_named_and_the_validation_counts(tmp_path):
    start = Start(tmp_path / 'ce', segmentation_config() | dict(work_dir='work_dirs/ce'))
    start.train(10)
    metrics, _ = log_table(seed=1)
    start.validate(10, metrics)
    other = tmp_path / 'recall' / 'iter_10.pth'
    write_test(tmp_path / 'ce', seed=2, checkpoint=other)
    run = read_run(tmp_path / 'ce')
    assert [(one.source, one.metrics['mIoU']) for one in run.results] == [('validation', metrics['mIoU'])]
    (problem,) = run.problems
    assert f'a test of {other}, which is no checkpoint of this run; it is left out' in problem


def test_an_earlier_test_of_the_run_counts_where_the_last_is_of_another(tmp_path):
    write_run(tmp_path, segmentation_config(), tested=None)
    metrics, _ = write_test(tmp_path, seed=1)
    write_test(tmp_path, seed=2, time='20260103_000000', checkpoint='https://x.org/pretrained.pth')
    (result,) = read_run(tmp_path).results
    assert (result.of, result.metrics['mIoU']) == ('iter_10.pth', metrics['mIoU'])


@pytest.mark.parametrize(
    ('checkpoint', 'own'),
    [
        ('{work_dir}/iter_10.pth', True),
        ('work_dirs/ce/iter_10.pth', True),
        ('./work_dirs/ce/best_mIoU_iter_5.pth', True),
        ('../project/work_dirs/ce/iter_10.pth', True),
        ('/cluster/project/work_dirs/ce/iter_10.pth', True),
        ('ce/iter_10.pth', True),
        ('iter_10.pth', True),
        ('/kept/ce/iter_10.pth', True),
        ('work_dirs/sdn/iter_10.pth', False),
        ('work_dirs/ce/seed_1/iter_10.pth', False),
        ('/cluster/project/work_dirs/sdn/iter_10.pth', False),
        ('{work_dir}/../sdn/iter_10.pth', False),
        ('https://download.openmmlab.com/deeplabv3.pth', False),
        ('/ce/iter_10.pth', False),
    ],
)
def test_a_checkpoint_is_of_the_run_that_wrote_to_its_folder_wherever_its_logs_are_now(checkpoint, own, tmp_path):
    """The run wrote to work_dirs/ce and kept its checkpoints in /kept; its logs were moved."""
    for name in ('moved', 'sdn'):
        (tmp_path / name).mkdir()
    config = dict(work_dir='./work_dirs/ce', default_hooks=dict(checkpoint=dict(out_dir='/kept')))
    assert is_of_run(checkpoint.format(work_dir=tmp_path / 'moved'), tmp_path / 'moved', config) is own


def test_a_work_dir_behind_a_link_is_the_same(tmp_path):
    (tmp_path / 'real').mkdir()
    (tmp_path / 'link').symlink_to('real')
    assert is_of_run(f'{tmp_path}/link/iter_10.pth', tmp_path / 'real', {})
    assert is_of_run(f'{tmp_path}/real/iter_10.pth', tmp_path / 'link', {})
