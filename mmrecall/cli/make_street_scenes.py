"""Write synthetic street scenes in SYNTHIA's layout, and the lists of their split.

Example: mmrecall make-street-scenes data/street_scenes --frames 430
"""

import argparse

from mmrecall.datasets.street_scenes import write_street_scenes
from mmrecall.datasets.synthia import write_lists


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument('root', help='folder of the sequence and the lists')
    parser.add_argument('--frames', type=int, default=430, help='number of frames (default: %(default)s)')
    size = dict(default=(256, 128), metavar=('WIDTH', 'HEIGHT'))
    parser.add_argument('--size', type=int, nargs=2, help='size in pixels (default: 256 128)', **size)
    parser.add_argument(
        '--seed', type=int, default=0, help='seed; the same seed gives the same files (default: %(default)s)'
    )
    parser.add_argument('--sequence', default='STREET-SCENES', help='name of the sequence (default: %(default)s)')


def run(arguments: argparse.Namespace) -> None:
    """Write the sequence and the lists, and print the number of frames in each list."""
    root, sequence = arguments.root, arguments.sequence
    try:
        write_street_scenes(root, arguments.frames, arguments.seed, tuple(arguments.size), sequence)
        print(write_lists(root, root, arguments.seed, sequences=[sequence]))
    except (OSError, ValueError) as error:
        raise SystemExit(str(error)) from error
