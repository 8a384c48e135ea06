"""Train every config with every seed on this machine, as many at a time as it has GPUs, without Slurm.

A run is trained in DIR/NAME_OF_THE_CONFIG/seed_SEED, on one GPU or on CPUs; its output is in train_table.log there.
After an interruption, the same command skips finished runs and resumes the others from their last checkpoints.

Example: mmrecall train-table configs/deeplabv3/*camvid-180x240.py --seeds 0 1 2 --work-dir work_dirs/losses
"""

import argparse
import signal
import sys
from pathlib import Path

from mmrecall.cli.command_line import typed_command
from mmrecall.engine.training_table import Outcome, plan_runs, train_runs, visible_gpus, write_list
from mmrecall.installed_files import installed_folder


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument(
        'configs', metavar='CONFIG', type=Path, nargs='+', help='configs to train, with different file names'
    )
    parser.add_argument(
        '--seeds', metavar='SEED', type=int, nargs='+', required=True, help='seeds to train every config with'
    )
    parser.add_argument(
        '--jobs', metavar='N', type=int, help='number of runs at a time (default: one per GPU; without a GPU, one)'
    )
    parser.add_argument(
        '--work-dir',
        metavar='DIR',
        type=Path,
        default=Path('work_dirs/table'),
        help='folder of all runs (default: %(default)s)',
    )
    parser.add_argument(
        '--cfg-options', metavar='KEY=VALUE', nargs='+', action='extend', default=[], help='settings for all configs'
    )


def run(arguments: argparse.Namespace) -> None:
    """Train, and print what has failed."""
    gpus = visible_gpus()
    jobs = max(1, len(gpus)) if arguments.jobs is None else arguments.jobs
    try:
        if jobs < 1:
            raise ValueError(f'got --jobs {jobs}; expected at least 1')
        train_py = installed_folder('tools') / 'train.py'
        runs = plan_runs(arguments.configs, arguments.seeds, arguments.work_dir, arguments.cfg_options, train_py)
        write_list(arguments.work_dir, runs)
        outcome = train_runs(runs, jobs, gpus)
    except (ImportError, OSError, ValueError) as error:
        raise SystemExit(str(error)) from error
    _report(outcome, arguments.work_dir)


def _report(outcome: Outcome, root: Path) -> None:
    if outcome.failures:
        print(f'{len(outcome.failures)} of {outcome.runs} runs are not finished:', file=sys.stderr)
    for run, reason in outcome.failures:
        print(f'  {run.config} seed {run.seed}: {reason}; output in {run.log}', file=sys.stderr)
    if outcome.interrupted_by is not None:
        name = signal.Signals(outcome.interrupted_by).name
        print(f'Ended by {name}. To go on, call again: {typed_command()}', file=sys.stderr)
        raise SystemExit(128 + outcome.interrupted_by)
    if outcome.failures:
        raise SystemExit(1)
    print(f'All {outcome.runs} runs are finished: {root}')
