"""Runs scripts in forks of one process that has PyTorch imported, which takes longer than most of them run.

Nothing of OpenMMLab and of this package is imported before the fork, so that a script still finds out what it needs;
what is not seen is a script that uses a module of `LIBRARIES` and does not import it. A line of standard input is a
call, the line of standard output that answers it the exit status.
"""

import gc
import json
import multiprocessing.process
import os
import runpy
import sys
from contextlib import suppress
from importlib import import_module

from yapf_cache import format_every_text_once

LIBRARIES = (
    'cv2', 'matplotlib.pyplot', 'numpy', 'rich.console', 'scipy.stats', 'timm', 'torch', 'torch._dynamo',
    'torch.distributed.fsdp', 'torch.distributed.optim', 'torch.utils.data', 'torch.utils.tensorboard', 'torchvision',
)  # fmt: skip


def serve():
    """Answer calls; in the fork for one of them, return it."""
    for line in sys.stdin:
        process = os.fork()
        if not process:
            return json.loads(line)
        status = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
        os.write(1, f'{status}\n'.encode())
    return None


def become(words, output, folder, environment):
    """Make this process the one that a shell would have started."""
    streams = os.open(os.devnull, os.O_RDONLY), os.open(output, os.O_WRONLY)
    for stream, number in zip((*streams, streams[1]), (0, 1, 2), strict=True):
        os.dup2(stream, number)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    # the fork has that of all forks
    sys.modules['numpy'].random.seed()
    sys.argv = words
    sys.path[0] = os.path.dirname(os.path.realpath(words[0]))
    # where a process that it spawns looks for the script
    multiprocessing.process.ORIGINAL_DIR = folder


if __name__ == '__main__':
    for library in LIBRARIES:
        with suppress(ImportError):
            import_module(library)
    format_every_text_once()
    # a fork that collects garbage among these libraries, at its end at the latest, takes twice as long
    gc.freeze()
    gc.set_threshold(20_000)
    if call := serve():
        become(**call)
        runpy.run_path(call['words'][0], run_name='__main__')
