"""Split SYNTHIA sequences 70/10/20 per camera folder into the lists that mmrecall.SynthiaSequenceDataset reads.

The papers' split of SYNTHIA-SEQS-05-SUMMER is random (4400/624/1272 frames), so that neighbouring frames of a video lie
in different splits; --contiguous avoids this. If files are missing, all of them are named and no list is written.

Example: mmrecall synthia-lists data/SYNTHIA --sequences SYNTHIA-SEQS-05-SUMMER
"""

import argparse

from mmrecall.datasets.failures import whole_message
from mmrecall.datasets.synthia import write_lists


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument('root', help='folder of the sequences: ROOT/<sequence>/RGB/<side>/<camera>/000000.png')
    parser.add_argument('--out', help='folder of train.txt, val.txt, test.txt (default: ROOT)')
    parser.add_argument('--sequences', nargs='+', default=(), help='names of the sequences (default: all)')
    parser.add_argument('--seed', type=int, default=0, help='seed of the random split (default: %(default)s)')
    parser.add_argument('--contiguous', action='store_true', help='cut blocks of 50 frames instead of drawing frames')


def run(arguments: argparse.Namespace) -> None:
    """Write the lists and print the number of frames in each."""
    out = arguments.out or arguments.root
    try:
        print(write_lists(arguments.root, out, arguments.seed, arguments.contiguous, arguments.sequences))
    except (OSError, ValueError) as error:
        raise SystemExit(whole_message(error)) from error
