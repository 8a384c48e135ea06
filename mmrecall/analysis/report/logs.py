"""Readers of the two files that mmengine logs to: scalars.json and the text log."""

import gzip
import json
import re
from array import array
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

TIMESTAMP = re.compile(r'\d{8}_\d{6}')
# Quantities of every class, logged by ClassWeightHook: name in the log, and name here. Older logs have the last two.
_QUANTITIES = {
    'class_recall': 'class_recall',
    'class_running_recall': 'class_running_recall',
    'class_share': 'class_share',
    'class_weight': 'class_weight',
    'hypothetical_recall_weight': 'hypothetical_recall_weight',
    'hypothetical_focal_weight': 'hypothetical_focal_weight',
    'would_be_recall_weight': 'hypothetical_recall_weight',
    'would_be_focal_weight': 'hypothetical_focal_weight',
}
_TIMES = ('data_time', 'time', 'step', 'memory')
# The console has no year, and what is kept of a training may be its output.
_PREFIX = re.compile(r'(?:\d{4}/)?\d\d/\d\d \d\d:\d\d:\d\d - \S+ - [A-Z]+ - ')
_ENVIRONMENT = re.compile(r' {4}(\S[^:]*): (.+)')
_MOST_DIGITS = 18
_RESUMED = re.compile(rf'resumed epoch: \d+, iter: (\d{{1,{_MOST_DIGITS}}})$')
_EVALUATION = re.compile(r'\((?:val|test)\) [\[\] \d/]*\] +(?!eta)(\w\S*: .+)')
_BATCHES = re.compile(rf' Epoch\(train\) +\[\d+\]\[ *\d+/(\d{{1,{_MOST_DIGITS}}})\] ')


class ClassValues:
    """A quantity of every class over the iterations, in 24 bytes a value: there may be thousands of classes."""

    def __init__(self) -> None:
        self._steps, self._columns, self._values = array('q'), array('q'), array('d')
        self._names: dict[str, int] = {}

    def add(self, step: int, name: str, value: float) -> None:
        """Take the value of a class."""
        self._steps.append(step)
        self._columns.append(self._names.setdefault(name, len(self._names)))
        self._values.append(value)

    def frame(self) -> pd.DataFrame:
        """Return a row per iteration and a column per class; NaN where the log has no value."""
        steps, rows = np.unique(np.asarray(self._steps), return_inverse=True)
        # One class after the other in memory, as they are read.
        table = np.full((len(self._names), len(steps)), np.nan)
        table[np.asarray(self._columns), rows] = self._values
        return pd.DataFrame(table.T, index=steps, columns=list(self._names))


class Scalars(NamedTuple):
    """The contents of scalars.json, by iteration."""

    training: pd.DataFrame
    validation: pd.DataFrame
    classes: dict[tuple[str, str], pd.DataFrame]
    """Quantities of every class, by quantity and module of the loss."""

    def continued_by(self, later: 'Scalars') -> 'Scalars':
        """Return these scalars up to the first iteration of a later start, then those of the later start."""
        starts = [frame.index[0] for frame in (later.training, *later.classes.values()) if len(frame)]
        first = min(starts, default=np.inf)

        def joined(before: pd.DataFrame, after: pd.DataFrame) -> pd.DataFrame:
            return pd.concat([before[before.index < first], after])

        empty = pd.DataFrame()
        keys = {**self.classes, **later.classes}
        classes = {key: joined(self.classes.get(key, empty), later.classes.get(key, empty)) for key in keys}
        return Scalars(joined(self.training, later.training), joined(self.validation, later.validation), classes)


def read_scalars(path: Path, begin: int = 0) -> tuple[Scalars, list[str]]:
    """Return the contents of a scalars.json of mmengine's LocalVisBackend, and what could not be read.

    Lines are read one by one, not by ``pandas.read_json``: that refuses the whole file for one line that was cut off,
    and makes a column for every class and quantity, most of it empty.

    Args:
        path: the file.
        begin: iteration of a validation that has no line of the training before it. (The step of a validation is the
            epoch in trainings by epochs; here it is the iteration of the last line before it.)

    Raises:
        ValueError: its lines have no step: another program wrote it.
    """
    training, validation, classes = {}, {}, defaultdict(ClassValues)
    unreadable, without_step = [], 0
    for number, line in enumerate(_lines(path), 1):
        try:
            record = _parsed(line)
        except ValueError:
            unreadable.append(number)
            continue
        if not _has_step(record):
            without_step += 1
        elif next(iter(record)).partition('/')[0] in _QUANTITIES:
            _add_classes(classes, record)
        elif 'iter' in record:
            begin = record['iter']
            training[begin] = _numbers(record)
        elif 'time' in record:
            # The step is the iteration, or the epoch, which is never above it.
            validation[max(begin, record['step'])] = _numbers(record)
    if without_step and not (training or validation or classes):
        raise ValueError(f'{path}: got lines without a step; expected those of mmengine 0.10')
    frames = {key: values.frame() for key, values in classes.items()}
    return Scalars(_frame(training), _frame(validation), frames), _problems(path, unreadable, without_step)


def _lines(path: Path) -> Iterator[str]:
    # Logs that are kept beside the docs are compressed.
    opener = gzip.open if path.suffix == '.gz' else open
    with opener(path, 'rt', encoding='utf-8', errors='replace') as file:
        yield from (line for line in file if line.strip())


def _parsed(text: str) -> Any:
    """Return the value of a JSON text.

    Raises:
        ValueError: it is no JSON, is nested without end, or has a whole number that no log of mmengine has.
    """
    try:
        return json.loads(text, parse_int=_whole_number)
    except RecursionError as error:
        raise ValueError('it is nested too deep') from error


def _whole_number(digits: str) -> int:
    if len(digits) > _MOST_DIGITS:
        raise ValueError(f'a whole number of {len(digits)} digits')
    return int(digits)


def _has_step(record: Any) -> bool:
    return isinstance(record, dict) and isinstance(record.get('step'), int) and isinstance(record.get('iter', 0), int)


def _add_classes(classes: dict[tuple[str, str], ClassValues], record: dict[str, Any]) -> None:
    for key, value in record.items():
        logged, _, rest = key.partition('/')
        if logged in _QUANTITIES and isinstance(value, int | float):
            module, _, name = rest.partition('/')
            classes[_QUANTITIES[logged], module].add(record['step'], name, value)


def _numbers(record: dict[str, Any]) -> dict[str, float]:
    return {key: float(value) for key, value in record.items() if key not in _TIMES and isinstance(value, int | float)}


def _frame(rows: dict[int, dict[str, float]]) -> pd.DataFrame:
    return pd.DataFrame.from_dict(rows, orient='index').sort_index()


def _problems(path: Path, unreadable: list[int], without_step: int) -> list[str]:
    problems = [f'{path}: {without_step} lines without a step are left out'] if without_step else []
    if len(unreadable) == 1:
        problems.append(f'{path}: line {unreadable[0]} is no JSON of mmengine, perhaps cut off; the line is left out')
    elif unreadable:
        problems.append(
            f'{path}: {len(unreadable)} lines, the first is line {unreadable[0]}, are no JSON of mmengine and left out'
        )
    return problems


def read_test_metrics(path: Path) -> dict[str, float]:
    """Return the metrics of a test, from the TIME.json that mmengine writes.

    Raises:
        ValueError: it is cut off, or no JSON of mmengine.
    """
    try:
        return _numbers(_parsed(path.read_text(encoding='utf-8', errors='replace')))
    except (ValueError, AttributeError) as error:
        raise ValueError(f'{path} is no JSON, perhaps cut off; the test is left out') from error


class Log(NamedTuple):
    """Contents of a text log that scalars.json lacks."""

    environment: dict[str, str]
    tables: list[pd.DataFrame]
    """mmseg's results by class: a row per class, IoU, Acc, …; one table per evaluation, in their order."""
    checkpoint: str | None
    """Path of the checkpoint that was loaded last."""
    resumed: int | None
    """Iteration of the checkpoint that the training was resumed from."""
    batches: int | None
    """Number of batches in an epoch, of a training by epochs."""
    problems: list[str]


def read_log(path: Path) -> Log:
    """Return the contents of the text log of one start, of a training or a test."""
    environment: dict[str, str] = {}
    tables, problems, checkpoint, resumed, batches = [], [], None, None, None
    lines = _lines(path)
    for line in lines:
        if line.startswith('System environment:'):
            environment = _read_environment(lines)
        elif 'Load checkpoint from ' in line:
            checkpoint = line.rpartition('Load checkpoint from ')[2].strip()
        elif match := _RESUMED.search(line):
            resumed = int(match[1])
        elif match := _BATCHES.search(line):
            batches = int(match[1])
        elif line.rstrip().endswith('per class results:'):
            table = _read_table(lines)
            if table is None:
                problems.append(f'{path}: a table of results by class is cut off and left out')
            else:
                tables.append(table)
    return Log(environment, tables, checkpoint, resumed, batches, problems)


def last_evaluation(path: Path) -> dict[str, float]:
    """Return the metrics of the last validation or test in a text log.

    Raises:
        ValueError: the log has none.
    """
    evaluations = [match[1] for line in _lines(path) if (match := _EVALUATION.search(line))]
    if not evaluations:
        raise ValueError(f'{path}: got no evaluation; expected the log of a training that was evaluated at its end')
    return {name: float(value) for name, value in re.findall(r'(\S+): ([\d.]+)', evaluations[-1])}


def _read_environment(lines: Iterator[str]) -> dict[str, str]:
    found = {}
    for line in lines:
        if line.startswith('------'):
            break
        if match := _ENVIRONMENT.fullmatch(line.rstrip()):
            found[match[1]] = match[2]
    return found


def _read_table(lines: Iterator[str]) -> pd.DataFrame | None:
    """Return the next PrettyTable; None if it is cut off."""
    borders, rows = 0, []
    for line in lines:
        text = _PREFIX.sub('', line).strip()
        if text.startswith('+-'):
            borders += 1
            if borders == 3:
                return _as_frame(rows)
        elif text.startswith('|') and text.endswith('|') and len(text) > 1:
            rows.append(text[1:-1])
        elif text or borders:
            return None
    return None


def _as_frame(rows: list[str]) -> pd.DataFrame | None:
    if not rows:
        return None
    head = [cell.strip() for cell in rows[0].split('|')]
    # A class name may contain a bar; the numbers after it do not.
    cells = [[cell.strip() for cell in row.rsplit('|', len(head) - 1)] for row in rows[1:]]
    try:
        numbers = [[float(cell) for cell in row[1:]] for row in cells]
    except ValueError:
        return None
    if any(len(row) != len(head) for row in cells):
        return None
    return pd.DataFrame(numbers, index=[row[0] for row in cells], columns=head[1:])
