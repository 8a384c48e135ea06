"""A run, read from its work dir."""

import shlex
from collections.abc import Sequence
from functools import reduce
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from mmrecall.analysis.report.checkpoints import is_of_run
from mmrecall.analysis.report.configs import with_total_loss
from mmrecall.analysis.report.logs import Log, Scalars, read_log, read_scalars, read_test_metrics
from mmrecall.analysis.report.settings import plain_names, shown
from mmrecall.analysis.report.starts import Start, in_order, starts
from mmrecall.datasets import LabelCounts
from mmrecall.engine.earlier_runs import earlier_checkpoints
from mmrecall.io import read_literals

SEGMENTATION, CLASSIFICATION = 'segmentation', 'classification'


class Result(NamedTuple):
    """The metrics of an evaluation."""

    source: str
    """``'test'`` or ``'validation'``."""
    of: str
    """The checkpoint, or the iteration, that was evaluated."""
    metrics: dict[str, float]
    classes: pd.DataFrame | None
    """A row per class; segmentation only."""
    dataset: dict[str, Any]
    """Config of the data set that it was evaluated on."""
    evaluator: Any
    """Config of the metrics."""


class Run(NamedTuple):
    """The logs of a training and of its tests."""

    work_dir: Path
    kind: str
    config: dict[str, Any]
    scalars: Scalars
    results: list[Result]
    """The test, then the last validation; either may be missing."""
    environment: dict[str, str]
    command: str
    counts: LabelCounts | None
    """Class counts of the training set, where the loss had them counted."""
    batches: int | None
    """Number of batches in an epoch of the last start, where its log has it."""
    problems: list[str]

    @property
    def seed(self) -> int | None:
        """The seed in the config, else the one that mmengine has drawn."""
        seed = (self.config.get('randomness') or {}).get('seed')
        drawn = self.environment.get('seed', '')
        return int(drawn) if seed is None and drawn.isdecimal() else seed

    def last_step(self) -> int | None:
        """Return the last iteration in the log."""
        return int(self.scalars.training.index[-1]) if len(self.scalars.training) else None

    def unfinished(self) -> str:
        """Return how far the training has come if it has not reached its end; else an empty text."""
        schedule = self.config.get('train_cfg') or {}
        training = self.scalars.training
        if training.empty:
            return ''
        if 'epoch' in training and training['epoch'].iloc[-1] < schedule.get('max_epochs', 0):
            return f'epoch {training["epoch"].iloc[-1]:.0f} of {schedule["max_epochs"]}'
        # The last iterations may be fewer than the interval of the log.
        if training.index[-1] + _log_interval(self.config) <= schedule.get('max_iters', 0):
            return f'iteration {training.index[-1]} of {schedule["max_iters"]}'
        return ''


def old_logs(folder: Path) -> list[Path]:
    """Return the logs of MMCV 1.x in a folder."""
    return sorted(folder.glob('*.log.json'))


def read_run(work_dir: Path) -> Run:
    """Return the run in the work dir of a training, with the tests in it or in its folder ``test``.

    Nothing in it is executed; configs are read as plain values.

    Raises:
        ValueError: there is no run that can be read, with the reason.
    """
    logged = [start for start in starts(work_dir) if _scalars_file(start).is_file()]
    if not logged:
        raise ValueError(_nothing_to_read(work_dir))
    problems: list[str] = []
    latest, config = logged[-1].name, _read_config(work_dir, logged)
    training = _in_order(_read_starts(work_dir, logged, config, problems), config, problems)
    if logged != (logged := [start.folder for start in training]):
        config = _read_config(work_dir, logged)
    scalars = reduce(Scalars.continued_by, [start.scalars for start in training])
    scalars = scalars._replace(training=with_total_loss(config, scalars.training))
    if not (len(scalars.training) or len(scalars.validation) or scalars.classes):
        raise ValueError(
            f'{_scalars_file(logged[-1])} has no line that can be read; expected one JSON object per line, as mmengine '
            'writes them'
        )
    validation, environment = _read_validation(work_dir, training, scalars, config, problems)
    test = _read_test(work_dir, config, latest, problems)
    results = [result for result in (test, validation) if result is not None]
    kind, command = _kind(config), _command(work_dir)
    batches = training[-1].log.batches if training[-1].log else None
    run = Run(work_dir, kind, config, scalars, results, environment, command, _counts(work_dir), batches, problems)
    if not isinstance(run.seed, int | None):
        raise ValueError(f'got randomness.seed={shown(run.seed)} in its config; expected a whole number')
    return run


def _scalars_file(start: Path) -> Path:
    return start / 'vis_data' / 'scalars.json'


def _nothing_to_read(work_dir: Path) -> str:
    if old_logs(work_dir):
        return f'{old_logs(work_dir)[0].name} is a log of MMCV 1.x; only logs of mmengine are read'
    if starts(work_dir):
        return 'no start of it has vis_data/scalars.json, which LocalVisBackend writes: no training, or one without it'
    return 'it holds no logs of mmengine (TIME/vis_data/scalars.json)'


def _read_config(work_dir: Path, logged: list[Path]) -> dict[str, Any]:
    """Return the config of the last start, with the weights that the first one began with."""
    candidates = [_dumped(logged[-1]), *sorted(work_dir.glob('*.py'))]
    found = next((path for path in candidates if path.is_file()), None)
    if found is None:
        raise ValueError(f'its config is missing ({candidates[0]})')
    config = _parsed(found)
    if config.get('resume'):
        # What is resumed from is given as load_from.
        first = _parsed(_dumped(logged[0])) if _dumped(logged[0]).is_file() else config
        config['load_from'] = None if first.get('resume') else first.get('load_from')
    return config


def _dumped(start: Path) -> Path:
    return start / 'vis_data' / 'config.py'


def _parsed(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding='utf-8')
    except UnicodeDecodeError as error:
        raise ValueError(f'{path} is no text in UTF-8 ({error.reason} at byte {error.start})') from error
    return plain_names(read_literals(text, str(path), names=True))


def _kind(config: dict[str, Any]) -> str:
    model = config.get('model') or {}
    name = next((name for name in ('decode_head', 'head') if name in model), None)
    if name is None:
        raise ValueError('its model has neither a decode_head nor a head: no segmentation or classification')
    heads = model[name] if isinstance(model[name], list) else [model[name]]
    if not heads or not all(isinstance(head, dict) for head in heads):
        raise ValueError(f'got {name}={shown(model[name])} in its config; expected a dict')
    return SEGMENTATION if name == 'decode_head' else CLASSIFICATION


def _log_interval(config: dict[str, Any]) -> int:
    return ((config.get('default_hooks') or {}).get('logger') or {}).get('interval', 10)


def _read_starts(work_dir: Path, logged: list[Path], config: dict[str, Any], problems: list[str]) -> list[Start]:
    found: list[Start] = []
    for folder in logged:
        log = _read_log(folder, problems)
        resumed = None if log is None else log.resumed
        begin = resumed if resumed is not None else found[-1].reached() if found else 0
        scalars, unread = read_scalars(_scalars_file(folder), begin)
        problems += unread
        if resumed and log.checkpoint:
            own = _parsed(_dumped(folder)) if _dumped(folder).is_file() else config
            resumed = resumed if is_of_run(log.checkpoint, work_dir, own) else 0
        found.append(Start(folder, scalars, log, resumed or 0))
    return found


def _read_log(start: Path, problems: list[str]) -> Log | None:
    path = start / f'{start.name}.log'
    if not path.is_file():
        problems.append(f'{path} is missing: no versions, and no results by class of a validation')
        return None
    log = read_log(path)
    problems += log.problems
    return log


def _in_order(named: list[Start], config: dict[str, Any], problems: list[str]) -> list[Start]:
    ordered = in_order(named, _log_interval(config))
    if [one.folder for one in ordered] != [one.folder for one in named]:
        places = ', '.join(
            f'{one.folder.name} ' + (f'(resumed after iteration {one.resumed})' if one.resumed else '(from the start)')
            for one in ordered
        )
        problems.append(
            f'{named[0].folder.parent}: its starts are taken in the order of their iterations, {places}, which is '
            'another than that of the times in their names: was the clock set back, or in another time zone? A test '
            'counts if its time is later than all of them'
        )
    return ordered


def _read_validation(
    work_dir: Path, training: list[Start], scalars: Scalars, config: dict[str, Any], problems: list[str]
) -> tuple[Result | None, dict[str, str]]:
    """Return the last validation, and the environment of the last start."""
    logs = [start.log for start in training if start.log is not None]
    environment = next((log.environment for log in reversed(logs) if log.environment), {})
    tables = [table for log in logs for table in log.tables]
    if scalars.validation.empty:
        return None, environment
    iteration = scalars.validation.index[-1]
    metrics = scalars.validation.iloc[-1].dropna().to_dict()
    classes = _table_of(metrics, tables, f'{work_dir}: the last validation', problems)
    evaluated = _dataset(config, 'val'), config.get('val_evaluator')
    return Result('validation', f'iteration {iteration}', metrics, classes, *evaluated), environment


def _read_test(work_dir: Path, config: dict[str, Any], trained: str, problems: list[str]) -> Result | None:
    """Return the last test of a checkpoint of the run that has ended since the last start of the training."""
    tests = [start for folder in (work_dir, work_dir / 'test') for start in starts(folder)]
    for start in sorted(tests, key=lambda path: path.name, reverse=True):
        path = start / f'{start.name}.json'
        if not path.is_file():
            if not _scalars_file(start).is_file():
                problems.append(f'{start}: a training or a test that was broken off before it wrote a number')
            continue
        if start.name < trained:
            problems.append(f'{start}: a test from before the last training in this work dir; it is left out')
            return None
        try:
            metrics = read_test_metrics(path)
        except ValueError as error:
            problems.append(str(error))
            continue
        of, classes = 'unknown checkpoint', None
        if path.with_suffix('.log').is_file():
            log = read_log(path.with_suffix('.log'))
            if log.checkpoint and not is_of_run(log.checkpoint, work_dir, config):
                problems.append(
                    f'{start}: a test of {log.checkpoint}, which is no checkpoint of this run; it is left out; test it '
                    'with the --work-dir of its own run'
                )
                continue
            if log.checkpoint and Path(log.checkpoint).name in earlier_checkpoints(work_dir):
                problems.append(
                    f'{start}: a test of {log.checkpoint}, of an earlier training in this work dir; it is left out'
                )
                continue
            problems += log.problems
            of = Path(log.checkpoint).name if log.checkpoint else of
            classes = _table_of(metrics, log.tables, str(path), problems)
        own = _parsed(_dumped(start)) if _dumped(start).is_file() else config
        return Result('test', of, metrics, classes, _dataset(own, 'test'), own.get('test_evaluator'))
    return None


def _table_of(
    metrics: dict[str, float], tables: Sequence[pd.DataFrame], source: str, problems: list[str]
) -> pd.DataFrame | None:
    """Return the last table by class whose means are these metrics; the others are of other evaluations."""
    if 'mIoU' not in metrics:
        return None
    for table in reversed(tables):
        # Both are rounded to 0.01.
        if all(
            abs(np.nanmean(table[column]) - metrics[f'm{column}']) <= 0.02
            for column in ('IoU', 'Acc')
            if column in table and f'm{column}' in metrics
        ):
            return table
    if tables:
        problems.append(f'{source}: the table by class is of another evaluation than mIoU {metrics["mIoU"]:.2f}')
    else:
        problems.append(f'{source} has no table of results by class in its text log')
    return None


def _dataset(config: dict[str, Any], split: str) -> dict[str, Any]:
    return (config.get(f'{split}_dataloader') or {}).get('dataset') or {}


def _command(work_dir: Path) -> str:
    """Return the command that Slurm was given, or one that trains by the config in the work dir."""
    script = work_dir / 'slurm_command.sh'
    if script.is_file():
        last_line = script.read_text(encoding='utf-8', errors='replace').strip().rpartition('\n')[2]
        return last_line.rpartition('exec ')[2].removesuffix('"$@"').strip()
    kept = sorted(work_dir.glob('*.py'))
    return f'mmrecall train {shlex.quote(str(kept[0]))} --work-dir NEW_WORK_DIR' if kept else ''


def _counts(work_dir: Path) -> LabelCounts | None:
    for path in sorted(work_dir.glob('class_counts*.json')):
        try:
            # Not a FIFO, whose reader waits for a writer.
            if path.is_file():
                return LabelCounts.read(path)
        except ValueError:
            # The training makes a count that was cut off again; here it only orders the classes.
            continue
    return None
