"""Measure time and memory of every loss beside F.cross_entropy, and write a Markdown table, a JSON and bar charts.

The losses of this package, those of mmseg and mmpretrain, and the recall loss written with PyTorch's functions run in
turn, forward and backward. A shape such as cityscapes-1024/8 has logits of a lower resolution than the labels: the
losses of this package accept them as they are, for the others they are interpolated first. On a GPU the time is that of
CUDA graphs, beside the time with the host. With --scaling, time is measured against pixels and against classes instead.

Columns: ms is the fastest step; by round, the ratio to F.cross_entropy in the same round, its median, 10th and 90th
percentile; peak memory, the most that a step holds beyond the logits; roofline, the time to read the logits twice and
to write their gradient once.

Example: mmrecall benchmark --shapes cityscapes places-lt --losses 'mmrecall.*' naive*
"""

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import Progress

from mmrecall.analysis.benchmark.baselines import GPU_LOSSES, choose_candidates
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
from mmrecall.analysis.benchmark.timing import CannotMeasureError, OnStep, Settings, measure_losses
from mmrecall.cli.command_line import typed_command


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument('--device', choices=('cpu', 'cuda'), default='cpu', help='device (default: %(default)s)')
    parser.add_argument(
        '--dtype',
        nargs='+',
        choices=('float32', 'bfloat16'),
        help='types of the logits, one or both (default: float32; on a GPU both)',
    )
    parser.add_argument('--threads', type=int, default=2, help='threads of the CPU (default: %(default)s)')
    parser.add_argument(
        '--memory',
        choices=MEMORY,
        default='fresh',
        help='memory of the CPU: given back before every step, or kept (default: %(default)s)',
    )
    parser.add_argument(
        '--shapes',
        nargs='+',
        help=f'{", ".join((*SHAPES, *LARGE_SHAPES))}, or sizes such as 4x19x512x512 or 128x365; with a stride after a '
        'slash, such as cityscapes/8, the logits are of a lower resolution',
    )
    parser.add_argument(
        '--losses', nargs='+', help='names, or patterns such as "mmseg.*" (default: all; on a GPU the faster ones)'
    )
    parser.add_argument(
        '--rounds', type=int, help='steps of each loss that are timed (default: 25; on a GPU 10, beside 20 replays)'
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


def run(arguments: argparse.Namespace) -> None:
    """Measure, write the files, and print the tables."""
    try:
        print(_measure(arguments))
    except (CannotMeasureError, ValueError) as error:
        raise SystemExit(str(error)) from error
    print(f'Written: {arguments.out}')


def _set_defaults(arguments: argparse.Namespace) -> None:
    on_gpu = arguments.device == 'cuda'
    if arguments.rounds is None:
        arguments.rounds = 10 if on_gpu else 25
    if arguments.dtype is None:
        arguments.dtype = ['float32', 'bfloat16'] if on_gpu and not arguments.scaling else ['float32']
    if arguments.losses is None and (on_gpu or arguments.scaling):
        arguments.losses = LOSSES if arguments.scaling else GPU_LOSSES


def _measure(arguments: argparse.Namespace) -> str:
    """Measure, write the files, and return the tables."""
    _set_defaults(arguments)
    check_arguments(
        arguments.device, threads=arguments.threads, rounds=arguments.rounds, max_seconds=arguments.max_seconds
    )
    torch.set_num_threads(arguments.threads)
    environment = describe_environment(typed_command(), arguments.device)
    environment['settings'] = {name: getattr(arguments, name) for name in Settings._fields}
    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task('', total=1)

        def show(text: str, share: float) -> None:
            bar.update(task, description=text, completed=share)

        if arguments.scaling:
            return _measure_scaling(arguments, environment, show)
        return _measure_shapes(arguments, environment, show)


def _settings(arguments: argparse.Namespace, dtype: str) -> Settings:
    return Settings(arguments.device, dtype, arguments.rounds, arguments.max_seconds, arguments.memory)


def _measure_scaling(arguments: argparse.Namespace, environment: dict[str, Any], show: OnStep) -> str:
    if len(arguments.dtype) > 1:
        raise ValueError(f'got --dtype {" ".join(arguments.dtype)} with --scaling; expected a single dtype')
    shapes = scaling_shapes(arguments.sides, arguments.classes)
    candidates, settings = choose_candidates(arguments.losses), _settings(arguments, arguments.dtype[0])
    measured, scalings = measure_scaling(candidates, shapes, settings, show)
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


def _measure_shapes(arguments: argparse.Namespace, environment: dict[str, Any], show: OnStep) -> str:
    candidates, measured, tables = choose_candidates(arguments.losses), [], ''
    for name, shape in read_shapes(arguments.shapes, arguments.device).items():
        for dtype in arguments.dtype:
            measured.append(measure_losses(candidates, name, shape, _settings(arguments, dtype), show))
            # An interrupted run has the results of the shapes before.
            tables = '\n'.join(map(measurement_markdown, measured))
            write_results(arguments.out, 'losses', environment, tables, measurements=[as_json(one) for one in measured])
            file = name.replace('/', '-stride-') + (f'-{dtype}' if len(arguments.dtype) > 1 else '')
            draw_loss_costs(arguments.out / f'losses-{file}.png', measured[-1])
    return tables
