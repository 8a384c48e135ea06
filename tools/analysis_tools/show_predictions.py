r"""Show where trained segmentation models differ: images, truth and every model's prediction side by side.

A PNG for each image: the whole, the window where the models differ most, enlarged, and for some classes what each model
found, missed (false negatives) and wrongly found (false positives). Unlabelled pixels count as no error. By default
those images are shown that have the largest share of labelled pixels for which not all models predict the same class.

A RUN is a work dir (the config in it and the newest checkpoint), or a config followed by a checkpoint. Every model
predicts its own config's images; classes and images must be the same.

Example: python tools/analysis_tools/show_predictions.py work_dirs/ce work_dirs/recall --classes Pole Pedestrian
"""

import argparse
from pathlib import Path

import mmcv
import torch
from mmengine.config import DictAction
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress
from rich.table import Table

from mmrecall.analysis.display import print_table
from mmrecall.analysis.predictions.disagreement import ComparedImage
from mmrecall.analysis.predictions.figures import draw_compared_predictions
from mmrecall.analysis.predictions.trained_segmentors import (
    TrainedSegmentor,
    check_comparable,
    compare_models,
    find_images,
    find_runs,
)
from mmrecall.datasets.failures import whole_message

# without --classes, for each image
CLASSES = 2


def main() -> None:
    """Parse the arguments, predict, draw, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('runs', nargs='+', metavar='RUN', help='two or more: WORK_DIR, or CONFIG CHECKPOINT')
    chosen = parser.add_mutually_exclusive_group()
    chosen.add_argument('--images', type=int, default=5, help='how many, of those that differ most (default: 5)')
    chosen.add_argument('--select', nargs='+', metavar='NAME', help='these images; the ends of their paths are enough')
    parser.add_argument('--split', choices=('val', 'test'), default='test', help='of the images (default: %(default)s)')
    parser.add_argument(
        '--classes',
        nargs='+',
        metavar='CLASS',
        help="shown one by one (default: each image's two of most different IoU)",
    )
    parser.add_argument('--device', choices=('cpu', 'cuda'), default='cpu', help='default: %(default)s')
    parser.add_argument('--out', type=Path, default=Path('work_dirs/show_predictions'), help='default: %(default)s')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, help='override the configs, as in tools/test.py')
    arguments = parser.parse_args()
    try:
        _show(arguments)
    except (OSError, TypeError, ValueError) as error:
        raise SystemExit(whole_message(error)) from error


def _show(arguments: argparse.Namespace) -> None:
    _check(arguments)
    runs = find_runs(arguments.runs)
    if len(runs) < 2:
        raise ValueError('there is one run; give two or more, whose predictions are compared')
    segmentors = [TrainedSegmentor(run, arguments.split, arguments.device, arguments.cfg_options) for run in runs]
    check_comparable(segmentors)
    first = segmentors[0]
    numbers = [_number(name, first.classes) for name in arguments.classes or ()]
    compared = _compare(segmentors, arguments)
    for image in compared:
        draw_compared_predictions(
            arguments.out / f'{image.name}.png',
            mmcv.imread(image.path, channel_order='rgb'),
            image,
            [run.name for run in runs],
            first.classes,
            first.palette,
            numbers or image.most_different_classes(CLASSES),
        )
    print_table(_table(compared, [run.name for run in runs]))
    print(f'Pictures: {arguments.out}')


def _check(arguments: argparse.Namespace) -> None:
    if arguments.images < 1:
        raise ValueError(f'--images is {arguments.images}; it must be at least 1')
    if arguments.device == 'cuda' and not torch.cuda.is_available():
        raise ValueError(f'--device is cuda, but PyTorch {torch.__version__} finds no GPU; use --device cpu')


def _number(name: str, classes: tuple[str, ...]) -> int:
    if name not in classes:
        raise ValueError(f'--classes: {name} is no class of the data set; it has {", ".join(classes)}')
    return classes.index(name)


def _compare(segmentors: list[TrainedSegmentor], arguments: argparse.Namespace) -> list[ComparedImage]:
    paths = segmentors[0].image_paths()
    images = range(len(paths)) if arguments.select is None else find_images(arguments.select, paths)
    kept = arguments.images if arguments.select is None else None
    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(f'images, {len(segmentors)} models', total=len(images))
        return compare_models(segmentors, images, kept, on_image=lambda: bar.advance(task))


def _table(compared: list[ComparedImage], names: list[str]) -> Table:
    table = Table(title='Mean accuracy and mean IoU of each image, in %', box=box.SIMPLE_HEAD, padding=(0, 1))
    table.add_column('image', no_wrap=True)
    for head in ('differs', 'window\nx, y'):
        table.add_column(head, justify='right', no_wrap=True)
    table.add_column('run', no_wrap=True)
    for head in ('accuracy', 'IoU'):
        table.add_column(head, justify='right', no_wrap=True)
    for image in compared:
        window = f'{image.window.left}, {image.window.top}'
        # not in every row
        cells = (escape(image.name), f'{100 * image.disagreement:.1f}', window)
        for name, score in zip(names, image.scores, strict=True):
            table.add_row(*cells, escape(name), f'{100 * score.mean_accuracy:.1f}', f'{100 * score.mean_iou:.1f}')
            cells = ('', '', '')
    return table


if __name__ == '__main__':
    main()
