"""Time and memory of every loss, forward and backward, beside F.cross_entropy: a Markdown table, a JSON, bar charts.

The losses of this package, those of mmseg and mmpretrain, and the recall loss as one would write it, in turns. With
--growth: time against pixels and against classes, with the fitted slopes. docs/benchmark.md says what the columns mean.

Example: python tools/analysis_tools/benchmark_losses.py --shapes cityscapes places-lt --losses 'mmrecall.*' naive*
"""

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import Progress

from mmrecall.analysis.benchmark.batches import LARGE_SHAPES, SHAPES, read_shapes
from mmrecall.analysis.benchmark.competitors import Competitor, choose
from mmrecall.analysis.benchmark.environment import describe_environment, environment_markdown
from mmrecall.analysis.benchmark.figures import draw_growth, draw_loss_costs
from mmrecall.analysis.benchmark.growth import (
    CLASSES,
    LOSSES,
    SIDES,
    find_growth,
    growth_as_json,
    growth_markdown,
    growth_shapes,
)
from mmrecall.analysis.benchmark.memory import MEMORY
from mmrecall.analysis.benchmark.results import Measurement, as_json, markdown_table
from mmrecall.analysis.benchmark.rounds import CannotMeasureError, Settings, measure_losses
from mmrecall.io import atomic_write


def main() -> None:
    """Parse the arguments, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--device', choices=('cpu', 'cuda'), default='cpu', help='default: %(default)s')
    parser.add_argument(
        '--dtype', nargs='+', choices=('float32', 'bfloat16'), default=['float32'], help='default: float32'
    )
    parser.add_argument('--threads', type=int, default=2, help='of the CPU (default: %(default)s)')
    parser.add_argument(
        '--memory',
        choices=MEMORY,
        default='fresh',
        help='of the CPU: given back before every step, or kept (default: %(default)s)',
    )
    parser.add_argument('--shapes', nargs='+', help=f'{", ".join((*SHAPES, *LARGE_SHAPES))}, or 4x19x512x512, 128x365')
    parser.add_argument('--losses', nargs='+', help='names, or patterns such as "mmseg.*" (default: all)')
    parser.add_argument('--rounds', type=int, default=25, help='(default: %(default)s)')
    parser.add_argument(
        '--max-seconds', type=float, default=10.0, help='a loss with a longer step is not timed (default: %(default)s)'
    )
    parser.add_argument('--seed', type=int, default=0, help='of logits, labels and order (default: %(default)s)')
    parser.add_argument('--out', type=Path, default=Path('work_dirs/benchmark_losses'), help='default: %(default)s')
    parser.add_argument('--growth', action='store_true', help='measure growth instead of the shapes')
    parser.add_argument('--sides', nargs='+', type=int, default=SIDES, help='of the square images of --growth')
    parser.add_argument('--classes', nargs='+', type=int, default=CLASSES, help='numbers of classes of --growth')
    arguments = parser.parse_args()
    # the profiler's, a line for every loss
    os.environ.setdefault('KINETO_LOG_LEVEL', '9')
    try:
        _check(arguments)
        torch.set_num_threads(arguments.threads)
        environment = describe_environment(sys.argv, arguments.device)
        environment['settings'] = {
            name: getattr(arguments, name) for name in ('memory', 'rounds', 'max_seconds', 'seed')
        }
        (_measure_growth if arguments.growth else _measure_shapes)(arguments, environment)
    except (CannotMeasureError, ValueError) as error:
        raise SystemExit(str(error)) from error


def _check(arguments: argparse.Namespace) -> None:
    for name in ('threads', 'rounds', 'max_seconds'):
        if not getattr(arguments, name) > 0:
            raise ValueError(f'--{name.replace("_", "-")} is {getattr(arguments, name)}; it must be above 0')
    if arguments.device == 'cuda' and not torch.cuda.is_available():
        raise ValueError(
            f'--device is cuda, but PyTorch {torch.__version__} finds no GPU; use --device cpu, or a CUDA build'
        )


def _settings(arguments: argparse.Namespace, dtype: str) -> Settings:
    return Settings(arguments.device, dtype, arguments.rounds, arguments.max_seconds, arguments.seed, arguments.memory)


def _measure_shapes(arguments: argparse.Namespace, environment: dict[str, Any]) -> None:
    competitors = choose(arguments.losses)
    shapes = read_shapes(arguments.shapes, arguments.device)
    measured: list[Measurement] = []
    for dtype in arguments.dtype:
        for name, shape in shapes.items():
            measured.append(_measure(competitors, name, shape, _settings(arguments, dtype)))
            # after every shape, so that an interrupted run has something to show
            text = '\n'.join([environment_markdown(environment), *map(markdown_table, measured)])
            _write(arguments.out / 'losses.md', text)
            _write_json(arguments.out / 'losses.json', environment, measurements=[as_json(one) for one in measured])
            draw_loss_costs(arguments.out / f'losses-{name}-{dtype}.png', measured[-1])
            print(markdown_table(measured[-1]))
    print(f'Written: {arguments.out}/losses.md, losses.json and a chart for every shape')


def _measure_growth(arguments: argparse.Namespace, environment: dict[str, Any]) -> None:
    competitors = choose(arguments.losses or LOSSES)
    lines, measured, growths = [environment_markdown(environment)], [], {}
    for dtype in arguments.dtype:
        growths[dtype] = []
        for along, shapes in growth_shapes(arguments.sides, arguments.classes).items():
            settings = _settings(arguments, dtype)
            series = [_measure(competitors, 'x'.join(map(str, shape)), shape, settings) for shape in shapes]
            measured += series
            growths[dtype] += find_growth(series, along)
        draw_growth(arguments.out / f'growth-{dtype}.png', growths[dtype])
        lines.append(f'### Growth, {dtype}\n\n{growth_markdown(growths[dtype])}')
    _write(arguments.out / 'growth.md', '\n'.join(lines))
    _write_json(
        arguments.out / 'growth.json',
        environment,
        growth={dtype: growth_as_json(found) for dtype, found in growths.items()},
        measurements=[as_json(one) for one in measured],
    )
    print('\n'.join(lines[1:]))
    print(f'Written: {arguments.out}/growth.md, growth.json and a plot')


def _measure(competitors: list[Competitor], name: str, shape: tuple[int, ...], settings: Settings) -> Measurement:
    # the bar on standard error, so that the table can be piped
    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(name, total=1)

        def show(loss: str, share: float) -> None:
            bar.update(task, completed=share, description=f'{name}, {settings.dtype}: {loss}')

        return measure_losses(competitors, name, shape, settings, show)


def _write(path: Path, text: str) -> None:
    with atomic_write(path) as partial:
        partial.write_text(text, encoding='utf-8')


def _write_json(path: Path, environment: dict[str, Any], **content: Any) -> None:
    _write(path, json.dumps({**environment, **content}, indent=1) + '\n')


if __name__ == '__main__':
    main()
