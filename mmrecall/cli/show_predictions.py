r"""Draw images with their truth and the predictions of trained segmentation models, where the models differ most.

A PNG for each image shows the whole image, the window in which the models differ most, and for some classes the pixels
that each model found, missed (false negatives) and wrongly found (false positives). Unlabelled pixels do not count. By
default the images are those with the largest share of labelled pixels for which not all models predict the same class.

A RUN is a work dir, which stands for the config in it and the newest checkpoint, or a config followed by a checkpoint.
Every model predicts with the test pipeline of its config; classes and images must be the same.

Example: mmrecall show-predictions work_dirs/ce work_dirs/recall --classes Pole Pedestrian
"""

import argparse
from pathlib import Path

import mmcv
from mmengine.config import DictAction
from rich.console import Console
from rich.progress import Progress

from mmrecall.analysis.display import print_table
from mmrecall.analysis.predictions.figures import draw_compared_predictions, scores_table
from mmrecall.analysis.predictions.trained_segmentors import (
    TrainedSegmentor,
    check_comparable,
    compare_models,
    find_images,
)
from mmrecall.analysis.trained_runs import check_device, find_runs
from mmrecall.datasets.failures import whole_message

# Number of classes that are shown for each image without --classes.
CLASSES = 2


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument('runs', nargs='+', metavar='RUN', help='two or more: WORK_DIR, or CONFIG CHECKPOINT')
    chosen = parser.add_mutually_exclusive_group()
    chosen.add_argument('--images', type=int, default=5, help='number of images, most different first (default: 5)')
    chosen.add_argument('--select', nargs='+', metavar='NAME', help='names of images, or the ends of their paths')
    parser.add_argument(
        '--split', choices=('val', 'test'), default='test', help='split of the images (default: %(default)s)'
    )
    parser.add_argument(
        '--classes',
        nargs='+',
        metavar='CLASS',
        help='classes that are shown one by one (default: two for each image, whose IoU differs most)',
    )
    parser.add_argument('--device', choices=('cpu', 'cuda'), default='cpu', help='device (default: %(default)s)')
    parser.add_argument(
        '--out', type=Path, default=Path('work_dirs/show_predictions'), help='folder (default: %(default)s)'
    )
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, help='override settings of all configs')


def run(arguments: argparse.Namespace) -> None:
    """Predict, draw the images, and print the scores."""
    try:
        _show(arguments)
    except (OSError, TypeError, ValueError) as error:
        raise SystemExit(whole_message(error)) from error
    print(f'Written: {arguments.out}')


def _show(arguments: argparse.Namespace) -> None:
    if arguments.images < 1:
        raise ValueError(f'got --images {arguments.images}; expected at least 1')
    check_device(arguments.device)
    runs = find_runs(arguments.runs)
    if len(runs) < 2:
        raise ValueError('got one run; expected two or more, whose predictions are compared')
    segmentors = [TrainedSegmentor(run, arguments.split, arguments.device, arguments.cfg_options) for run in runs]
    check_comparable(segmentors)
    first, names = segmentors[0], [run.name for run in runs]
    shown = first.class_numbers(arguments.classes or ())
    if arguments.select is None:
        images, kept = range(len(first.image_paths)), arguments.images
    else:
        images, kept = find_images(arguments.select, first.image_paths), None
    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(f'images, {len(segmentors)} models', total=len(images))
        compared = compare_models(segmentors, images, kept, on_image=lambda: bar.advance(task))
    for image in compared:
        draw_compared_predictions(
            arguments.out / f'{image.name}.png',
            mmcv.imread(image.path, channel_order='rgb'),
            image,
            names,
            first.classes,
            first.palette,
            shown or image.most_different_classes(CLASSES),
        )
    print_table(scores_table(compared, names))
