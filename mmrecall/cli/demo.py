"""Compare cross entropy and the recall loss on synthetic street scenes: train, test, print a table, draw a picture.

All files are below --out. A second call uses the files of the first and resumes an interrupted training; to start
afresh, remove the folder.

Example: mmrecall demo --out work_dirs/demo
"""

import argparse
from pathlib import Path

import cv2
import numpy as np
from mmengine.config import Config
from rich import box
from rich.console import Console
from rich.table import Table

from mmrecall.analysis.predictions.figures import draw_predictions
from mmrecall.cli.demo_training import Training, add_common_arguments, common_options, run_demo, train_and_test
from mmrecall.datasets import LoadSynthiaAnnotations, SynthiaSequenceDataset
from mmrecall.datasets.street_scenes import write_street_scenes
from mmrecall.datasets.synthia import write_lists
from mmrecall.evaluation import ClassScores, class_scores, confusion_matrix
from mmrecall.installed_files import installed_folder

CONFIG = 'deeplabv3/deeplabv3_r18w16-d8_1xb8-{}-350i_street-scenes-128x256.py'
LOSSES = {'cross entropy': 'ce', 'recall loss': 'recall'}
FRAMES = 430
# share of the pixels below which a class is marked as rare
RARE = 0.005


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add_common_arguments(parser, 'demo')
    parser.add_argument('--frames', type=int, default=FRAMES, help='number of street scenes (default: %(default)s)')
    parser.add_argument('--iterations', type=int, help='number of training iterations (default: that of the configs)')


def run(arguments: argparse.Namespace) -> None:
    """Run the demo."""
    run_demo(_demo, arguments)


def _demo(arguments: argparse.Namespace, console: Console) -> None:
    data_root = arguments.out / f'street_scenes-{arguments.frames}'
    _make_data(data_root, arguments.frames)
    predictions = {}
    for name, loss in LOSSES.items():
        config = installed_folder('configs') / CONFIG.format(loss)
        iterations = arguments.iterations or Config.fromfile(config).train_cfg.max_iters
        work_dir = arguments.out / f'{loss}-{arguments.frames}f-{iterations}i-seed{arguments.seed}'
        predictions[name] = work_dir / 'predictions'
        training = Training(config, work_dir, iterations, 'iter', common_options(data_root, arguments.seed))
        train_and_test(training, ['--out', predictions[name]], console)
    data = SynthiaSequenceDataset('test.txt', data_root=str(data_root), pipeline=[], data_prefix={})
    truths = [_read_truth(data, index) for index in range(len(data))]
    scores = {name: _score(folder, data, truths) for name, folder in predictions.items()}
    console.print(_table(data.metainfo['classes'], scores))
    picture = arguments.out / f'demo-seed{arguments.seed}.png'
    _draw(picture, data, truths, predictions, _rare(data.metainfo['classes'], scores))
    console.print(f'Picture: {picture}')


def _make_data(root: Path, frames: int) -> None:
    if not (root / 'STREET-SCENES').is_dir():
        write_street_scenes(root, frames)
    try:
        write_lists(root, root)
    except ValueError as error:
        raise SystemExit(str(error)) from error


def _read_truth(data: SynthiaSequenceDataset, index: int) -> tuple[Path, np.ndarray]:
    """Return the path of the image and the true classes of a frame."""
    info = data.get_data_info(index)
    info['ori_shape'] = cv2.imread(info['img_path']).shape[:2]
    return Path(info['img_path']), LoadSynthiaAnnotations().transform(info)['gt_seg_map']


def _prediction(folder: Path, image: Path) -> np.ndarray:
    return cv2.imread(str(folder / image.name), cv2.IMREAD_UNCHANGED)


def _score(folder: Path, data: SynthiaSequenceDataset, truths: list[tuple[Path, np.ndarray]]) -> ClassScores:
    pairs = ((truth, _prediction(folder, image)) for image, truth in truths)
    return class_scores(confusion_matrix(pairs, len(data.metainfo['classes'])))


def _rare(classes: tuple[str, ...], scores: dict[str, ClassScores]) -> list[str]:
    share = next(iter(scores.values())).share
    return [name for name, part in zip(classes, share, strict=True) if 0 < part < RARE]


def _table(classes: tuple[str, ...], scores: dict[str, ClassScores]) -> Table:
    reference, other = scores.values()
    rare = _rare(classes, scores)
    title = f'Test scenes, in %; * marks classes with less than {RARE:.1%} of the pixels'
    table = Table(title=title, box=box.SIMPLE_HEAD, padding=(0, 1))
    table.add_column('class', no_wrap=True)
    for head in ('pixels', 'Acc CE', 'recall', 'diff', 'IoU CE', 'recall', 'diff'):
        table.add_column(head, justify='right', no_wrap=True)
    for number, name in enumerate(classes):
        cells = _cells(*(score[number] for score in (reference.accuracy, other.accuracy, reference.iou, other.iou)))
        table.add_row(f'{name} *' if name in rare else name, f'{100 * reference.share[number]:.2f}', *cells)
    table.add_section()
    means = (np.nanmean(score) for score in (reference.accuracy, other.accuracy, reference.iou, other.iou))
    table.add_row('mean', '', *_cells(*means))
    chosen = [list(classes).index(name) for name in rare]
    means = (np.nanmean(score[chosen]) for score in (reference.accuracy, other.accuracy, reference.iou, other.iou))
    table.add_row('mean of *', '', *_cells(*means))
    return table


def _cells(*values: float) -> list[str]:
    accuracy, other_accuracy, iou, other_iou = (100 * value for value in values)
    return [
        f'{accuracy:.1f}', f'{other_accuracy:.1f}', f'{other_accuracy - accuracy:+.1f}',
        f'{iou:.1f}', f'{other_iou:.1f}', f'{other_iou - iou:+.1f}',
    ]  # fmt: skip


def _draw(
    path: Path,
    data: SynthiaSequenceDataset,
    truths: list[tuple[Path, np.ndarray]],
    predictions: dict[str, Path],
    rare: list[str],
) -> None:
    """Draw the three test scenes with the most rare classes; among equals, the most pixels of them."""
    numbers = [data.metainfo['classes'].index(name) for name in rare]

    def rank(truth: tuple[Path, np.ndarray]) -> tuple[int, int]:
        here = np.isin(truth[1], numbers)
        return len(np.unique(truth[1][here])), int(here.sum())

    chosen = sorted(truths, key=rank, reverse=True)[:3]
    scenes = [
        (cv2.imread(str(image))[..., ::-1], truth, [_prediction(folder, image) for folder in predictions.values()])
        for image, truth in chosen
    ]
    draw_predictions(path, scenes, list(predictions), data.metainfo['classes'], rare)
