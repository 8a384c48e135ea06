from commands import free_port, run

SCRIPT = """
import sys, time
from datetime import timedelta
from pathlib import Path
import torch.distributed as dist, torch.multiprocessing as mp
from mmrecall.engine.hooks.first_rank import run_on_first_rank

def work(still_working):
    for _ in range(80):
        time.sleep(0.1)
        still_working()
    return 'result'

def rank(rank, seconds):
    # a busy machine may start one process seconds after the other, which is not what this is about
    Path(__file__).with_name(str(rank)).touch()
    while not Path(__file__).with_name(str(1 - rank)).exists():
        time.sleep(0.05)
    dist.init_process_group(
        'gloo', 'tcp://127.0.0.1:{port}', rank=rank, world_size=2, timeout=timedelta(seconds=5))
    print(run_on_first_rank(work, 'the work', seconds), flush=True)

if __name__ == '__main__':
    mp.spawn(rank, (float(sys.argv[1]),), nprocs=2)
"""


def eight_seconds_of_work(tmp_path, seconds):
    """Two ranks that give each other up after five seconds."""
    script = tmp_path / 'script.py'
    script.write_text(SCRIPT.format(port=free_port()))
    return run('python', script, seconds)


def test_the_others_wait_longer_than_the_groups_timeout(tmp_path):
    status, output = eight_seconds_of_work(tmp_path, 0.5)
    assert status == 0, output
    assert output.count('result') == 2


def test_without_a_message_they_would_give_up(tmp_path):
    status, output = eight_seconds_of_work(tmp_path, 100)
    assert status != 0
    assert 'result' not in output
