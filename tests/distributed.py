"""gloo ranks for tests: processes that stay, because importing PyTorch takes longer than any test."""

import os
import traceback
from datetime import timedelta

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from commands import free_port


def _serve(rank, world_size, port, tasks, results):
    os.environ.update(MASTER_ADDR='127.0.0.1', MASTER_PORT=port, RANK=str(rank), WORLD_SIZE=str(world_size))
    torch.set_num_threads(1)
    dist.init_process_group('gloo', rank=rank, world_size=world_size, timeout=timedelta(seconds=60))
    while (task := tasks.get()) is not None:
        function, arguments = task
        try:
            torch.manual_seed(0)
            results.put((rank, function(rank, world_size, *arguments), None))
        except BaseException:
            results.put((rank, None, traceback.format_exc()))
    dist.destroy_process_group()


class Ranks:
    """``world_size`` processes in one gloo group."""

    def __init__(self, world_size):
        self.world_size = world_size
        self.processes = []

    def run(self, function, *arguments, timeout=240):
        """``[function(rank, world_size, *arguments) for rank in …]``; lists and numbers, no tensors, come back."""
        if not self.processes:
            self._start()
        for queue in self.tasks:
            queue.put((function, arguments))
        try:
            answers = sorted(self.results.get(timeout=timeout) for _ in self.processes)
        except Exception:
            self.stop()
            raise
        failures = [failure for _, _, failure in answers if failure]
        if failures:
            self.stop()
            raise AssertionError('\n'.join(failures))
        return [answer for _, answer, _ in answers]

    def _start(self):
        port = free_port()
        # ranks are forks of one process that has imported the package, and nothing of a test
        context = mp.get_context('forkserver')
        context.set_forkserver_preload(['mmrecall'])
        self.results = context.Queue()
        self.tasks = [context.Queue() for _ in range(self.world_size)]
        self.processes = [
            context.Process(target=_serve, args=(rank, self.world_size, port, queue, self.results), daemon=True)
            for rank, queue in enumerate(self.tasks)
        ]
        for process in self.processes:
            process.start()

    def stop(self):
        """End the processes; the next `run` starts new ones."""
        for process in self.processes:
            process.kill()
        self.processes = []
