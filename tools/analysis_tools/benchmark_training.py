"""Measure the time of a whole training step of several configs, and write a Markdown table and a JSON.

The models are trained in turn, for real, on the first batches of their data, which are in memory. The first config is
the one that the others are compared with. With --class-weights every config is measured a second time with
ClassWeightHook logging every step, and a second table shows the cost of the hook at its default interval.

Example: python tools/analysis_tools/benchmark_training.py configs/deeplabv3/*r18w32*-{ce,recall}-1k_camvid-180x240.py
"""

import argparse
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from rich.console import Console
from rich.progress import Progress

from mmrecall.analysis.benchmark.environment import check_arguments, describe_environment, write_results
from mmrecall.analysis.benchmark.training_steps import (
    logging_markdown,
    make_step,
    measure_steps,
    step_rows,
    steps_markdown,
)


def main() -> None:
    """Parse the arguments, measure, write, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('configs', nargs='+', type=Path, help='two or more')
    parser.add_argument('--class-weights', action='store_true', help='measure ClassWeightHook too')
    parser.add_argument('--device', choices=('cpu', 'cuda'), default='cpu', help='default: %(default)s')
    parser.add_argument('--threads', type=int, default=2, help='threads of the CPU (default: %(default)s)')
    parser.add_argument(
        '--rounds', type=int, default=40, help='steps of each config that are timed (default: %(default)s)'
    )
    parser.add_argument('--batches', type=int, default=4, help='batches of each config (default: %(default)s)')
    parser.add_argument(
        '--out', type=Path, default=Path('work_dirs/benchmark_training'), help='folder (default: %(default)s)'
    )
    arguments = parser.parse_args()
    try:
        print(_measure(arguments))
    except (ValueError, OSError) as error:
        raise SystemExit(str(error)) from error
    print(f'Written: {arguments.out}')


def _measure(arguments: argparse.Namespace) -> str:
    """Measure, write the files, and return the tables."""
    device, rounds = arguments.device, arguments.rounds
    check_arguments(device, threads=arguments.threads, rounds=rounds, batches=arguments.batches)
    names = [path.stem for path in arguments.configs]
    if len(set(names)) < 2 or len(set(names)) < len(names):
        raise ValueError(f'got the configs {", ".join(names)}; expected two or more with different names')
    torch.set_num_threads(arguments.threads)
    environment = describe_environment(sys.argv, device)
    kinds = (False, True) if arguments.class_weights else (False,)
    with TemporaryDirectory() as work_dir, Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task('training steps', total=(rounds + 1) * len(names) * len(kinds))
        steps = {
            (path.stem, logged): make_step(path, device, arguments.batches, Path(work_dir), log_classes=logged)
            for path in arguments.configs
            for logged in kinds
        }
        found = measure_steps(steps, rounds, device, on_step=lambda: bar.advance(task))
    seconds, logged = ({name: one for (name, kind), one in found.items() if kind is wanted} for wanted in (False, True))
    rows = step_rows(seconds)
    tables = steps_markdown(rows) + (f'\n{logging_markdown(seconds, logged)}' if logged else '')
    content = dict(ratios={row.name: row.ratio for row in rows}, seconds=seconds, logged_seconds=logged)
    write_results(arguments.out, 'steps', environment, tables, **content)
    return tables


if __name__ == '__main__':
    main()
