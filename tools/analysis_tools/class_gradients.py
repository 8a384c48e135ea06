"""Show where losses push the logits of every class, up (recall) or down (precision), for one batch and model.

The gradient of the loss with respect to the logits that it sees, summed over the samples of the class and over those of
the others: the two terms of equation 8 of the recall-loss paper. --compare takes the loss of other configs, on the same
logits. Writes gradients.csv, gradients.png and gradients.svg.

Example: python tools/analysis_tools/class_gradients.py \\
    configs/deeplabv3/deeplabv3_r18w32-d16_1xb8-ce-1k_camvid-180x240.py work_dirs/ce/iter_1000.pth \\
    --compare configs/deeplabv3/deeplabv3_r18w32-d16_1xb8-{recall,focal}-1k_camvid-180x240.py
"""

import argparse
from pathlib import Path

from mmengine.config import Config, DictAction
from rich.console import Console
from rich.progress import Progress

from mmrecall.analysis.display import print_table
from mmrecall.analysis.gradients.class_gradients import SPLITS, ClassGradients, GradientComparison
from mmrecall.analysis.gradients.figures import draw_gradients, gradients_table, write_gradients
from mmrecall.datasets.failures import whole_message


def main() -> None:
    """Parse the arguments, measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='of the model and the data; its own loss comes first')
    parser.add_argument('checkpoint', help='of the model')
    parser.add_argument('--compare', nargs='+', default=[], metavar='CONFIG', help='whose losses are compared with it')
    parser.add_argument('--split', choices=SPLITS, default='train', help='of the data (default: %(default)s)')
    parser.add_argument('--batches', type=int, default=1, help='take the mean over so many (default: %(default)s)')
    parser.add_argument('--seed', type=int, default=0, help='of the order of the data (default: %(default)s)')
    parser.add_argument('--head', help='whose losses are meant (default: decode_head, or the only one)')
    parser.add_argument('--out', type=Path, default=Path('work_dirs/class_gradients'), help='default: %(default)s')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, help='override the first config')
    arguments = parser.parse_args()
    if arguments.batches < 1:
        parser.error(f'--batches is {arguments.batches}; it must be at least 1')
    try:
        found = _measure(arguments)
        print_table(gradients_table(found))
        out = arguments.out
        write_gradients(out / 'gradients.csv', found)
        draw_gradients([out / 'gradients.png', out / 'gradients.svg'], found)
    except (OSError, TypeError, ValueError) as error:
        raise SystemExit(whole_message(error)) from error
    print(f'Written: {out}/gradients.csv, gradients.png, gradients.svg')


def _measure(arguments: argparse.Namespace) -> ClassGradients:
    config = Config.fromfile(arguments.config)
    config.merge_from_dict(arguments.cfg_options or {})
    compared = [Config.fromfile(path) for path in arguments.compare]
    comparison = GradientComparison(
        config, arguments.checkpoint, compared, arguments.head, arguments.split, arguments.seed
    )
    for name, fresh in comparison.fresh.items():
        for buffer in fresh:
            print(f'{name}: {buffer} is not in the checkpoint, it starts as in a new training')
    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task('gradients', total=arguments.batches * len(comparison.names))
        return comparison.measure(arguments.batches, on_step=lambda: bar.advance(task))


if __name__ == '__main__':
    main()
