"""Write scikit-learn's digits as a long-tailed image set: PNGs of 8x8 pixels, and lists for mmrecall.LongTailList.

50 images of each digit are the test set; a long-tailed subset of the others is the training set, in which the digit
with the most images stays the largest class. The same seed gives the same files. Needs scikit-learn:
pip install scikit-learn.

Example: mmrecall make-digits --out data/digits-lt
"""

import argparse

from mmrecall.datasets.digits import TEST_IMAGES, write_digits


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument('--out', required=True, help='folder of the image set')
    parser.add_argument('--ratio', type=float, default=40, help='imbalance ratio (default: %(default)s)')
    parser.add_argument('--seed', type=int, default=0, help='seed of the draws (default: %(default)s)')


def run(arguments: argparse.Namespace) -> None:
    """Write the image set and print its sizes."""
    try:
        counts = write_digits(arguments.out, arguments.ratio, arguments.seed)
    except (ImportError, OSError, ValueError) as error:
        raise SystemExit(str(error)) from error
    print(
        f'{arguments.out}: {sum(counts)} training images of {len(counts)} classes, {max(counts)} to {min(counts)} '
        f'each; {TEST_IMAGES * len(counts)} test images'
    )
