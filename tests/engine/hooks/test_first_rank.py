from commands import free_port, run

SCRIPT = """
import sys, time
from datetime import timedelta
import torch.distributed as dist, torch.multiprocessing as mp
from mmrecall.engine.hooks.first_rank import run_on_first_rank

def work(still_working):
    for _ in range(60):
        time.sleep(0.1)
        still_working()
    return 'result'

def rank(rank, seconds):
    dist.init_process_group(
        'gloo', 'tcp://127.0.0.1:{port}', rank=rank, world_size=2, timeout=timedelta(seconds=3))
    print(run_on_first_rank(work, 'the work', seconds), flush=True)

if __name__ == '__main__':
    mp.spawn(rank, (float(sys.argv[1]),), nprocs=2)
"""


def six_seconds_of_work(tmp_path, seconds):
    """Two ranks that give each other up after three seconds."""
    script = tmp_path / 'script.py'
    script.write_text(SCRIPT.format(port=free_port()))
    return run('python', script, seconds)


def test_the_others_wait_longer_than_the_groups_timeout(tmp_path):
    status, output = six_seconds_of_work(tmp_path, 0.5)
    assert status == 0, output
    assert output.count('result') == 2


def test_without_a_message_they_would_give_up(tmp_path):
    status, output = six_seconds_of_work(tmp_path, 100)
    assert status != 0
    assert 'result' not in output
