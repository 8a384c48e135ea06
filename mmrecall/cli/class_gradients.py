"""Measure the gradient of losses by class on batches of data through a trained model, and show it as table and figure.

The positive gradient of a class comes from its samples and raises its logit, the negative gradient comes from the
samples of all other classes and lowers it: the two terms of equation 8 of the recall-loss paper. --compare adds the
losses of other configs at the same logits. Writes gradients.csv, gradients.png and gradients.svg.

Example: mmrecall class-gradients \\
    configs/deeplabv3/deeplabv3_r18w32-d16_1xb8-ce-1k_camvid-180x240.py work_dirs/ce/iter_1000.pth \\
    --compare configs/deeplabv3/deeplabv3_r18w32-d16_1xb8-{recall,focal}-1k_camvid-180x240.py
"""

import argparse
from pathlib import Path

from mmengine.config import DictAction
from rich.console import Console
from rich.progress import Progress

from mmrecall.analysis.display import print_table
from mmrecall.analysis.gradients.comparison import SPLITS, ComparedGradients, GradientComparison
from mmrecall.analysis.gradients.figures import draw_gradients, gradients_table, write_gradients
from mmrecall.config_files import read_config
from mmrecall.datasets.failures import whole_message


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument('config', help='config of the model and the data; its loss is the first')
    parser.add_argument('checkpoint', help='checkpoint of the model')
    parser.add_argument('--compare', nargs='+', default=[], metavar='CONFIG', help='configs of further losses')
    parser.add_argument('--split', choices=SPLITS, default='train', help='split of the data (default: %(default)s)')
    parser.add_argument(
        '--batches', type=int, default=1, help='number of batches to average over (default: %(default)s)'
    )
    parser.add_argument('--seed', type=int, default=0, help='seed of the order of the data (default: %(default)s)')
    parser.add_argument('--head', help='head that has the losses (default: decode_head, or the only head with a loss)')
    parser.add_argument(
        '--out', type=Path, default=Path('work_dirs/class_gradients'), help='folder (default: %(default)s)'
    )
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, help='override settings of the first config')


def run(arguments: argparse.Namespace) -> None:
    """Measure, and print and write what was measured."""
    out = arguments.out
    try:
        if arguments.batches < 1:
            raise ValueError(f'got --batches {arguments.batches}; expected at least 1')
        found = _measure(arguments)
        for loss in found.left_out:
            print(f'{loss} is not measured, because it is no loss of classes')
        print_table(gradients_table(found))
        write_gradients(out / 'gradients.csv', found)
        draw_gradients([out / 'gradients.png', out / 'gradients.svg'], found)
    except (OSError, TypeError, ValueError) as error:
        raise SystemExit(whole_message(error)) from error
    print(f'Written: {out}')


def _measure(arguments: argparse.Namespace) -> ComparedGradients:
    config = read_config(arguments.config, arguments.cfg_options)
    compared = [read_config(path) for path in arguments.compare]
    comparison = GradientComparison(
        config, arguments.checkpoint, compared, arguments.head, arguments.split, arguments.seed
    )
    for name, fresh in comparison.fresh.items():
        for buffer in fresh:
            print(f'{name}: {buffer} is not in the checkpoint and starts as in a new training')
    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task('gradients', total=arguments.batches * len(comparison.names))
        return comparison.measure(arguments.batches, on_step=lambda: bar.advance(task))
