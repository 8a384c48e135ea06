"""Two ranks on CPUs, again and again: forked_ranks.py HOW TIMES prints the exit statuses of every pair."""

import gc
import os
import signal
import sys
import time

import torch
import torch.distributed as dist
from commands import free_port

from mmrecall.engine import init_cpu_ranks

STATUS = {'returns': 0, 'raises': 1, 'terminated': -15, 'exits on SIGTERM': 143}


def all_reduce(how):
    init_cpu_ranks('pytorch')
    # the interpreter's lock stays with this thread until it waits, so that a thread of gloo is caught waiting for it
    sys.setswitchinterval(100)
    numbers = torch.ones(50, 1)
    work = [dist.all_reduce(number, async_op=True) for number in numbers]
    work[-1].wait()
    if how == 'raises':
        raise RuntimeError('on purpose')
    if how == 'exits on SIGTERM':
        signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    if how in ('terminated', 'exits on SIGTERM'):
        os.kill(os.getpid(), 15)
        time.sleep(60)


def statuses(how, times):
    """Of every pair of ranks; a forked rank returns None, and ends as a script does."""
    found = []
    # the forks leave what is imported alone when they collect garbage, which takes most of their time
    gc.freeze()
    for _ in range(times):
        port, children = free_port(), []
        for rank in range(2):
            child = os.fork()
            if not child:
                os.environ.update(RANK=str(rank), WORLD_SIZE='2', MASTER_ADDR='127.0.0.1', MASTER_PORT=port)
                all_reduce(how)
                return None
            children.append(child)
        found.append([os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children])
    return found


if __name__ == '__main__':
    answer = statuses(sys.argv[1], int(sys.argv[2]))
    if answer is not None:
        print(answer, flush=True)
