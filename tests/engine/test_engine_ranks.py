"""Ranks on CPUs and under Slurm: how they meet, wait for rank 0, and end."""

import time
from datetime import timedelta
from pathlib import Path

import pytest
import torch.distributed as dist
from commands import free_port, run
from distributed import Ranks
from forked_ranks import STATUS

from mmrecall.engine import init_cpu_ranks
from mmrecall.engine.ranks import slurm_rendezvous
from mmrecall.rank_zero import run_on_rank_zero


# a group that is not destroyed aborts a part of the pairs
@pytest.mark.parametrize('how', STATUS)
def test_all_pairs_of_ranks_end_with_their_own_status(how):
    pairs = 20 if how == 'returns' else 5
    script = Path(__file__).with_name('forked_ranks.py')
    status, output = run('python', '-u', script, how, pairs, PYTHONPATH=script.parents[1], CUDA_VISIBLE_DEVICES='')
    assert status == 0, output[-3000:]
    assert str([[STATUS[how]] * 2] * pairs) in output, output[-3000:]


def test_a_launcher_without_its_environment_is_refused(monkeypatch):
    monkeypatch.setattr('mmrecall.engine.ranks.get_device', lambda: 'cpu')
    for name in ('RANK', 'WORLD_SIZE', 'MASTER_ADDR', 'MASTER_PORT'):
        monkeypatch.delenv(name, raising=False)
    assert init_cpu_ranks('none') is False
    with pytest.raises(
        RuntimeError, match=r'RANK, WORLD_SIZE, MASTER_ADDR, MASTER_PORT not set.*`torchrun .*mmrecall train '
    ):
        init_cpu_ranks('pytorch')


def test_jobs_that_follow_one_another_do_not_share_a_port():
    ports = {slurm_rendezvous(dict(SLURM_JOB_ID=str(job), SLURM_NNODES='1'))['MASTER_PORT'] for job in range(500)}
    assert len(ports) == 500
    assert all(1024 < int(port) < 32768 for port in ports)


def test_what_the_user_has_set_stays():
    chosen = dict(MASTER_ADDR='node7', MASTER_PORT='29501')
    assert slurm_rendezvous(dict(SLURM_JOB_ID='1', SLURM_NNODES='2', **chosen)) == chosen


def test_on_several_nodes_ranks_meet_on_the_first_of_the_step(tmp_path, monkeypatch):
    scontrol = tmp_path / 'scontrol'
    scontrol.write_text('#!/bin/sh\n[ "$*" = "show hostnames n[3-4]" ] && printf "n3\\nn4\\n"\n')
    scontrol.chmod(0o755)
    monkeypatch.setenv('PATH', f'{tmp_path}:/usr/bin:/bin')
    lists = dict(SLURM_JOB_NODELIST='n[1-4]', SLURM_STEP_NODELIST='n[3-4]')
    assert slurm_rendezvous(dict(SLURM_JOB_ID='1', SLURM_NNODES='2', **lists))['MASTER_ADDR'] == 'n3'


def test_outside_slurm_says_what_to_call():
    with pytest.raises(RuntimeError, match=r'SLURM_JOB_ID, SLURM_NNODES not set.*`srun .* mmrecall train '):
        slurm_rendezvous({})


def six_seconds(still_working):
    for _ in range(60):
        time.sleep(0.1)
        still_working()
    return 'result'


def rank_works(rank, world_size, port, seconds):
    """In a group whose ranks give each other up after four seconds, but not before both are there."""
    dist.barrier()
    dist.destroy_process_group()
    address, patience = f'tcp://127.0.0.1:{port}', timedelta(seconds=4)
    dist.init_process_group('gloo', address, rank=rank, world_size=world_size, timeout=patience)
    return run_on_rank_zero(six_seconds, 'the work', seconds)


@pytest.fixture
def ranks():
    """Two processes that are ended afterwards, because their group is no longer that of other tests."""
    ranks = Ranks(2)
    yield ranks
    ranks.stop()


def test_the_others_wait_longer_than_the_groups_timeout(ranks):
    assert ranks.run(rank_works, free_port(), 0.5) == ['result', 'result']


def test_without_a_message_they_would_give_up(ranks):
    with pytest.raises(AssertionError, match=r'(?is)_wait.*timed out'):
        ranks.run(rank_works, free_port(), 100)
