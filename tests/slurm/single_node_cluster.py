"""Slurm on this machine alone, beside a system-wide one if there is any: its own ports, key, socket and files."""

import getpass
import os
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path

from commands import free_port, run

DAEMONS = ('munged', 'slurmctld', 'slurmd')
SEARCH_PATH = f'{os.environ["PATH"]}:/usr/sbin:/sbin'

# two CPUs here, for jobs of which urgent ones pre-empt others, and a partition with GPUs whose node is never there, so
# that its jobs stay in the queue
CONFIGURATION = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmUser={user}
SlurmdUser={user}
SlurmctldPort={controller_port}
SlurmdPort={node_port}
AuthType=auth/munge
# how long a requeued job has to wait, too: 120 seconds by default
AuthInfo=socket={folder}/munge.socket,cred_expire=5
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
MpiDefault=none
JobRequeue=1
ReturnToService=2
KillWait=5
SchedulerParameters=sched_interval=1
SlurmdParameters=config_overrides
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
SlurmctldParameters=preempt_send_user_signal
GresTypes=gpu
NodeName={host} NodeAddr=127.0.0.1 CPUs=2 State=UNKNOWN
NodeName=gpus NodeAddr=127.0.0.1 Port={gpu_node_port} CPUs=32 Gres=gpu:a100:4 State=DOWN
PartitionName=cpu Nodes={host} State=UP GraceTime=20
PartitionName=urgent Nodes={host} State=UP PriorityTier=2
PartitionName=gpu Nodes=gpus State=UP
"""


def missing_packages():
    """Which of the daemons' programs are not installed."""
    return [name for name in DAEMONS if shutil.which(name, path=SEARCH_PATH) is None]


class SingleNodeCluster:
    """Slurm daemons of one test session; `stop` ends them and their jobs."""

    def __init__(self):
        # a socket's path must be short, and munged wants its folder open to all
        self.folder = Path(tempfile.mkdtemp(prefix='slurm-', dir='/tmp'))
        self.folder.chmod(0o755)
        self.environment = dict(SLURM_CONF=str(self.folder / 'slurm.conf'))
        self.daemons = []

    def start(self):
        """Start everything and wait until the node takes jobs."""
        for name in ('state', 'spool'):
            (self.folder / name).mkdir()
        key = self.folder / 'munge.key'
        key.write_bytes(os.urandom(128))
        key.chmod(0o600)
        self._write_configuration()
        files = {f'--{kind}-file': f'{self.folder}/munge.{kind}' for kind in ('key', 'pid', 'log', 'seed')}
        words = [f'{option}={path}' for option, path in files.items()]
        self._spawn('munged', '--foreground', f'--socket={self.folder}/munge.socket', *words)
        self._wait_for('munge', (self.folder / 'munge.socket').exists)
        self._spawn('slurmctld', '-D')
        self._spawn('slurmd', '-D', '-N', _host())
        self._wait_for('the node', lambda: 'idle' in self.run('sinfo', '--noheader', '-p', 'cpu', '--format=%T')[1])

    def stop(self):
        """End all jobs and daemons; nothing of them stays."""
        try:
            if [daemon.poll() for daemon in self.daemons] == [None] * len(DAEMONS):
                self.run('scancel', f'--user={getpass.getuser()}')
                self._wait_for('the end of all jobs', lambda: not self.run('squeue', '--noheader')[1])
        finally:
            for daemon in reversed(self.daemons):
                daemon.terminate()
            for daemon in self.daemons:
                daemon.wait(30)
            shutil.rmtree(self.folder)

    def run(self, *command, **variables):
        """Run a command as a user of this cluster."""
        return run(*command, **self.environment, **variables)

    def job(self, job):
        """What Slurm knows of a job or a task of an array: ``{'JobState': 'RUNNING', 'Restarts': '0', …}``."""
        status, output = self.run('scontrol', 'show', 'job', '--oneliner', job)
        assert status == 0, output
        return dict(word.split('=', 1) for word in output.split() if '=' in word)

    def wait_for_state(self, job, *states, timeout=120):
        """Wait until a job is in one of the states; what Slurm knows of it then."""
        self._wait_for(f'job {job} to be {" or ".join(states)}', lambda: self.job(job)['JobState'] in states, timeout)
        return self.job(job)

    def _write_configuration(self):
        values = dict(host=_host(), user=getpass.getuser(), folder=self.folder)
        ports = {name: free_port() for name in ('controller_port', 'node_port', 'gpu_node_port')}
        (self.folder / 'slurm.conf').write_text(CONFIGURATION.format(**values, **ports))

    def _spawn(self, name, *words):
        with (self.folder / f'{name}.output').open('w') as output:
            self.daemons.append(
                subprocess.Popen(
                    [shutil.which(name, path=SEARCH_PATH), *words],
                    env={**os.environ, **self.environment},
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    # what ends the tests leaves them to `stop`
                    start_new_session=True,
                )
            )

    def _wait_for(self, what, reached, timeout=60):
        end = time.monotonic() + timeout
        while not reached():
            ended = [daemon.args[0] for daemon in self.daemons if daemon.poll() is not None]
            if ended or time.monotonic() > end:
                reason = f'{", ".join(ended)} ended' if ended else f'not within {timeout} seconds'
                raise RuntimeError(f'waiting for {what}: {reason}\n{self._last_lines()}')
            time.sleep(0.1)

    def _last_lines(self):
        logs = [*self.folder.glob('*.log'), *self.folder.glob('*.output')]
        return '\n'.join(f'{log.name}:\n' + '\n'.join(log.read_text().splitlines()[-15:]) for log in logs)


def _host():
    return socket.gethostname().split('.')[0]
