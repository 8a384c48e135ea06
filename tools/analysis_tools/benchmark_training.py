"""Time of a whole training step of several configs, in turns: a Markdown table and a JSON.

The models are trained for real on the first batches of their data, which are in memory. The first config is what the
others are compared with. With --class-weights every config is measured a second time with ClassWeightHook logging each
step, and what the hook costs at its own interval is printed below the table.

Example: python tools/analysis_tools/benchmark_training.py configs/deeplabv3/*r18w32*-{ce,recall}-1k_camvid-180x240.py
"""

import argparse
import json
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from rich.console import Console
from rich.progress import Progress

from mmrecall.analysis.benchmark.environment import describe_environment, environment_markdown
from mmrecall.analysis.benchmark.training_steps import (
    logging_shares,
    make_step,
    measure_steps,
    step_rows,
    steps_markdown,
)
from mmrecall.engine import ClassWeightHook


def main() -> None:
    """Parse the arguments, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('configs', nargs='+', type=Path, help='two or more')
    parser.add_argument('--class-weights', action='store_true', help='measure ClassWeightHook too')
    parser.add_argument('--device', choices=('cpu', 'cuda'), default='cpu', help='default: %(default)s')
    parser.add_argument('--threads', type=int, default=2, help='of the CPU (default: %(default)s)')
    parser.add_argument('--rounds', type=int, default=40, help='(default: %(default)s)')
    parser.add_argument('--batches', type=int, default=4, help='of each config, in turn (default: %(default)s)')
    parser.add_argument('--seed', type=int, default=0, help='of weights, data and order (default: %(default)s)')
    parser.add_argument('--out', type=Path, default=Path('work_dirs/benchmark_training'), help='default: %(default)s')
    arguments = parser.parse_args()
    try:
        _check(arguments)
        torch.set_num_threads(arguments.threads)
        environment = describe_environment(sys.argv, arguments.device)
        with TemporaryDirectory() as work_dir:
            seconds, logged = _measure(arguments, Path(work_dir))
    except (ValueError, OSError) as error:
        raise SystemExit(str(error)) from error
    rows = step_rows(seconds)
    table = steps_markdown(rows) + _logging_markdown(seconds, logged)
    print(table)
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / 'steps.md').write_text(f'{environment_markdown(environment)}\n{table}', encoding='utf-8')
    content = {**environment, 'rows': [row._asdict() for row in rows], 'seconds': seconds, 'logged_seconds': logged}
    (arguments.out / 'steps.json').write_text(json.dumps(content, indent=1) + '\n', encoding='utf-8')
    print(f'Written: {arguments.out}/steps.md, steps.json')


def _measure(arguments: argparse.Namespace, work_dir: Path) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """Seconds of the steps by config, and of those that ClassWeightHook logs, if they are wanted."""
    kinds = (False, True) if arguments.class_weights else (False,)
    variants = [(path, logged) for path in arguments.configs for logged in kinds]
    with Progress(console=Console(stderr=True), transient=True) as bar:
        steps = {
            (path.stem, logged): make_step(
                path, arguments.device, arguments.batches, arguments.seed, work_dir, log_classes=logged
            )
            for path, logged in bar.track(variants, description='models and batches')
        }
        task = bar.add_task('training steps', total=(arguments.rounds + 1) * len(steps))
        found = measure_steps(
            steps, arguments.rounds, arguments.device, arguments.seed, on_step=lambda: bar.advance(task)
        )
    plain, logged = ({name: one for (name, kind), one in found.items() if kind is wanted} for wanted in (False, True))
    return plain, logged


def _logging_markdown(seconds: dict[str, list[float]], logged: dict[str, list[float]]) -> str:
    if not logged:
        return ''
    interval = ClassWeightHook().interval
    shares = logging_shares(seconds, logged, interval)
    lines = [f'| ClassWeightHook, every {interval} steps | share of the time of a step |', '|---|--:|']
    return '\n'.join(['', *lines, *(f'| {name} | {share:.3%} |' for name, share in shares.items())]) + '\n'


def _check(arguments: argparse.Namespace) -> None:
    for name in ('threads', 'rounds', 'batches'):
        if getattr(arguments, name) < 1:
            raise ValueError(f'--{name} is {getattr(arguments, name)}; it must be at least 1')
    names = [path.stem for path in arguments.configs]
    if len(set(names)) < 2 or len(set(names)) < len(names):
        raise ValueError(f'the configs are {", ".join(names)}; give two or more with different names')
    if arguments.device == 'cuda' and not torch.cuda.is_available():
        raise ValueError(f'--device is cuda, but PyTorch {torch.__version__} finds no GPU; use --device cpu')


if __name__ == '__main__':
    main()
