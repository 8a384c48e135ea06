"""Training and testing of a config for the demos. An interrupted training is resumed by the next call."""

import argparse
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from mmrecall.installed_files import installed_folder

_UNITS = {'iter': 'iterations', 'epoch': 'epochs'}
# lines of mmengine's log that are shown; of short training epochs, every tenth
_PROGRESS = re.compile(r'INFO - ((?:Iter\(|Epoch\((?:val|test)\)|Epoch\(train\) *\[ *\d*0\]).*)')


@dataclass(frozen=True)
class Training:
    """Config with the length of the training and the changed options."""

    config: Path
    work_dir: Path
    length: int
    """Number of iterations or epochs."""
    unit: str
    """Unit of the length, 'iter' or 'epoch'."""
    options: list[str]
    """Arguments of --cfg-options."""

    @property
    def checkpoint(self) -> Path:
        """Last checkpoint."""
        return self.work_dir / f'{self.unit}_{self.length}.pth'


def add_common_arguments(parser: argparse.ArgumentParser, out: str) -> None:
    """Add the options that all demos have."""
    parser.add_argument(
        '--out', type=Path, default=Path('work_dirs') / out, help='folder of all files (default: %(default)s)'
    )
    parser.add_argument('--seed', type=int, default=0, help='seed of the training (default: %(default)s)')


def run_demo(demo: Callable[[argparse.Namespace, Console], None], arguments: argparse.Namespace) -> None:
    """Run a demo; SIGTERM also stops the processes that it started."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        demo(arguments, Console())
    except FileNotFoundError as error:
        raise SystemExit(str(error)) from error
    except KeyboardInterrupt:
        raise SystemExit('interrupted; the same command resumes from here') from None


def common_options(data_root: Path, seed: int) -> list[str]:
    """Return the options for the folder of the data and the seed."""
    return [
        f'randomness.seed={seed}',
        *(f'{split}_dataloader.dataset.data_root={data_root}/' for split in ('train', 'val', 'test')),
    ]


def train_and_test(training: Training, test_arguments: list[object], console: Console) -> None:
    """Train and test a config, without the steps that an earlier call completed."""
    done = training.work_dir / 'tested'
    if done.exists():
        return
    arguments = [training.config, '--work-dir', training.work_dir]
    options = ['--cfg-options', f'train_cfg.max_{training.unit}s={training.length}', *training.options]
    # mmengine writes the name of a checkpoint to this file once the checkpoint is complete
    last = training.work_dir / 'last_checkpoint'
    if not last.exists() or Path(last.read_text(encoding='utf-8')).name != training.checkpoint.name:
        fresh, started = not last.exists(), time.monotonic()
        _run('train.py', *arguments, '--resume', *options, log=training.work_dir / 'train.txt')
        if fresh:
            seconds = time.monotonic() - started
            console.print(f'{training.work_dir.name}: {training.length} {_UNITS[training.unit]} in {seconds:.0f} s')
    arguments.insert(1, training.checkpoint)
    _run('test.py', *arguments, *test_arguments, *options, log=training.work_dir / 'test.txt')
    done.touch()


def _run(tool: str, *arguments: object, log: Path) -> None:
    """Run a tool of this repository with its output in a log and its progress on the terminal."""
    log.parent.mkdir(parents=True, exist_ok=True)
    print(f'{tool} {arguments[0]} (log: {log})', flush=True)
    command = [sys.executable, str(installed_folder('tools') / tool), *map(str, arguments)]
    with (
        log.open('a', buffering=1) as file,  # line by line, for readers of the log during the training
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process,
    ):
        try:
            for line in process.stdout:
                file.write(line)
                if progress := _PROGRESS.search(line):
                    print('  ' + progress[1].rstrip(), flush=True)
        except BaseException:  # any interruption of the demo stops the training too
            process.terminate()
            process.wait()
            raise
    if process.returncode:
        raise SystemExit(f'{tool} failed; the end of {log}:\n' + '\n'.join(log.read_text().splitlines()[-15:]))
