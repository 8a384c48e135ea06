"""Ranks on CPUs end with the status of what they ran, however they end."""

from pathlib import Path

import pytest
from commands import run
from forked_ranks import STATUS

from mmrecall.engine import init_cpu_ranks


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
    with pytest.raises(RuntimeError, match=r'RANK, WORLD_SIZE, MASTER_ADDR, MASTER_PORT not set.*dist_train'):
        init_cpu_ranks('pytorch')
