"""Export a decoupled network as a stock mmpretrain classifier, which predicts the same without mmrecall installed.

Writes OUT (.pth) and, beside it, its config (.py). They keep backbone, neck, the classifier head (the averaged weights
after a training with an EMAHook), class names, data preprocessor, and the test pipeline if all of its transforms are
stock. They drop the feature head, losses and their state, data sets, optimizer and hooks. No code in the checkpoint is
run, so it may come from an unknown source.

Example: mmrecall export work_dirs/my_sdn/epoch_90.pth classifier.pth
"""

import argparse

from mmrecall.models.converters.sdn_to_classifier import sdn_to_classifier


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument('checkpoint', help='checkpoint of an ImageClassifier with an SDNHead')
    parser.add_argument('out', help='checkpoint to write, ending in .pth; nothing is overwritten')
    parser.add_argument('--config', help='config of the network (default: the one that the checkpoint holds)')


def run(arguments: argparse.Namespace) -> None:
    """Export, and print which files were written."""
    try:
        written = sdn_to_classifier(arguments.checkpoint, arguments.out, arguments.config)
    except (OSError, ValueError) as error:
        raise SystemExit(str(error)) from error
    print(f'Checkpoint: {written.checkpoint}\nConfig: {written.config}')
    if not written.has_pipeline:
        print('The config has no test pipeline: the network has none, or one with a transform that is not stock')
