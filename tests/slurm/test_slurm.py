"""Training through a real Slurm: `make test-slurm`."""

import re
import signal
import time

import pytest
from single_node_cluster import SingleNodeCluster, missing_packages
from small_training import small_camvid

pytestmark = pytest.mark.slurm

ITERATIONS = 60
TWO_RANKS = dict(GPUS='2', GPUS_PER_NODE='2', CPUS_PER_TASK='1')
ONE_RANK = dict(GPUS='1', GPUS_PER_NODE='1', CPUS_PER_TASK='1')
FINAL = ('COMPLETED', 'FAILED', 'CANCELLED', 'TIMEOUT', 'NODE_FAIL')


@pytest.fixture(scope='session')
def cluster():
    """A Slurm of one machine."""
    if missing := missing_packages():
        pytest.skip(f'NOT TESTED ON SLURM: no {", ".join(missing)}; apt-get install slurm-wlm munge')
    slurm = SingleNodeCluster()
    # so that the daemons are stopped then too
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        slurm.start()
        yield slurm
    finally:
        slurm.stop()
        signal.signal(signal.SIGTERM, before)


@pytest.fixture(scope='session')
def options(tmp_path_factory):
    """What follows ``--cfg-options``: small, and with a checkpoint every five iterations."""
    pytest.importorskip('mmseg')
    return [*small_camvid(tmp_path_factory.mktemp('camvid'), ITERATIONS), 'default_hooks.checkpoint.interval=5']


@pytest.fixture
def config(repository):
    """Path of the small CamVid config."""
    return repository / 'configs/deeplabv3/deeplabv3_r18w32-d16_1xb8-recall-1k_camvid-180x240.py'


@pytest.fixture
def submit(cluster, repository):
    """Call a script that submits; the number of the job."""

    def number_of_job(script, *words, **variables):
        status, output = cluster.run('bash', repository / 'tools' / script, *words, **variables)
        assert status == 0, output
        return re.search(r'Submitted batch job (\d+)', output)[1]

    return number_of_job


@pytest.fixture
def train(submit, config, options, tmp_path):
    """Submit a training of two ranks; the number of the job and its work dir."""
    # which neither a shell nor Slurm should take apart
    work = tmp_path / 'a %j folder'

    def job_and_work_dir(*more_options):
        words = ['--work-dir', work, '--cfg-options', *options, *more_options]
        return submit('slurm_sbatch.sh', 'cpu', 'train', config, *words, **TWO_RANKS), work

    return job_and_work_dir


@pytest.fixture
def pretend(submit, tmp_path):
    """Submit a shell script in place of python; the number of the job and its work dir."""

    def job_and_work_dir(script, *words, name='pretended'):
        config, python, work = tmp_path / f'{name}.py', tmp_path / name, tmp_path / 'work'
        config.touch()
        python.write_text(
            '#!/usr/bin/env -S --default-signal=USR1 bash\n'
            'while [ "$1" != --work-dir ]; do shift; done\n'
            'work=$2; [ "${@: -1}" = --resume ] && resumed=yes || resumed=\n'
            f'save() {{ echo "$1" > "$work/last_checkpoint"; }}\n{script}\n'
        )
        python.chmod(0o755)
        words = ['cpu', 'job', config, '--work-dir', work, *words]
        return submit('slurm_sbatch.sh', *words, PYTHON=str(python), **ONE_RANK), work

    return job_and_work_dir


@pytest.fixture
def wait_for_file(cluster):
    """Wait until a job has written a file to its work dir."""

    def wait(job, work, name='last_checkpoint', seconds=120):
        end = time.monotonic() + seconds
        while not (work / name).exists():
            state = cluster.job(job)['JobState']
            assert state not in FINAL, f'{state}\n{log_of(work)[-3000:]}'
            assert time.monotonic() < end, f'no {work / name}'
            time.sleep(0.05)

    return wait


def log_of(work):
    (log,) = work.glob('slurm-*.out')
    return log.read_text()


def check_finished_after_resume(cluster, job, work):
    """Check that a job was restarted once and went on to its end; the iteration where it went on."""
    known = cluster.wait_for_state(job, *FINAL)
    log = log_of(work)
    assert known['JobState'] == 'COMPLETED', log[-3000:]
    assert known['Restarts'] == '1'
    (iteration,) = map(int, re.findall(r'resumed epoch: 0, iter: (\d+)', log))
    first, second = log.split(f'resumed epoch: 0, iter: {iteration}\n')
    trained = [int(number) for number in re.findall(rf'Iter\(train\) \[ *(\d+)/{ITERATIONS}\]', second)]
    assert trained == list(range(iteration + 1, ITERATIONS + 1))
    assert f'[{ITERATIONS}/{ITERATIONS}]' not in first
    assert re.search(r'Iter\(val\).*mIoU: \d', second)
    assert (work / f'iter_{ITERATIONS}.pth').is_file()
    return iteration


def test_two_ranks_train_in_the_foreground_and_are_tested(cluster, repository, config, options, tmp_path):
    few = [*options, 'train_cfg.max_iters=2', 'train_cfg.val_interval=2']
    words = ['--work-dir', tmp_path, '--cfg-options', *few]
    status, output = cluster.run(
        'bash', repository / 'tools/slurm_train.sh', 'cpu', 'train', config, *words, **TWO_RANKS
    )
    assert status == 0, output[-3000:]
    assert 'GPU number: 2' in output
    assert re.search(r'Iter\(val\).*mIoU: \d', output)
    status, output = cluster.run(
        'bash', repository / 'tools/slurm_test.sh', 'cpu', 'test', config, tmp_path / 'iter_2.pth', *words, **TWO_RANKS
    )
    assert status == 0, output[-3000:]
    assert re.search(r'Iter\(test\).*mAcc: \d', output)


def test_a_requeued_job_goes_on_from_its_checkpoint(cluster, train, wait_for_file):
    job, work = train()
    wait_for_file(job, work)
    assert cluster.run('scontrol', 'requeue', job)[0] == 0
    assert check_finished_after_resume(cluster, job, work) % 5 == 0


def test_a_job_whose_step_was_killed_goes_on_from_its_checkpoint(cluster, train, wait_for_file):
    job, work = train()
    wait_for_file(job, work)
    assert cluster.run('scancel', '--signal=KILL', f'{job}.0')[0] == 0
    assert check_finished_after_resume(cluster, job, work) % 5 == 0
    assert 'after a new checkpoint; goes back to the queue' in log_of(work)


def test_at_the_time_limit_a_job_saves_and_goes_on_from_there(cluster, train, wait_for_file):
    # the signal comes to workers too
    job, work = train('train_dataloader.num_workers=1')
    wait_for_file(job, work)
    assert cluster.run('scancel', '--signal=USR1', '--batch', job)[0] == 0
    iteration = check_finished_after_resume(cluster, job, work)
    log = log_of(work)
    assert 'asking the ranks to save and end' in log
    assert f'Stopped by SIGUSR1 after {iteration} iterations' in log
    trained = re.findall(rf'Iter\(train\) \[ *(\d+)/{ITERATIONS}\]', log)
    assert sorted(map(int, trained)) == list(range(1, ITERATIONS + 1)), 'an iteration was lost or done twice'


def test_a_mistake_in_the_config_ends_the_job(cluster, train):
    job, work = train('model.decode_head.num_classes=-1')
    known = cluster.wait_for_state(job, *FINAL)
    assert (known['JobState'], known['Restarts']) == ('FAILED', '0')
    assert 'without a new checkpoint; not requeued' in log_of(work)


def test_an_array_trains_every_config_with_every_seed(cluster, submit, repository, config, options, tmp_path):
    other = config.with_name(config.name.replace('recall', 'ce'))
    few = [*options, 'train_cfg.max_iters=3', 'train_cfg.val_interval=3']
    words = ['cpu', 'table', '0 7', config, other, '--work-dir', tmp_path, '--cfg-options', *few]
    job = submit('slurm_array.sh', *words, **ONE_RANK)
    for task in range(4):
        known = cluster.wait_for_state(f'{job}_{task}', *FINAL)
        assert known['JobState'] == 'COMPLETED', (tmp_path / f'slurm-{job}_{task}.out').read_text()[-3000:]
    head, *rows = [line.split('\t') for line in (tmp_path / 'runs.tsv').read_text().splitlines()]
    assert head == ['task', 'config', 'seed', 'work_dir', 'command']
    runs = [(str(path), seed, str(tmp_path / path.stem / f'seed_{seed}')) for path in (config, other) for seed in '07']
    assert [tuple(row[1:4]) for row in rows] == runs
    losses = set()
    for _, seed, work in runs:
        (log,) = (repository / work).glob('*/vis_data/scalars.json')
        losses.add(re.search(r'"loss": ([\d.]+)', log.read_text())[1])
        (dump,) = (repository / work).glob('*.py')
        assert re.search(rf'randomness = dict\(.*seed={seed}\b', dump.read_text())
    assert len(losses) == 4


def test_the_time_is_over_before_a_checkpoint(cluster, pretend, wait_for_file):
    job, work = pretend('touch "$work/started"; trap "exit 75" USR1; sleep 30 & wait')
    wait_for_file(job, work, 'started')
    cluster.run('scancel', '--signal=USR1', '--batch', job)
    known = cluster.wait_for_state(job, *FINAL)
    assert (known['JobState'], known['ExitCode'], known['Restarts']) == ('FAILED', '75:0', '0')
    assert 'without a new checkpoint; not requeued. It needs more time' in log_of(work)


def test_ranks_that_do_not_end_are_ended_before_slurm_ends_the_job(cluster, pretend, wait_for_file):
    job, work = pretend('[ "$resumed" ] && exit; trap "" USR1; save one; while :; do sleep 0.2; done', '--amp')
    wait_for_file(job, work)
    cluster.run('scontrol', 'update', f'JobId={job}', 'EndTime=now+36')
    cluster.run('scancel', '--signal=USR1', '--batch', job)
    known = cluster.wait_for_state(job, *FINAL)
    assert (known['JobState'], known['Restarts']) == ('COMPLETED', '1'), log_of(work)
    assert 'the ranks have not ended by themselves' in log_of(work)


def test_a_pre_empted_job_saves_in_its_grace_time_and_goes_on(cluster, pretend, wait_for_file):
    job, work = pretend(
        '[ "$resumed" ] && exit; trap "save one; exit 75" USR1; touch "$work/started"; while :; do sleep 0.2; done'
    )
    wait_for_file(job, work, 'started')
    # all of the node
    status, output = cluster.run('srun', '-p', 'urgent', '-n2', 'true')
    assert status == 0, output
    known = cluster.wait_for_state(job, *FINAL)
    assert (known['JobState'], known['Restarts']) == ('COMPLETED', '1'), log_of(work)
    assert 'asking the ranks to save and end' in log_of(work)


def test_a_checkpoint_of_an_earlier_run_is_not_resumed(cluster, pretend, wait_for_file, tmp_path):
    (tmp_path / 'work').mkdir()
    (tmp_path / 'work/last_checkpoint').write_text('of another run')
    job, work = pretend('[ "$resumed" ] && touch "$work/resumed"; touch "$work/started-$SLURM_RESTART_COUNT"; sleep 2')
    wait_for_file(job, work, 'started-')
    cluster.run('scontrol', 'requeue', job)
    cluster.wait_for_state(job, *FINAL)
    assert (work / 'started-1').exists()
    assert not (work / 'resumed').exists()


def test_a_cancelled_job_is_not_requeued(cluster, pretend, wait_for_file):
    job, work = pretend('save one; sleep 30')
    wait_for_file(job, work)
    cluster.run('scancel', job)
    known = cluster.wait_for_state(job, *FINAL)
    assert (known['JobState'], known['Restarts']) == ('CANCELLED', '0')


def test_a_task_of_an_array_requeues_itself_alone(cluster, submit, tmp_path):
    config, python = tmp_path / 'c.py', tmp_path / 'python'
    config.touch()
    # the id of the last task is that of the array
    python.write_text(
        '#!/usr/bin/env bash\n[ "${SLURM_RESTART_COUNT:-0}" = 0 ] || exit 0\n'
        f'[ "$SLURM_ARRAY_TASK_ID" = 1 ] || {{ sleep 4; exit 0; }}\ntouch {tmp_path}/c/seed_1/last_checkpoint\nexit 1\n'
    )
    python.chmod(0o755)
    words = ['cpu', 'table', '0 1', config, '--work-dir', tmp_path]
    job = submit('slurm_array.sh', *words, PYTHON=str(python), **ONE_RANK)
    known = [cluster.wait_for_state(f'{job}_{task}', *FINAL) for task in (0, 1)]
    assert [one['JobState'] for one in known] == ['COMPLETED', 'COMPLETED']
    assert [one['Restarts'] for one in known] == ['0', '1']


def test_a_run_that_is_in_the_queue_is_not_submitted_again(cluster, submit, repository, config, tmp_path):
    held = dict(SBATCH_ARGS='--hold', **ONE_RANK)
    array = submit('slurm_array.sh', 'cpu', 'table', '0 1', config, '--work-dir', tmp_path, **held)
    again = ['cpu', 'job', config, '--work-dir', tmp_path / config.stem / 'seed_1']
    status, output = cluster.run('bash', repository / 'tools/slurm_sbatch.sh', *again, **held)
    assert status == 2
    assert f'job {array}_1 (PENDING) trains in {again[-1]}' in output
    cluster.run('scancel', f'{array}_1')
    job = submit('slurm_sbatch.sh', *again, **held)
    assert (again[-1] / 'slurm_job').read_text() == f'{job}\n'
    cluster.run('scancel', array, job)


@pytest.mark.parametrize(('partition', 'gpus'), [('cpu', None), ('gpu', 'gres:gpu:2')])
def test_gpus_are_asked_for_where_the_partition_has_some(partition, gpus, cluster, submit, config, tmp_path):
    words = [partition, 'job', config, '--work-dir', tmp_path]
    job = submit('slurm_sbatch.sh', *words, SBATCH_ARGS='--hold', GPUS='2', GPUS_PER_NODE='2', CPUS_PER_TASK='1')
    assert cluster.job(job).get('TresPerNode') == gpus
    cluster.run('scancel', job)


def test_an_unknown_partition_is_named_with_those_there_are(cluster, repository, config):
    status, output = cluster.run('bash', repository / 'tools/slurm_train.sh', 'nowhere', 'job', config)
    assert status == 2
    assert output.strip().endswith('Slurm has no partition nowhere; it has cpu urgent gpu')
