"""A run as its work dir holds it."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from mmrecall.checkpoints import read_literals
from mmrecall.datasets import LabelCounts
from mmrecall.report.logs import TIMESTAMP, Scalars, read_log, read_scalars, read_test_metrics

SEGMENTATION, CLASSIFICATION = 'segmentation', 'classification'


class Result(NamedTuple):
    """What an evaluation has found."""

    source: str
    """``'test'`` or ``'validation'``."""
    of: str
    """The checkpoint, or the iteration."""
    metrics: dict[str, float]
    classes: pd.DataFrame | None
    """A row per class; segmentation only."""
    dataset: dict[str, Any]
    """The config of what was evaluated on."""


class Run(NamedTuple):
    """What the logs of a training and of its tests hold."""

    work_dir: Path
    kind: str
    config: dict[str, Any]
    scalars: Scalars
    results: list[Result]
    """The test, then the last validation; either may be missing."""
    environment: dict[str, str]
    command: str
    counts: LabelCounts | None
    """Of the training set, where the loss had them counted."""
    problems: list[str]

    @property
    def seed(self) -> int | None:
        """What the config sets."""
        return (self.config.get('randomness') or {}).get('seed')

    def last_step(self) -> int | None:
        """The last iteration that is in the log."""
        return int(self.scalars.training.index[-1]) if len(self.scalars.training) else None


def starts(folder: Path) -> list[Path]:
    """The folders of a work dir that mmengine made, one per start, in the order of time."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if TIMESTAMP.fullmatch(path.name) and path.is_dir())


def old_logs(folder: Path) -> list[Path]:
    """Logs of MMCV 1.x."""
    return sorted(folder.glob('*.log.json'))


def read_run(work_dir: Path) -> Run:
    """Read a work dir of tools/train.py, and of tools/test.py in it or in its folder ``test``.

    Nothing in it is run; configs are read as plain values.

    Raises:
        ValueError: there is no run that can be read; says why.
    """
    logged = [start for start in starts(work_dir) if (start / 'vis_data' / 'scalars.json').is_file()]
    if not logged:
        raise ValueError(_nothing_to_read(work_dir))
    problems: list[str] = []
    config = _read_config(work_dir, logged[-1])
    scalars, log_problems = _read_starts(logged)
    problems += log_problems
    if not (len(scalars.training) or len(scalars.validation) or scalars.classes):
        raise ValueError(f'{logged[-1] / "vis_data" / "scalars.json"} holds no line that can be read')
    validation, environment = _read_validation(logged, scalars, config, problems)
    results = [result for result in (_read_test(work_dir, config, problems), validation) if result is not None]
    kind, command = _kind(config), _command(work_dir, config)
    return Run(work_dir, kind, config, scalars, results, environment, command, _counts(work_dir), problems)


def _nothing_to_read(work_dir: Path) -> str:
    if old_logs(work_dir):
        return f'{old_logs(work_dir)[0].name} is a log of MMCV 1.x; only logs of mmengine are read'
    if starts(work_dir):
        return 'no start of it has vis_data/scalars.json, which LocalVisBackend writes: no training, or one without it'
    return 'it holds no logs of mmengine (TIME/vis_data/scalars.json)'


def _read_config(work_dir: Path, start: Path) -> dict[str, Any]:
    candidates = [start / 'vis_data' / 'config.py', *sorted(work_dir.glob('*.py'))]
    for path in candidates:
        if path.is_file():
            return read_literals(path.read_text(encoding='utf-8'), str(path))
    raise ValueError(f'its config is missing ({candidates[0]})')


def _kind(config: dict[str, Any]) -> str:
    model = config.get('model') or {}
    if 'decode_head' in model:
        return SEGMENTATION
    if 'head' in model:
        return CLASSIFICATION
    raise ValueError('its model has neither a decode_head nor a head: no segmentation or classification')


def _read_starts(logged: list[Path]) -> tuple[Scalars, list[str]]:
    joined, problems = None, []
    for start in logged:
        begin = 0 if joined is None or joined.training.empty else int(joined.training.index[-1])
        scalars, found = read_scalars(start / 'vis_data' / 'scalars.json', begin)
        problems += found
        joined = scalars if joined is None else joined.continued_by(scalars)
    return joined, problems


def _read_validation(
    logged: list[Path], scalars: Scalars, config: dict[str, Any], problems: list[str]
) -> tuple[Result | None, dict[str, str]]:
    """The last validation, and the environment of the last start."""
    table, environment = None, {}
    for start in logged:
        path = start / f'{start.name}.log'
        if not path.is_file():
            problems.append(f'{path} is missing: no versions, and no results by class of a validation')
            continue
        log = read_log(path)
        problems += log.problems
        environment = log.environment or environment
        table = log.tables[-1] if log.tables else table
    if scalars.validation.empty:
        return None, environment
    iteration = scalars.validation.index[-1]
    metrics = scalars.validation.iloc[-1].dropna().to_dict()
    dataset = _dataset(config, 'val_dataloader')
    classes = _of_these_metrics(table, metrics, f'{logged[-1]}: the last validation', problems)
    return Result('validation', f'iteration {iteration}', metrics, classes, dataset), environment


def _read_test(work_dir: Path, config: dict[str, Any], problems: list[str]) -> Result | None:
    """The last test that has ended."""
    tests = [start for folder in (work_dir, work_dir / 'test') for start in starts(folder)]
    for start in sorted(tests, key=lambda path: path.name, reverse=True):
        path = start / f'{start.name}.json'
        if not path.is_file():
            continue
        try:
            metrics = read_test_metrics(path)
        except ValueError as error:
            problems.append(str(error))
            continue
        of, classes = 'unknown checkpoint', None
        if path.with_suffix('.log').is_file():
            log = read_log(path.with_suffix('.log'))
            problems += log.problems
            of = Path(log.checkpoint).name if log.checkpoint else of
            classes = _of_these_metrics(log.tables[-1] if log.tables else None, metrics, str(path), problems)
        dumped = start / 'vis_data' / 'config.py'
        own = read_literals(dumped.read_text(encoding='utf-8'), str(dumped)) if dumped.is_file() else config
        return Result('test', of, metrics, classes, _dataset(own, 'test_dataloader'))
    return None


def _of_these_metrics(
    table: pd.DataFrame | None, metrics: dict[str, float], source: str, problems: list[str]
) -> pd.DataFrame | None:
    """The table by class if its mean is the mean that was logged, else it is of another evaluation."""
    if 'mIoU' not in metrics:
        return None
    if table is None:
        problems.append(f'{source} has no table of results by class in its text log')
        return None
    # both are rounded to 0.01
    if 'IoU' in table and abs(np.nanmean(table['IoU']) - metrics['mIoU']) > 0.02:
        problems.append(f'{source}: the table by class is of another evaluation than mIoU {metrics["mIoU"]:.2f}')
        return None
    return table


def _dataset(config: dict[str, Any], name: str) -> dict[str, Any]:
    loader = config.get(name) or {}
    return loader.get('dataset') or {}


def _command(work_dir: Path, config: dict[str, Any]) -> str:
    """The command that Slurm was given, or one that trains by the config that was kept."""
    script = work_dir / 'slurm_command.sh'
    if script.is_file():
        last_line = script.read_text(encoding='utf-8').strip().rpartition('\n')[2]
        return last_line.rpartition('exec ')[2].removesuffix('"$@"').strip()
    kept = sorted(work_dir.glob('*.py'))
    return f'python tools/train.py {kept[0]} --work-dir NEW_WORK_DIR' if kept else ''


def _counts(work_dir: Path) -> LabelCounts | None:
    for path in sorted(work_dir.glob('class_counts*.json')):
        try:
            return LabelCounts.read(path)
        except ValueError:
            continue  # a count that was cut off is made again by the training, and only orders the classes here
    return None
