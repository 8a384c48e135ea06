"""Write scikit-learn's digits as a long-tailed image set: PNGs of 8x8 pixels, and lists for mmrecall.LongTailList.

50 images of each digit are tested; the others are thinned, the digit with the most images stays the largest. The same
seed gives the same files. Needs scikit-learn: pip install "mmrecall[demo]".

Example: python tools/dataset_converters/digits_lt.py --out data/digits-lt
"""

import argparse

from mmrecall.datasets.digits import TEST_IMAGES, write_digits


def main() -> None:
    """Parse the arguments, write, print the counts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--out', required=True, help='the folder')
    parser.add_argument('--ratio', type=float, default=40, help='largest class by smallest (default: %(default)s)')
    parser.add_argument('--seed', type=int, default=0, help='of the draws (default: %(default)s)')
    arguments = parser.parse_args()
    try:
        counts = write_digits(arguments.out, arguments.ratio, arguments.seed)
    except (ImportError, OSError, ValueError) as error:
        raise SystemExit(str(error)) from error
    print(
        f'{arguments.out}: {sum(counts)} training images of {len(counts)} classes, {max(counts)} to {min(counts)} '
        f'each; {TEST_IMAGES * len(counts)} test images'
    )


if __name__ == '__main__':
    main()
