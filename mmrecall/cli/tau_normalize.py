"""τ-normalise the classifier of a trained network: its rows are divided by their length to the power of τ.

Kang et al., "Decoupling representation and classifier for long-tailed recognition", ICLR 2020. Writes a checkpoint for
the same config, with a bias of 0. Choose τ on validation images: the configs that `mmrecall configs list tau-norm`
prints evaluate several in one pass.

Example: mmrecall tau-normalize work_dirs/my_run/epoch_90.pth normalized.pth --tau 0.7
"""

import argparse

from mmrecall.models.converters.tau_normalize import tau_normalize_checkpoint


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument('checkpoint', help='checkpoint of an ImageClassifier with a LinearClsHead or an SDNHead')
    parser.add_argument('out', help='checkpoint to write; nothing is overwritten')
    parser.add_argument('--tau', type=float, required=True, help='exponent τ, at least 0; 0 only drops the bias')


def run(arguments: argparse.Namespace) -> None:
    """Write the checkpoint, and print its path."""
    try:
        out = tau_normalize_checkpoint(arguments.checkpoint, arguments.out, arguments.tau)
    except (OSError, ValueError) as error:
        raise SystemExit(str(error)) from error
    print(f'Checkpoint: {out}')
