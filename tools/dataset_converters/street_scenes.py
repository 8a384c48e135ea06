"""Write made street scenes in SYNTHIA's layout, and the lists of their split.

Example: python tools/dataset_converters/street_scenes.py data/street_scenes --frames 430
"""

import argparse

from mmrecall.datasets import write_street_scenes
from mmrecall.datasets.synthia import write_lists


def main() -> None:
    """Parse the arguments, write, print the number of frames."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('root', help='folder that the sequence and the lists are written to')
    parser.add_argument('--frames', type=int, default=430, help='number of frames (default: %(default)s)')
    parser.add_argument(
        '--size',
        type=int,
        nargs=2,
        default=(256, 128),
        metavar=('WIDTH', 'HEIGHT'),
        help='in pixels (default: 256 128)',
    )
    parser.add_argument('--seed', type=int, default=0, help='the same seed gives the same bytes')
    parser.add_argument('--sequence', default='STREET-SCENES', help='name of the sequence (default: %(default)s)')
    arguments = parser.parse_args()
    root, sequence = arguments.root, arguments.sequence
    try:
        write_street_scenes(root, arguments.frames, arguments.seed, tuple(arguments.size), sequence)
        print(write_lists(root, root, arguments.seed, sequences=[sequence]))
    except (OSError, ValueError) as error:
        raise SystemExit(str(error)) from error


if __name__ == '__main__':
    main()
