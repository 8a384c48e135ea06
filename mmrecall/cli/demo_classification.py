"""Compare cross entropy and the Simple Decoupled Network on long-tailed digits: train, test, print two tables.

The images are a long-tailed subset of scikit-learn's handwritten digits. All files are below --out. A second call uses
the files of the first and resumes an interrupted training; to start afresh, remove the folder.

Example: mmrecall demo-classification --out work_dirs/demo-classification
"""

import argparse
import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TextIO

from mmengine.config import Config
from rich import box
from rich.console import Console
from rich.table import Table

from mmrecall.cli.demo_training import Training, add_common_arguments, common_options, run_demo, train_and_test
from mmrecall.datasets.digits import TEST_IMAGES, write_digits
from mmrecall.installed_files import installed_folder

CONFIGS = {
    'cross entropy': 'resnet/resnet18w16_1xb32-ce-30e_digits-lt.py',
    'SDN-CE': 'sdn/sdn_resnet18w16_1xb32-ce-30e_digits-lt.py',
    'SDN-recall': 'sdn/sdn_resnet18w16_1xb32-recall-ema0.1-30e_digits-lt.py',
}
# names of the means in the tables and in the results of the metric
MEANS = {'top-1': 'top1', 'mean class': 'mean_class', 'many': 'many', 'medium': 'medium', 'few': 'few'}


class Scores(NamedTuple):
    """Results of `ShotAccuracy`."""

    means: dict[str, float]
    """Means by their names."""
    classes: list[dict[str, str]]
    """Rows of ``shot_accuracy.csv``, one per class."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add_common_arguments(parser, 'demo-classification')
    parser.add_argument('--epochs', type=int, help='number of training epochs (default: that of the configs)')


def run(arguments: argparse.Namespace) -> None:
    """Run the demo."""
    run_demo(_demo, arguments)


def _demo(arguments: argparse.Namespace, console: Console) -> None:
    data_root = arguments.out / 'digits-lt'
    _make_data(data_root)
    scores = {}
    for name, path in CONFIGS.items():
        file = installed_folder('configs') / path
        config = Config.fromfile(file)
        epochs = arguments.epochs or config.train_cfg.max_epochs
        short = name.lower().replace(' ', '-')
        work_dir = arguments.out / f'{short}-{epochs}e-seed{arguments.seed}'
        options = common_options(data_root, arguments.seed) + _classification_options(data_root, work_dir, epochs)
        training = Training(file, work_dir, epochs, 'epoch', options)
        means = work_dir / 'means.json'
        train_and_test(training, ['--out', means, '--out-item', 'metrics'], console)
        scores[name] = Scores(_read(means, json.load), _read(work_dir / 'shot_accuracy.csv', _rows))
    console.print(_shot_table(scores, config.test_evaluator))
    console.print(_class_table(scores))
    console.print(f'One seed, {10 * TEST_IMAGES} test images: a few points are chance. --seed 1 tries another.')


def _make_data(root: Path) -> None:
    if root.is_dir():
        return
    try:
        write_digits(root)
    except (ImportError, OSError) as error:
        raise SystemExit(str(error)) from error


def _classification_options(data_root: Path, work_dir: Path, epochs: int) -> list[str]:
    """Return the options beside the common ones: the files of the metric, and the end of the cosine schedule."""
    return [
        *(f'{split}_evaluator.class_counts={data_root}/train.txt' for split in ('val', 'test')),
        f'test_evaluator.out_dir={work_dir}',
        *(f'param_scheduler.{key}={epochs}' for key in ('T_max', 'end')),
    ]


def _rows(file: TextIO) -> list[dict[str, str]]:
    return list(csv.DictReader(file))


def _read(path: Path, parse: Callable[[TextIO], Any]) -> Any:
    try:
        with path.open(encoding='utf-8') as file:
            return parse(file)
    except (OSError, ValueError) as error:
        raise SystemExit(f'{path}: {error}; remove {path.parent / "tested"} to test again') from error


def _shot_table(scores: dict[str, Scores], metric: Any) -> Table:
    groups = [row['group'] for row in next(iter(scores.values())).classes]
    table = Table(
        title=f'Accuracy on {TEST_IMAGES} test images of every class, in %',
        caption=f'many: above {metric.many} training images, few: below {metric.few} (usually 100 and 20)',
        box=box.SIMPLE_HEAD,
        padding=(0, 1),
    )
    table.add_column('method', no_wrap=True)
    for head in MEANS:
        number = f' ({groups.count(head)})' if head in groups else ''
        table.add_column(head + number, justify='right', no_wrap=True)
    for name, (means, _) in scores.items():
        table.add_row(name, *(f'{means[f"shot/{key}"]:.1f}' for key in MEANS.values()))
    return table


def _class_table(scores: dict[str, Scores]) -> Table:
    table = Table(title='Accuracy of every class, in %', box=box.SIMPLE_HEAD, padding=(0, 1))
    table.add_column('digit')
    table.add_column('training images', justify='right')
    table.add_column('group')
    for name in scores:
        table.add_column(name, justify='right', no_wrap=True)
    together = zip(*(score.classes for score in scores.values()), strict=True)
    for rows in sorted(together, key=lambda rows: -int(rows[0]['training_images'])):
        first = rows[0]
        accuracies = (f'{float(row["accuracy"]):.0f}' for row in rows)
        table.add_row(first['class'], first['training_images'], first['group'], *accuracies)
    return table
