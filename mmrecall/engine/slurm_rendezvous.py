"""Where the ranks of a Slurm step meet."""

import subprocess
from collections.abc import Mapping

# below the ports that systems hand out by themselves, which begin at 32768
_FIRST_PORT, _PORTS = 12000, 20000


def slurm_rendezvous(environment: Mapping[str, str]) -> dict[str, str]:
    """MASTER_ADDR and MASTER_PORT for the ranks of a Slurm step: those of the environment, if set.

    Else the address is the machine's own on one node, and the first node of the step on several. The port is
    ``12000 + job id mod 20000``, because jobs that share a node cannot share mmengine's default, 29500.

    Args:
        environment: of a rank, `os.environ`.

    Raises:
        RuntimeError: it is not that of a rank in a Slurm step.

    Example:
        >>> slurm_rendezvous(dict(SLURM_JOB_ID='4000123', SLURM_NNODES='1'))
        {'MASTER_ADDR': '127.0.0.1', 'MASTER_PORT': '12123'}
    """
    unset = [name for name in ('SLURM_JOB_ID', 'SLURM_NNODES') if name not in environment]
    if unset:
        raise RuntimeError(
            f"launcher 'slurm' outside a step of Slurm: {', '.join(unset)} not set; start the ranks with "
            'tools/slurm_train.sh, or without Slurm with tools/dist_train.sh'
        )
    address = environment.get('MASTER_ADDR') or _first_node(environment)
    port = environment.get('MASTER_PORT') or str(_FIRST_PORT + int(environment['SLURM_JOB_ID']) % _PORTS)
    return {'MASTER_ADDR': address, 'MASTER_PORT': port}


def _first_node(environment: Mapping[str, str]) -> str:
    if environment['SLURM_NNODES'] == '1':
        return '127.0.0.1'
    # rank 0 is on the first node of the step, which need not be the first of the job
    nodes = environment.get('SLURM_STEP_NODELIST') or environment['SLURM_JOB_NODELIST']
    names = subprocess.run(['scontrol', 'show', 'hostnames', nodes], check=True, capture_output=True, text=True)
    return names.stdout.split()[0]
