"""Time of a whole training step of several configs, in turns: a Markdown table and a JSON.

The models are trained for real on the first batches of their data, which are in memory. The first config is what the
others are compared with.

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

from mmrecall.benchmark.environment import describe_environment, environment_markdown
from mmrecall.benchmark.training_steps import make_step, measure_steps, step_rows, steps_markdown


def main() -> None:
    """Parse the arguments, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('configs', nargs='+', type=Path, help='two or more')
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
            seconds = _measure(arguments, Path(work_dir))
    except (ValueError, OSError) as error:
        raise SystemExit(str(error)) from error
    rows = step_rows(seconds)
    print(steps_markdown(rows))
    arguments.out.mkdir(parents=True, exist_ok=True)
    text = f'{environment_markdown(environment)}\n{steps_markdown(rows)}'
    (arguments.out / 'steps.md').write_text(text, encoding='utf-8')
    content = {**environment, 'rows': [row._asdict() for row in rows], 'seconds': seconds}
    (arguments.out / 'steps.json').write_text(json.dumps(content, indent=1) + '\n', encoding='utf-8')
    print(f'Written: {arguments.out}/steps.md, steps.json')


def _measure(arguments: argparse.Namespace, work_dir: Path) -> dict[str, list[float]]:
    device, seed = arguments.device, arguments.seed
    steps = {path.stem: make_step(path, device, arguments.batches, seed, work_dir) for path in arguments.configs}
    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task('training steps', total=(arguments.rounds + 1) * len(steps))
        return measure_steps(steps, arguments.rounds, device, seed, on_step=lambda: bar.advance(task))


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
