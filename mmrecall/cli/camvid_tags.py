"""Write the classes in every image of CamVid as lists for mmpretrain's MultiLabelDataset.

The configs with camvid-tags in their names train on them. An image has the tag of a class that has at least 1 % of its
pixels. The lists are train_tags.json, val_tags.json and test_tags.json in the folder of CamVid.

Example: mmrecall camvid-tags data/CamVid
"""

import argparse

from mmrecall.datasets.camvid_tags import CLASSES, SPLITS, write_tags
from mmrecall.datasets.failures import whole_message


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument('root', help='folder of CamVid, with train, trainannot, val, valannot, test and testannot')


def run(arguments: argparse.Namespace) -> None:
    """Write the lists and print the number of images by tag."""
    try:
        numbers = write_tags(arguments.root)
    except (OSError, ValueError) as error:
        raise SystemExit(whole_message(error)) from error
    print(f'{"tag":10}' + ''.join(f'{split:>6}' for split in SPLITS))
    for name in CLASSES:
        print(f'{name:10}' + ''.join(f'{numbers[split][name]:6}' for split in SPLITS))
