"""Write the list of a long-tailed subset of a config's training set, for mmrecall.LongTailList.

The largest class stays the largest, and so on; of classes of equal size, the one with the lower number gets more
images. The same seed gives the same list. Paths are relative to data_root; images in memory (CIFAR) are written as PNG
files beside the list. If some items cannot be listed, the error names all of them, and no list is written.

Example: mmrecall make-long-tail CONFIG --out data/flowers/train_lt.txt --ratio 100
"""

import argparse

from mmengine.config import DictAction
from mmengine.registry import DATASETS, init_default_scope

from mmrecall.config_files import naming_mistakes, read_config
from mmrecall.datasets.failures import whole_message
from mmrecall.datasets.subsampling import PROFILES, write_long_tail


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument('config', help='config with the training set, train_dataloader.dataset')
    parser.add_argument('--out', required=True, help='path of the list to write')
    parser.add_argument('--ratio', type=float, default=100, help='imbalance ratio (default: %(default)s)')
    parser.add_argument(
        '--profile', choices=PROFILES, default='exponential', help='profile of the class sizes (default: %(default)s)'
    )
    parser.add_argument('--power', type=float, default=6, help='exponent of the Pareto profile (default: %(default)s)')
    parser.add_argument('--largest', type=int, help='number of images of the largest class (default: all)')
    parser.add_argument('--seed', type=int, default=0, help='seed of the draw (default: %(default)s)')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, help='override settings of the config')


def run(arguments: argparse.Namespace) -> None:
    """Write the list and print the sizes of the classes."""
    options = dict(profile=arguments.profile, power=arguments.power, largest=arguments.largest, seed=arguments.seed)
    try:
        config = read_config(arguments.config, arguments.cfg_options)
        if 'train_dataloader' not in config:
            raise ValueError(f'{config.filename} has no train_dataloader; expected train_dataloader=dict(dataset=...)')
        init_default_scope(config.get('default_scope', 'mmpretrain'))
        with naming_mistakes(config):
            dataset = DATASETS.build(config.train_dataloader.dataset)
        counts = write_long_tail(dataset, arguments.out, arguments.ratio, progress=True, **options)
    except (OSError, TypeError, ValueError) as error:
        raise SystemExit(whole_message(error)) from error
    print(f'{arguments.out}: {sum(counts):,} images of {len(counts)} classes, {max(counts):,} to {min(counts):,} each')
