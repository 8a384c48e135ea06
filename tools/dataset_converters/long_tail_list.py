"""Write a list file of a long-tailed part of a config's training set, for mmrecall.LongTailList.

The class with the most images stays the largest; of classes with equally many the lower number comes first. The same
seed gives the same list. Paths are relative to data_root; images of a data set without files (CIFAR) are written as
PNG beside the list. Without --largest the largest class keeps all its images. Items that cannot stand in a list are all
named; the list is written only if there are none, because without them the classes would have other numbers of images.

Example: python tools/dataset_converters/long_tail_list.py CONFIG --out data/flowers/train_lt.txt --ratio 100
"""

import argparse

from mmengine.config import Config, DictAction
from mmengine.registry import DATASETS, init_default_scope

from mmrecall.datasets.failures import whole_message
from mmrecall.datasets.subsampling import PROFILES, write_long_tail


def main() -> None:
    """Parse the arguments, build the data set, write, print the counts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='config whose train_dataloader.dataset is taken')
    parser.add_argument('--out', required=True, help='the list')
    parser.add_argument('--ratio', type=float, default=100, help='largest class by smallest (default: %(default)s)')
    parser.add_argument('--profile', choices=PROFILES, default='exponential', help='(default: %(default)s)')
    parser.add_argument('--power', type=float, default=6, help='of the Pareto profile (default: %(default)s)')
    parser.add_argument('--largest', type=int, help='images of the largest class (default: as many as it has)')
    parser.add_argument('--seed', type=int, default=0, help='of the draw (default: %(default)s)')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, help='override the config, as in tools/train.py')
    arguments = parser.parse_args()
    options = dict(profile=arguments.profile, power=arguments.power, largest=arguments.largest, seed=arguments.seed)
    try:
        config = Config.fromfile(arguments.config)
        config.merge_from_dict(arguments.cfg_options or {})
        if 'train_dataloader' not in config:
            raise ValueError(f'{config.filename} has no train_dataloader; there is no training set to take images from')
        init_default_scope(config.get('default_scope', 'mmpretrain'))
        dataset = DATASETS.build(config.train_dataloader.dataset)
        counts = write_long_tail(dataset, arguments.out, arguments.ratio, progress=True, **options)
    except (OSError, TypeError, ValueError) as error:
        raise SystemExit(whole_message(error)) from error
    print(f'{arguments.out}: {sum(counts):,} images of {len(counts)} classes, {max(counts):,} to {min(counts):,} each')


if __name__ == '__main__':
    main()
