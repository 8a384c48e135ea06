"""Several ranks on a machine without a GPU, which the stock launchers do not foresee."""

import atexit
import os
import time

import torch.distributed as dist
from mmengine.device import get_device

from mmrecall.engine.slurm_rendezvous import slurm_rendezvous

# where Slurm says what torchrun says in RANK, WORLD_SIZE and LOCAL_RANK
_SLURM_NAMES = {'RANK': 'SLURM_PROCID', 'WORLD_SIZE': 'SLURM_NTASKS', 'LOCAL_RANK': 'SLURM_LOCALID'}

# seconds for the threads of gloo, which need microseconds of a processor
_LET_GO = 0.2


def init_cpu_ranks(launcher: str) -> bool:
    """Start a gloo process group if there is a launcher and no GPU; mmengine leaves an existing group alone.

    mmengine's own start calls `torch.cuda.set_device`, which needs a GPU. The group is destroyed when the process ends,
    also after an error, and on a signal whose handler exits. (A SIGTERM without a handler ends the process at once.)

    Args:
        launcher: ``'none'``, ``'pytorch'`` (torchrun's environment) or ``'slurm'`` (srun's).

    Returns:
        Whether this process is now a rank on a CPU.

    Raises:
        RuntimeError: the launcher's environment variables are missing.
    """
    if launcher == 'none' or get_device() != 'cpu':
        return False
    if launcher == 'slurm':
        for name, slurm_name in _SLURM_NAMES.items():
            if slurm_name in os.environ:
                os.environ[name] = os.environ[slurm_name]
        os.environ.update(slurm_rendezvous(os.environ))
    unset = [name for name in ('RANK', 'WORLD_SIZE', 'MASTER_ADDR', 'MASTER_PORT') if name not in os.environ]
    if unset:
        raise RuntimeError(
            f'launcher {launcher!r} without a GPU, but {", ".join(unset)} not set; '
            'start the ranks with tools/dist_train.sh or tools/slurm_train.sh'
        )
    if not dist.is_initialized():
        dist.init_process_group('gloo')
        atexit.register(_destroy_group)
    return True


def _destroy_group() -> None:
    # A thread of gloo lets go of the tensors of the last collective, for which it needs the interpreter's lock, which
    # this thread holds. An interpreter that ends before that aborts, and a group that is destroyed waits forever.
    time.sleep(_LET_GO)
    if dist.is_initialized():
        dist.destroy_process_group()
