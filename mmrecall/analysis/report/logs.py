"""The files that mmengine writes: scalars.json and the text log."""

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

TIMESTAMP = re.compile(r'\d{8}_\d{6}')

QUANTITIES = (
    'class_recall',
    'class_running_recall',
    'class_share',
    'class_weight',
    'would_be_recall_weight',
    'would_be_focal_weight',
)
_TIMES = ('data_time', 'time', 'step', 'memory')
_PREFIX = re.compile(r'\d{4}/\d\d/\d\d \d\d:\d\d:\d\d - \S+ - [A-Z]+ - ')
_ENVIRONMENT = re.compile(r' {4}(\S[^:]*): (.+)')


class ClassValues:
    """A quantity of every class over the iterations; a class that a line does not name is NaN there."""

    def __init__(self) -> None:
        self._columns: dict[str, int] = {}
        self._rows: dict[int, np.ndarray] = {}

    def add(self, step: int, name: str, value: float) -> None:
        """Take the value of a class."""
        column = self._columns.setdefault(sys.intern(name), len(self._columns))
        row = self._rows.get(step)
        if row is None or len(row) <= column:
            grown = np.full(max(2 * column, len(self._columns), 8), np.nan)
            if row is not None:
                grown[: len(row)] = row
            row = self._rows[step] = grown
        row[column] = value

    def frame(self) -> pd.DataFrame:
        """A row per iteration, a column per class."""
        table = np.full((len(self._rows), len(self._columns)), np.nan)
        for place, row in enumerate(self._rows.values()):
            width = min(len(row), table.shape[1])
            table[place, :width] = row[:width]
        return pd.DataFrame(table, index=list(self._rows), columns=list(self._columns)).sort_index()


class Scalars(NamedTuple):
    """What scalars.json holds, by iteration."""

    training: pd.DataFrame
    validation: pd.DataFrame
    classes: dict[tuple[str, str], pd.DataFrame]
    """By quantity and module of the loss."""

    def _map(self, change: Any) -> 'Scalars':
        classes = {key: change(frame) for key, frame in self.classes.items()}
        return Scalars(change(self.training), change(self.validation), classes)

    def continued_by(self, later: 'Scalars') -> 'Scalars':
        """Join with a later start, whose word counts from its first iteration on."""
        starts = [frame.index[0] for frame in (later.training, *later.classes.values()) if len(frame)]
        before = self._map(lambda frame: frame[frame.index < min(starts, default=np.inf)])
        empty = pd.DataFrame()
        classes = {
            key: pd.concat([before.classes.get(key, empty), later.classes.get(key, empty)])
            for key in {**before.classes, **later.classes}
        }
        return Scalars(
            pd.concat([before.training, later.training]), pd.concat([before.validation, later.validation]), classes
        )


def read_scalars(path: Path, begin: int = 0) -> tuple[Scalars, list[str]]:
    """Read a scalars.json of mmengine's LocalVisBackend.

    The step of a validation is the epoch in trainings by epochs; here it is the iteration of the last line before it.

    Args:
        path: of the file.
        begin: iteration that a validation has before which there is no line.

    Returns:
        What it holds, and what could not be read.

    Raises:
        ValueError: its lines have no step: another program wrote it.
    """
    training, validation, problems = {}, {}, []
    classes: dict[tuple[str, str], ClassValues] = {}
    unknown, unreadable = 0, []
    for number, line in enumerate(_lines(path), 1):
        try:
            record = json.loads(line)
        except ValueError:
            unreadable.append(number)
            continue
        if not isinstance(record, dict) or not all(isinstance(record.get(key, 0), int) for key in ('step', 'iter')):
            unknown += 1
            continue
        if 'step' not in record:
            unknown += 1
            continue
        step = record['step']
        if next(iter(record)).partition('/')[0] in QUANTITIES:
            _add_classes(classes, step, record)
        elif 'iter' in record:
            begin = record['iter']
            training[begin] = _numbers(record)
        elif 'time' in record:
            # an epoch, which is never above the iteration, or the iteration itself
            validation[max(begin, step)] = _numbers(record)
    if unknown and not (training or validation or classes):
        raise ValueError(f'{path}: its lines have no step, so another version than mmengine 0.10 wrote it')
    if unknown:
        problems.append(f'{path}: {unknown} lines without a step are left out')
    if len(unreadable) == 1:
        problems.append(f'{path}: line {unreadable[0]} is no JSON, perhaps cut off; the line is left out')
    elif unreadable:
        problems.append(f'{path}: {len(unreadable)} lines, the first is line {unreadable[0]}, are no JSON and left out')
    frames = {key: values.frame() for key, values in classes.items()}
    return Scalars(_frame(training), _frame(validation), frames), problems


def _lines(path: Path) -> Iterator[str]:
    with open(path, encoding='utf-8', errors='replace') as file:
        yield from (line for line in file if line.strip())


def _add_classes(classes: dict[tuple[str, str], ClassValues], step: int, record: dict[str, Any]) -> None:
    for key, value in record.items():
        quantity, _, rest = key.partition('/')
        if quantity in QUANTITIES and isinstance(value, int | float):
            module, _, name = rest.partition('/')
            classes.setdefault((quantity, module), ClassValues()).add(step, name, value)


def _numbers(record: dict[str, Any]) -> dict[str, float]:
    return {key: float(value) for key, value in record.items() if key not in _TIMES and isinstance(value, int | float)}


def _frame(rows: dict[int, dict[str, float]]) -> pd.DataFrame:
    return pd.DataFrame.from_dict(rows, orient='index').sort_index()


def read_test_metrics(path: Path) -> dict[str, float]:
    """Read what tools/test.py has measured, from its TIME.json.

    Raises:
        ValueError: it is cut off.
    """
    try:
        return _numbers(json.loads(path.read_text(encoding='utf-8', errors='replace')))
    except (ValueError, AttributeError) as error:
        raise ValueError(f'{path} is no JSON, perhaps cut off; the test is left out') from error


class Log(NamedTuple):
    """What a text log holds beside the scalars."""

    environment: dict[str, str]
    tables: list[pd.DataFrame]
    """mmseg's results by class: a row per class, IoU, Acc, …; one table per evaluation, the last one last."""
    checkpoint: str | None
    """The last that was loaded."""
    problems: list[str]


def read_log(path: Path) -> Log:
    """Read the text log of one start, of a training or a test."""
    environment: dict[str, str] = {}
    tables, problems, checkpoint = [], [], None
    lines = _lines(path)
    for line in lines:
        if line.startswith('System environment:'):
            environment = _read_environment(lines)
        elif 'Load checkpoint from ' in line:
            checkpoint = line.rpartition('Load checkpoint from ')[2].strip()
        elif line.rstrip().endswith('per class results:'):
            table = _read_table(lines)
            if table is None:
                problems.append(f'{path}: a table of results by class is cut off and left out')
            else:
                tables.append(table)
    return Log(environment, tables, checkpoint, problems)


def _read_environment(lines: Iterator[str]) -> dict[str, str]:
    found = {}
    for line in lines:
        if line.startswith('------'):
            break
        if match := _ENVIRONMENT.fullmatch(line.rstrip()):
            found[match[1]] = match[2]
    return found


def _read_table(lines: Iterator[str]) -> pd.DataFrame | None:
    """The rows of a PrettyTable; a class name may hold a bar, the numbers after it do not."""
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
    cells = [[cell.strip() for cell in row.rsplit('|', len(head) - 1)] for row in rows[1:]]
    try:
        numbers = [[float(cell) for cell in row[1:]] for row in cells]
    except ValueError:
        return None
    if any(len(row) != len(head) for row in cells):
        return None
    return pd.DataFrame(numbers, index=[row[0] for row in cells], columns=head[1:])
