import time
from datetime import timedelta

import pytest
import torch.distributed as dist
from commands import free_port
from distributed import Ranks

from mmrecall.engine.hooks.rank_zero import run_on_rank_zero


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
