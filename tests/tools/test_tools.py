"""The tools as a user calls them, on synthetic data."""

import re

import pytest
import synthetic_data
from commands import free_port, run
from small_training import small_camvid

CONFIG = 'deeplabv3_r18w32-d16_1xb8-recall-1k_camvid-180x240.py'

# config, what makes its data, the last class that its test prints, and options which make it small
COUNTING = {
    'cityscapes': (
        'deeplabv3_r18-d16_1xb6-weighted-ce-90k_cityscapes-769x769.py',
        synthetic_data.cityscapes,
        'bicycle',
        [
            'train_dataloader.dataset.pipeline.2.scales=[(128,64),(256,128)]',
            'train_dataloader.dataset.pipeline.3.crop_size=(64,64)',
            'model.data_preprocessor.size=(64,64)',
        ],
    ),
    'synthia': (
        'deeplabv3_r18-d16_1xb6-balanced-ce-100k_synthia-384x768.py',
        synthetic_data.synthia,
        'traffic light',
        [
            'train_dataloader.dataset.pipeline.2.scale=(64,32)',
            'val_dataloader.dataset.pipeline.1.scale=(64,32)',
            'test_dataloader.dataset.pipeline.1.scale=(64,32)',
            'model.data_preprocessor.size=(32,64)',
        ],
    ),
}


@pytest.fixture(scope='module')
def small(tmp_path_factory):
    """The small CamVid config, smaller: what follows ``--cfg-options``."""
    pytest.importorskip('mmseg')
    return small_camvid(tmp_path_factory.mktemp('camvid'))


@pytest.fixture
def config(repository):
    """Path of the small CamVid config."""
    return repository / 'configs' / 'deeplabv3' / CONFIG


def test_train_then_test_hand_over_to_the_stock_tools(repository, config, small, tmp_path):
    tools = repository / 'tools'
    status, output = run(
        'python', tools / 'train.py', config, '--work-dir', tmp_path, '--cfg-options', *small
    )  # fmt: skip
    assert status == 0, output[-3000:]
    assert re.search(r'Iter\(train\).*decode\.loss_recall: \d', output)
    assert re.search(r'Iter\(val\).*mIoU: \d', output)
    status, output = run(
        'python', tools / 'test.py', config, tmp_path / 'iter_2.pth', '--work-dir', tmp_path, '--cfg-options', *small
    )  # fmt: skip
    assert status == 0, output[-3000:]
    assert re.search(r'Bicyclist\s*\|', output)
    assert re.search(r'Iter\(test\).*mAcc: \d', output)


@pytest.mark.parametrize('data', COUNTING)
def test_losses_that_count_the_training_set_train_and_test(data, repository, tmp_path):
    pytest.importorskip('mmseg')
    name, make, last_class, options = COUNTING[data]
    config, tools, work = repository / 'configs' / 'deeplabv3' / name, repository / 'tools', tmp_path / 'work'
    make(tmp_path / 'data')
    options = [*options, 'train_cfg.max_iters=2', 'train_cfg.val_interval=2', 'default_hooks.logger.interval=1']
    options += ['model.backbone.init_cfg=None', 'model.backbone.base_channels=8', 'model.backbone.stem_channels=8']
    options += ['model.decode_head.in_channels=64', 'model.decode_head.channels=8']
    # SyncBN needs a GPU
    options += ['model.backbone.norm_cfg.type=BN', 'model.decode_head.norm_cfg.type=BN']
    for split in ('train', 'val', 'test'):
        options += [f'{split}_dataloader.{key}' for key in ('num_workers=0', 'persistent_workers=False')]
        options += [f'{split}_dataloader.dataset.data_root={tmp_path}/data/']
    status, output = run('python', tools / 'train.py', config, '--work-dir', work, '--cfg-options', *options)
    assert status == 0, output[-3000:]
    assert re.search(r'Iter\(train\) \[2/2\].* loss: \d', output)
    assert re.search(r'Iter\(val\).*mIoU: \d', output)
    status, output = run(
        'python', tools / 'test.py', config, work / 'iter_2.pth', '--work-dir', work, '--cfg-options', *options
    )
    assert status == 0, output[-3000:]
    assert re.search(rf'{last_class}\s*\|', output)
    assert re.search(r'Iter\(test\).*mAcc: \d', output)


def test_two_cpu_ranks_train_and_evaluate(repository, config, small, tmp_path):
    tools = repository / 'tools'
    status, output = run(
        'bash',
        tools / 'dist_train.sh',
        config,
        2,
        '--work-dir',
        tmp_path,
        '--cfg-options',
        *small,
        PORT=free_port(),
        CUDA_VISIBLE_DEVICES='-1',
    )
    assert status == 0, output[-3000:]
    assert 'Distributed training: True' in output
    assert 'GPU number: 2' in output
    assert re.search(r'Iter\(val\).*mIoU: \d', output)
    status, output = run(
        'bash', tools / 'dist_test.sh', config, tmp_path / 'iter_2.pth', 2, '--work-dir', tmp_path,
        '--cfg-options', *small, PORT=free_port(), CUDA_VISIBLE_DEVICES='-1',
    )  # fmt: skip
    assert status == 0, output[-3000:]
    assert re.search(r'Iter\(test\).*mAcc: \d', output)


@pytest.fixture
def slurm(repository, tmp_path):
    """Run a Slurm script; Slurm's commands print their arguments, a line each, and every partition has the same.

    Submitted jobs have the id 7; ``queue`` holds lines of an id and a state.
    """

    def status_and_lines(script, *words, has='gpu:a100:8(S:0-1)', queue='', **variables):
        _write_program(tmp_path / 'srun', 'printf "%s\\n" "$@"')
        _write_program(tmp_path / 'sbatch', 'printf "%s\\n" "$@" >&2; echo "7;cluster"')
        _write_program(tmp_path / 'squeue', f'echo "{queue}"')
        _write_program(tmp_path / 'sinfo', f'[ "$2" = --partition=nowhere ] || echo "{has}"')
        path = f'PATH={tmp_path}:/usr/bin:/bin'
        status, output = run('env', path, 'bash', repository / 'tools' / f'{script}.sh', *words, **variables)
        submitted = 'Submitted batch job 7\n'
        assert output.endswith(submitted) == ('--requeue' in output)
        return status, output.removesuffix(submitted).splitlines()

    return status_and_lines


def _write_program(path, script):
    path.write_text(f'#!/bin/sh\n{script}\n')
    path.chmod(0o755)


@pytest.mark.parametrize('tool', ['train', 'test'])
def test_slurm_commands_have_mmsegs_order_and_variables(slurm, tool):
    checkpoint = ['c.pth'] if tool == 'test' else []
    variables = dict(GPUS='8', GPUS_PER_NODE='4', CPUS_PER_TASK='6', SRUN_ARGS='--quotatype=spot')
    status, words = slurm(f'slurm_{tool}', 'gpu', 'job', 'a c.py', *checkpoint, '--resume', **variables)
    assert status == 0, words
    for word in ('--job-name=job', '--gres=gpu:4', '--ntasks=8', '--ntasks-per-node=4', '--cpus-per-task=6'):
        assert word in words
    assert '--quotatype=spot' in words
    assert words[:2] == ['-p', 'gpu']
    assert words[-4 - len(checkpoint) :] == ['a c.py', *checkpoint, '--launcher', 'slurm', '--resume']


@pytest.mark.parametrize('has', ['(null)', 'craynetwork:4'])
@pytest.mark.parametrize('tool', ['train', 'test'])
def test_slurm_partitions_without_gpus_are_not_asked_for_some(slurm, tool, has):
    status, words = slurm(f'slurm_{tool}', 'cpu', 'job', 'c.py', 'c.pth', has=has)
    assert status == 0, words
    assert '--ntasks=4' in words
    assert not any('gres' in word for word in words)


def test_a_slurm_job_saves_and_requeues_itself(slurm, tmp_path):
    config, work = tmp_path / 'a.py', tmp_path / 'a 100% folder'
    config.touch()
    words = ['gpu', 'job', config, '--work-dir', work, '--cfg-options', 'a=b c']
    status, words = slurm('slurm_sbatch', *words, SBATCH_ARGS='--signal=B:USR1@600 --time=2:00:00', PY_ARGS='--amp')
    assert status == 0, words
    assert {'--requeue', '--open-mode=append', '--gres=gpu:4', '--time=2:00:00'} <= set(words)
    assert f'--output={tmp_path}/a 100%% folder/slurm-%j.out' in words
    # the last one counts
    assert words.index('--signal=B:USR1@120') < words.index('--signal=B:USR1@600')
    assert words[-2].endswith('tools/slurm_job.sh')
    assert words[-1] == str(work)
    _, output = run(
        'env', 'PYTHON=echo', 'sh', '-c', f'sed s/exec/echo/ "{work}/slurm_command.sh" | bash -s -- --resume'
    )
    assert output.split('train.py ')[1].strip() == (
        f'{config} --launcher slurm --work-dir {work} --amp --cfg-options a=b c --resume'
    )


def test_ranks_that_are_still_starting_survive_the_signal(slurm, tmp_path):
    config, work, python = tmp_path / 'a.py', tmp_path / 'work', tmp_path / 'python'
    config.touch()
    _write_program(python, 'kill -USR1 $$; echo alive')
    status, output = slurm('slurm_sbatch', 'gpu', 'job', config, '--work-dir', work, PYTHON=str(python))
    assert status == 0, output
    assert run('bash', work / 'slurm_command.sh') == (0, 'alive\n')


def test_a_slurm_job_has_mmsegs_work_dir_by_default(slurm, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'some.config.py').touch()
    status, words = slurm('slurm_sbatch', 'gpu', 'job', 'some.config.py')
    assert status == 0, words
    assert words[-1] == str(tmp_path / 'work_dirs/some.config')


def test_a_slurm_array_has_a_task_for_every_run(slurm, tmp_path):
    for name in ('a', 'b'):
        (tmp_path / f'{name}.py').touch()
    configs, work = [tmp_path / 'a.py', tmp_path / 'b.py'], tmp_path / 'work'
    status, words = slurm('slurm_array', 'gpu', 'job', '0 12', *configs, f'--work-dir={work}', MAX_PARALLEL='3')
    assert status == 0, words
    assert '--array=0-3%3' in words
    runs = [work / name / f'seed_{seed}' for name in 'ab' for seed in (0, 12)]
    assert words[-4:] == [str(path) for path in runs]
    rows = [line.split('\t') for line in (work / 'runs.tsv').read_text().splitlines()]
    assert [row[3] for row in rows[1:]] == words[-4:]
    for seed, path, row in zip((0, 12, 0, 12), runs, rows[1:], strict=True):
        assert row[4].rstrip().endswith(f'--work-dir {path} --cfg-options randomness.seed={seed}')
        assert row[4] in (path / 'slurm_command.sh').read_text()


def contents(folder):
    return {path: path.is_file() and path.read_bytes() for path in folder.rglob('*')}


@pytest.mark.parametrize('state', ['PENDING', 'RUNNING'])
def test_a_second_submission_of_a_work_dir_is_refused_while_the_first_is_in_the_queue(slurm, tmp_path, state):
    config, work = tmp_path / 'a.py', tmp_path / 'work'
    config.touch()
    submit = ['slurm_sbatch', 'gpu', 'job', config, '--work-dir', work]
    status, lines = slurm(*submit, '--cfg-options', 'a=1')
    assert status == 0, lines
    before = contents(work)
    status, lines = slurm(*submit, '--cfg-options', 'a=2', queue=f'17 RUNNING\n7 {state}')
    assert status == 2
    assert lines[0].endswith(
        f'job 7 ({state}) trains in {work}; wait for its end, cancel it (scancel 7), or set another --work-dir'
    )
    assert contents(work) == before
    # The first has ended.
    status, lines = slurm(*submit, '--cfg-options', 'a=2', queue='17 RUNNING\n7_1 RUNNING')
    assert status == 0, lines
    assert 'a=2' in (work / 'slurm_command.sh').read_text()


def test_a_run_of_an_array_that_is_in_the_queue_is_refused_and_the_others_are_not(slurm, tmp_path):
    config, work = tmp_path / 'a.py', tmp_path / 'work'
    config.touch()
    array = ['slurm_array', 'gpu', 'job', '0 1', config, f'--work-dir={work}']
    assert slurm(*array)[0] == 0
    before = contents(work)
    for again in (array, ['slurm_sbatch', 'gpu', 'job', config, f'--work-dir={work}/a/seed_1']):
        status, lines = slurm(*again, queue='7_1 PENDING')
        assert status == 2
        assert f'job 7_1 (PENDING) trains in {work}/a/seed_1' in lines[0]
        assert contents(work) == before
    assert slurm('slurm_sbatch', 'gpu', 'job', config, f'--work-dir={work}/a/seed_0', queue='7_1 PENDING')[0] == 0


def test_the_list_of_an_array_keeps_the_runs_of_earlier_ones(slurm, tmp_path):
    for name in ('a', 'b'):
        (tmp_path / f'{name}.py').touch()
    work = tmp_path / 'work'
    for seeds, name in (('0 1', 'a'), ('0', 'b'), ('1', 'a')):
        status, lines = slurm('slurm_array', 'gpu', 'job', seeds, tmp_path / f'{name}.py', f'--work-dir={work}')
        assert status == 0, lines
    head, *rows = [line.split('\t') for line in (work / 'runs.tsv').read_text().splitlines()]
    assert head[3] == 'work_dir'
    assert [row[3] for row in rows] == [f'{work}/{run}' for run in ('a/seed_1', 'b/seed_0', 'a/seed_0')]


def test_two_submissions_at_the_same_time_do_not_mix(slurm, tmp_path):
    config, work = tmp_path / 'a.py', tmp_path / 'work'
    config.touch()
    (work / 'slurm_submission').mkdir(parents=True)
    submit = ['slurm_sbatch', 'gpu', 'job', config, '--work-dir', work]
    status, lines = slurm(*submit)
    assert status == 2
    assert lines[0].endswith(f'or, if none is running, remove {work}/slurm_submission')
    assert contents(work) == {work / 'slurm_submission': False}
    (work / 'slurm_submission').rmdir()
    assert slurm(*submit)[0] == 0
    assert not (work / 'slurm_submission').exists()


@pytest.mark.parametrize(
    ('script', 'words', 'message'),
    [
        ('slurm_train', ['nowhere', 'job', 'a.py'], 'Slurm has no partition nowhere; it has gpu:'),
        ('slurm_test', ['nowhere', 'job', 'a.py', 'a.pth'], 'Slurm has no partition nowhere'),
        ('slurm_sbatch', ['nowhere', 'job', 'a.py'], 'Slurm has no partition nowhere'),
        ('slurm_sbatch', ['gpu', 'job', 'b.py'], 'there is no config b.py'),
        ('slurm_sbatch', ['gpu', 'job', 'a.py', '--work-dir'], '--work-dir without a folder'),
        ('slurm_array', ['gpu', 'job', '0', 'a.py', 'b.py'], 'there is no config b.py'),
        ('slurm_array', ['gpu', 'job', 'a.py', 'a.py'], 'a.py is no seed'),
        ('slurm_array', ['gpu', 'job', '', 'a.py'], 'no seed'),
        ('slurm_array', ['gpu', 'job', '0 0', 'a.py'], 'would share .*work_dirs/job/a/seed_0'),
        ('slurm_array', ['gpu', 'job', '0', 'a.py', 'c/a.py'], 'two configs of the same name'),
        ('slurm_array', ['gpu', 'job', '0', '--work-dir', 'a.py'], 'no config'),
    ],
)
def test_slurm_scripts_say_what_is_wrong_before_anything_is_submitted(
    slurm, script, words, message, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'c').mkdir()
    for config in ('a.py', 'c/a.py'):
        (tmp_path / config).touch()
    status, lines = slurm(script, *words)
    assert status == 2
    assert len(lines) == 1
    assert re.search(message, lines[0])
    assert not (tmp_path / 'work_dirs').exists()


@pytest.mark.parametrize(
    'script', ['dist_train', 'dist_test', 'slurm_train', 'slurm_test', 'slurm_sbatch', 'slurm_array']
)
def test_scripts_without_arguments_say_how_they_are_used(repository, script):
    status, output = run('bash', repository / 'tools' / f'{script}.sh')
    assert status == 2
    assert output.startswith('usage: ')
