"""Measure the time of a whole training step of several configs, and write a Markdown table and a JSON.

The models are trained in turn, for real, on the first batches of their data, which are in memory. The first config is
the one that the others are compared with. With --class-weights every config is measured a second time with
ClassWeightHook logging every step, and a second table shows the cost of the hook at its default interval.

With --synthetic, models of mmseg are trained on random images, with mmseg's cross entropy and with the recall loss,
the latter also from the logits of a low resolution; neither data nor checkpoints are needed.

Example: mmrecall benchmark-training configs/deeplabv3/*r18w32*-{ce,recall}-1k_camvid-180x240.py
Example: mmrecall benchmark-training --synthetic --device cuda
"""

import argparse
import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from rich.console import Console
from rich.progress import Progress

from mmrecall.analysis.benchmark.environment import check_arguments, describe_environment, write_results
from mmrecall.analysis.benchmark.measure import peak_bytes
from mmrecall.analysis.benchmark.synthetic_training import LOSSES, MODELS, describe_model, synthetic_config, why_not
from mmrecall.analysis.benchmark.training_steps import (
    logging_markdown,
    make_config_step,
    make_step,
    measure_steps,
    step_rows,
    steps_markdown,
)
from mmrecall.cli.command_line import typed_command


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument(
        'configs', nargs='*', type=Path, help='configs to measure, two or more, unless --synthetic is set'
    )
    parser.add_argument(
        '--synthetic', nargs='*', metavar='MODEL', help=f'models instead of configs: {", ".join(MODELS)} (default: all)'
    )
    parser.add_argument(
        '--dtype',
        nargs='+',
        choices=('float32', 'bfloat16'),
        help='types of --synthetic: float32, or bfloat16 by autocast (default: float32; on a GPU both)',
    )
    parser.add_argument('--class-weights', action='store_true', help='measure ClassWeightHook too')
    parser.add_argument('--device', choices=('cpu', 'cuda'), default='cpu', help='device (default: %(default)s)')
    parser.add_argument('--threads', type=int, default=2, help='threads of the CPU (default: %(default)s)')
    parser.add_argument(
        '--rounds', type=int, default=40, help='steps of each config that are timed (default: %(default)s)'
    )
    parser.add_argument('--batches', type=int, default=4, help='batches of each config (default: %(default)s)')
    parser.add_argument(
        '--out', type=Path, default=Path('work_dirs/benchmark_training'), help='folder (default: %(default)s)'
    )


def run(arguments: argparse.Namespace) -> None:
    """Measure, write the files, and print the tables."""
    try:
        print(_measure(arguments))
    except (ImportError, OSError, ValueError) as error:
        raise SystemExit(str(error)) from error
    print(f'Written: {arguments.out}')


def _measure(arguments: argparse.Namespace) -> str:
    """Measure, write the files, and return the tables."""
    check_arguments(arguments.device, threads=arguments.threads, rounds=arguments.rounds, batches=arguments.batches)
    torch.set_num_threads(arguments.threads)
    return _measure_configs(arguments) if arguments.synthetic is None else _measure_synthetic(arguments)


def _measure_configs(arguments: argparse.Namespace) -> str:
    device, rounds = arguments.device, arguments.rounds
    names = [path.stem for path in arguments.configs]
    if len(set(names)) < 2 or len(set(names)) < len(names):
        raise ValueError(f'got the configs {", ".join(names)}; expected two or more with different names')
    environment = describe_environment(typed_command(), device)
    kinds = (False, True) if arguments.class_weights else (False,)
    with TemporaryDirectory() as work_dir, _progress((rounds + 1) * len(names) * len(kinds)) as advance:
        steps = {
            (path.stem, logged): make_step(path, device, arguments.batches, Path(work_dir), log_classes=logged)
            for path in arguments.configs
            for logged in kinds
        }
        found = measure_steps(steps, rounds, device, advance)
        peaks = {name: peak_bytes(step, device) for (name, logged), step in steps.items() if not logged}
    seconds, logged = ({name: one for (name, kind), one in found.items() if kind is wanted} for wanted in (False, True))
    rows = step_rows(seconds, peaks)
    tables = steps_markdown(rows) + (f'\n{logging_markdown(seconds, logged)}' if logged else '')
    ratios = {row.name: row.ratio for row in rows}
    content = dict(ratios=ratios, seconds=seconds, logged_seconds=logged, peak_bytes=peaks)
    write_results(arguments.out, 'steps', environment, tables, **content)
    return tables


def _measure_synthetic(arguments: argparse.Namespace) -> str:
    device, rounds = arguments.device, arguments.rounds
    on_gpu = device == 'cuda'
    _check_synthetic(arguments)
    dtypes = arguments.dtype or (['float32', 'bfloat16'] if on_gpu else ['float32'])
    environment = describe_environment(typed_command(), device)
    reasons = {loss: why_not(loss) for loss in LOSSES}
    losses = [loss for loss, reason in reasons.items() if reason is None]
    notes = ''.join(f'\nNot measured: {loss}, because {reason}.\n' for loss, reason in reasons.items() if reason)
    tables, groups = '', []
    for model in arguments.synthetic or MODELS:
        for dtype in dtypes:
            with TemporaryDirectory() as work_dir, _progress((rounds + 1) * len(losses)) as advance:
                steps = {
                    loss: make_config_step(
                        synthetic_config(model, loss, dtype, arguments.batches),
                        f'{model} {dtype} {loss}',
                        device,
                        arguments.batches,
                        Path(work_dir),
                    )
                    for loss in losses
                }
                seconds = measure_steps(steps, rounds, device, advance)
                peaks = {loss: peak_bytes(step, device) for loss, step in steps.items()}
            # The next models need the memory.
            del steps
            gc.collect()
            if on_gpu:
                torch.cuda.empty_cache()
            rows = step_rows(seconds, peaks)
            tables += f'{tables and chr(10)}### {describe_model(model)}, {dtype}\n\n{steps_markdown(rows)}'
            ratios = {row.name: row.ratio for row in rows}
            groups.append(dict(model=model, dtype=dtype, ratios=ratios, seconds=seconds, peak_bytes=peaks))
            # An interrupted run has the results of the models before.
            write_results(arguments.out, 'synthetic_steps', environment, tables + notes, groups=groups)
    return tables + notes


def _check_synthetic(arguments: argparse.Namespace) -> None:
    unknown = set(arguments.synthetic) - set(MODELS)
    if unknown:
        raise ValueError(f'got --synthetic {" ".join(sorted(unknown))}; expected one or more of {", ".join(MODELS)}')
    if arguments.configs or arguments.class_weights:
        raise ValueError('got --synthetic with configs or --class-weights; set one of them')
    if arguments.device == 'cpu' and 'bfloat16' in (arguments.dtype or []):
        raise ValueError('got --dtype bfloat16 with --device cpu; mmengine trains with autocast on a GPU alone')


@contextmanager
def _progress(total: int) -> Iterator[Callable[[], None]]:
    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task('training steps', total=total)
        yield lambda: bar.advance(task)
