import pytest

from mmrecall.engine.ranks import slurm_rendezvous


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
    with pytest.raises(RuntimeError, match=r'SLURM_JOB_ID, SLURM_NNODES not set.*slurm_train.sh'):
        slurm_rendezvous({})
