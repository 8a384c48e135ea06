"""The ranks of a distributed training: on CPUs, and under Slurm."""

import atexit
import os
import subprocess
import time
from collections.abc import Mapping

import torch.distributed as dist
from mmengine.device import get_device

# Slurm's names for the variables of torchrun
_SLURM_NAMES = {'RANK': 'SLURM_PROCID', 'WORLD_SIZE': 'SLURM_NTASKS', 'LOCAL_RANK': 'SLURM_LOCALID'}
# The range ends below the ports that systems hand out by themselves, which begin at 32768.
_FIRST_PORT, _PORTS = 12000, 20000
_TORCHRUN = '`torchrun --nproc_per_node=2 -m mmrecall train CONFIG --launcher pytorch`'
_SRUN = '`srun --ntasks=2 mmrecall train CONFIG --launcher slurm`'
# seconds of sleep; the threads of gloo need microseconds of a processor
_GLOO_PAUSE = 0.2


def init_cpu_ranks(launcher: str) -> bool:
    """Start a gloo process group if there is a launcher and no GPU; mmengine leaves an existing group alone.

    mmengine's start calls `torch.cuda.set_device`, which needs a GPU. The group is destroyed when the process ends,
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
            f'got launcher {launcher!r} without a GPU, and {", ".join(unset)} not set; start the ranks with '
            f'{_TORCHRUN}, or under Slurm with {_SRUN}'
        )
    if not dist.is_initialized():
        dist.init_process_group('gloo')
        atexit.register(_destroy_group)
    return True


def _destroy_group() -> None:
    # A thread of gloo releases the tensors of the last collective, for which it needs the interpreter's lock, which
    # this thread holds. An interpreter that ends before that aborts, and a group that is destroyed waits forever.
    time.sleep(_GLOO_PAUSE)
    if dist.is_initialized():
        dist.destroy_process_group()


def slurm_rendezvous(environment: Mapping[str, str]) -> dict[str, str]:
    """Return MASTER_ADDR and MASTER_PORT for the ranks of a Slurm step: those of the environment, if they are set.

    The default address is the machine itself on one node, and the first node of the step on several. The default port
    is ``12000 + job id mod 20000``, because jobs that share a node cannot share mmengine's default, 29500.

    Args:
        environment: environment of a rank, `os.environ`.

    Raises:
        RuntimeError: the environment is not that of a rank in a Slurm step.

    Example:
        >>> slurm_rendezvous(dict(SLURM_JOB_ID='4000123', SLURM_NNODES='1'))
        {'MASTER_ADDR': '127.0.0.1', 'MASTER_PORT': '12123'}
    """
    unset = [name for name in ('SLURM_JOB_ID', 'SLURM_NNODES') if name not in environment]
    if unset:
        raise RuntimeError(
            f"got launcher 'slurm' outside a Slurm step ({', '.join(unset)} not set); start the ranks with "
            f'{_SRUN}, or without Slurm with {_TORCHRUN}'
        )
    address = environment.get('MASTER_ADDR') or _first_node(environment)
    port = environment.get('MASTER_PORT') or str(_FIRST_PORT + int(environment['SLURM_JOB_ID']) % _PORTS)
    return {'MASTER_ADDR': address, 'MASTER_PORT': port}


def _first_node(environment: Mapping[str, str]) -> str:
    if environment['SLURM_NNODES'] == '1':
        return '127.0.0.1'
    # Rank 0 is on the first node of the step, which need not be the first of the job.
    nodes = environment.get('SLURM_STEP_NODELIST') or environment['SLURM_JOB_NODELIST']
    names = subprocess.run(['scontrol', 'show', 'hostnames', nodes], check=True, capture_output=True, text=True)
    return names.stdout.split()[0]
