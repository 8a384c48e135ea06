"""Measure time and memory of every loss beside F.cross_entropy, and write a Markdown table, a JSON and bar charts.

The losses of this package, those of mmseg and mmpretrain, and the recall loss written with PyTorch's functions run in
turn, forward and backward. With --scaling, time is measured against pixels and against classes instead.
docs/benchmark.md explains the columns.

Example: python tools/analysis_tools/benchmark_losses.py --shapes cityscapes places-lt --losses 'mmrecall.*' naive*
"""

import argparse
import sys
from dataclasses import asdict
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import Progress

from mmrecall.analysis.benchmark.baselines import choose_candidates
from mmrecall.analysis.benchmark.environment import check_arguments, describe_environment, write_results
from mmrecall.analysis.benchmark.figures import draw_loss_costs, draw_scaling
from mmrecall.analysis.benchmark.inputs import LARGE_SHAPES, SHAPES, read_shapes
from mmrecall.analysis.benchmark.measure import MEMORY
from mmrecall.analysis.benchmark.results import as_json, measurement_markdown
from mmrecall.analysis.benchmark.scaling import (
    CLASSES,
    LOSSES,
    SIDES,
    measure_scaling,
    scaling_markdown,
    scaling_shapes,
)
from mmrecall.analysis.benchmark.timing import CannotMeasureError, Settings, measure_losses


def main() -> None:
    """Parse the arguments, measure, write, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--device', choices=('cpu', 'cuda'), default='cpu', help='default: %(default)s')
    parser.add_argument(
        '--dtype', choices=('float32', 'bfloat16'), default='float32', help='of the logits (default: %(default)s)'
    )
    parser.add_argument('--threads', type=int, default=2, help='threads of the CPU (default: %(default)s)')
    parser.add_argument(
        '--memory',
        choices=MEMORY,
        default='fresh',
        help='memory of the CPU: given back before every step, or kept (default: %(default)s)',
    )
    parser.add_argument(
        '--shapes', nargs='+', help=f'{", ".join((*SHAPES, *LARGE_SHAPES))}, or sizes such as 4x19x512x512 or 128x365'
    )
    parser.add_argument('--losses', nargs='+', help='names, or patterns such as "mmseg.*" (default: all)')
    parser.add_argument(
        '--rounds', type=int, default=25, help='steps of each loss that are timed (default: %(default)s)'
    )
    parser.add_argument(
        '--max-seconds', type=float, default=10.0, help='a loss with a longer step is not timed (default: %(default)s)'
    )
    parser.add_argument('--scaling', action='store_true', help='measure the scaling with pixels and with classes')
    parser.add_argument('--sides', nargs='+', type=int, default=SIDES, help='sides of the square images of --scaling')
    parser.add_argument('--classes', nargs='+', type=int, default=CLASSES, help='numbers of classes of --scaling')
    parser.add_argument(
        '--out', type=Path, default=Path('work_dirs/benchmark_losses'), help='folder (default: %(default)s)'
    )
    arguments = parser.parse_args()
    try:
        print(_measure(arguments))
    except (CannotMeasureError, ValueError) as error:
        raise SystemExit(str(error)) from error
    print(f'Written: {arguments.out}')


def _measure(arguments: argparse.Namespace) -> str:
    """Measure, write the files, and return the tables."""
    check_arguments(
        arguments.device, threads=arguments.threads, rounds=arguments.rounds, max_seconds=arguments.max_seconds
    )
    torch.set_num_threads(arguments.threads)
    settings = Settings(arguments.device, arguments.dtype, arguments.rounds, arguments.max_seconds, arguments.memory)
    environment = {**describe_environment(sys.argv, arguments.device), 'settings': settings._asdict()}
    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task('', total=1)

        def show(text: str, share: float) -> None:
            bar.update(task, description=text, completed=share)

        if arguments.scaling:
            shapes = scaling_shapes(arguments.sides, arguments.classes)
            measured, scalings = measure_scaling(choose_candidates(arguments.losses or LOSSES), shapes, settings, show)
            tables = scaling_markdown(scalings)
            write_results(
                arguments.out,
                'scaling',
                environment,
                tables,
                scaling=[asdict(one) for one in scalings],
                measurements=[as_json(one) for one in measured],
            )
            draw_scaling(arguments.out / 'scaling.png', scalings)
            return tables
        candidates, measured = choose_candidates(arguments.losses), []
        for name, shape in read_shapes(arguments.shapes, arguments.device).items():
            measured.append(measure_losses(candidates, name, shape, settings, show))
            # An interrupted run has the results of the shapes before.
            tables = '\n'.join(map(measurement_markdown, measured))
            write_results(arguments.out, 'losses', environment, tables, measurements=[as_json(one) for one in measured])
            draw_loss_costs(arguments.out / f'losses-{name}.png', measured[-1])
        return tables


if __name__ == '__main__':
    main()
