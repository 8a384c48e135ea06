"""Write the classes in every image of CamVid as lists for mmpretrain's MultiLabelDataset.

The configs with camvid-tags in their names train on them. An image has the tag of a class that has at least 1 % of its
pixels. The lists are train_tags.json, val_tags.json and test_tags.json in the folder of CamVid.

Example: python tools/dataset_converters/camvid_tags.py data/CamVid
"""

import argparse

from mmrecall.datasets.camvid_tags import CLASSES, SPLITS, write_tags
from mmrecall.datasets.failures import whole_message


def main() -> None:
    """Write the lists and print the number of images by tag."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('root', help='folder of CamVid, with train, trainannot, val, valannot, test and testannot')
    try:
        numbers = write_tags(parser.parse_args().root)
    except (OSError, ValueError) as error:
        raise SystemExit(whole_message(error)) from error
    print(f'{"tag":10}' + ''.join(f'{split:>6}' for split in SPLITS))
    for name in CLASSES:
        print(f'{name:10}' + ''.join(f'{numbers[split][name]:6}' for split in SPLITS))


if __name__ == '__main__':
    main()
