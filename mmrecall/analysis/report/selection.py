"""The work dirs below a folder, and the runs in them that can be compared."""

import csv
import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from mmrecall.analysis.report.runs import Result, Run, old_logs, read_run
from mmrecall.analysis.report.settings import compared, dataset_settings, flatten, shown
from mmrecall.analysis.report.starts import starts

_Facts = tuple[tuple[str, str], ...]
"""Kind, number of classes and data set of a run, which compared runs must share."""


# Files of a training beside its logs.
_TRACES = ('slurm_command.sh', 'last_checkpoint')


class Skipped(NamedTuple):
    """A work dir that is not in the report."""

    work_dir: str
    reason: str


class Selected(NamedTuple):
    """A run with its reported result, if it has one."""

    run: Run
    result: Result | None


def find_work_dirs(paths: Sequence[Path]) -> tuple[list[Path], list[Skipped]]:
    """Return the work dirs at and below paths, links followed; and the paths and folders without a run."""
    found: dict[Path, Path] = {}
    skipped = []
    for path in paths:
        try:
            is_there = path.is_dir()
        except OSError as error:
            skipped.append(_unreadable(path, error))
            continue
        if not is_there:
            skipped.append(Skipped(str(path), 'there is no such folder'))
            continue
        below, unread = _below(path, set())
        listed, not_begun = _listed(path)
        for work_dir in (*below, *listed):
            found.setdefault(work_dir.resolve(), work_dir)
        skipped += not_begun
        skipped += [one for one in unread if one.work_dir not in {other.work_dir for other in not_begun}]
        if not (below or listed or unread or not_begun):
            skipped.append(Skipped(str(path), 'there are no logs in it or below it'))
    return list(found.values()), skipped


def _below(folder: Path, visited: set[Path]) -> tuple[list[Path], list[Skipped]]:
    """Return the work dirs at and below a folder; and those that cannot be read or have no logs.

    Args:
        folder: where to look.
        visited: folders where that was done, which are not entered again: a link may lead back.
    """
    visited.add(folder.resolve())
    try:
        if starts(folder) or old_logs(folder):
            return [folder], []
        # Links last, so that a folder has its name, not that of a link to it.
        entries = sorted(folder.iterdir(), key=lambda entry: (entry.is_symlink(), entry))
        inner = [entry for entry in entries if entry.is_dir()]
    except OSError as error:
        return [], [_unreadable(folder, error)]
    found: list[Path] = []
    skipped = [
        Skipped(str(entry), f'it is a link to {os.readlink(entry)}, which is not there')
        for entry in entries
        if entry.is_symlink() and not entry.exists()
    ]
    without_logs = []
    for entry in inner:
        if entry.resolve() in visited:
            continue
        runs, others = _below(entry, visited)
        found += runs
        skipped += others
        if not (runs or others):
            without_logs.append(entry)
    beside_runs = any(entry in found for entry in inner)
    skipped += [
        Skipped(str(entry), 'there are no logs in it or below it')
        for entry in without_logs
        if _has_traces(entry) or (beside_runs and _may_be_run(entry))
    ]
    return found, skipped


def _unreadable(folder: Path, error: OSError) -> Skipped:
    return Skipped(str(folder), f'it cannot be read ({error.strerror})')


def _has_traces(folder: Path) -> bool:
    """Return whether a folder without logs holds other files of a training."""
    return any((folder / name).is_file() for name in _TRACES) or any(folder.glob('*.pth'))


def _may_be_run(folder: Path) -> bool:
    """Return whether a folder beside runs may be one too: it is no hidden folder and no report."""
    return not folder.name.startswith(('.', '_')) and not (folder / 'index.html').is_file()


def _listed(path: Path) -> tuple[list[Path], list[Skipped]]:
    """Return the work dirs in a runs.tsv of a table; and those that have not started.

    The folder may have been moved since.
    """
    table = path / 'runs.tsv'
    if not table.is_file():
        return [], []
    try:
        with open(table, encoding='utf-8', newline='') as file:
            rows = csv.DictReader(file, delimiter='\t', quoting=csv.QUOTE_NONE)
            named = [Path(row['work_dir']) for row in rows if row.get('work_dir')]
        places = [work_dir if work_dir.is_dir() else path.joinpath(*work_dir.parts[-2:]) for work_dir in named]
        begun = [work_dir for work_dir in places if starts(work_dir)]
    except (OSError, ValueError, csv.Error) as error:
        return [], [Skipped(str(table), f'the list cannot be read ({error})')]
    return begun, [Skipped(str(one), 'in runs.tsv, but not started') for one in places if one not in begun]


def read_runs(
    work_dirs: Sequence[Path], on_progress: Callable[[], None] = lambda: None
) -> tuple[list[Run], list[Skipped]]:
    """Return the runs in the work dirs; and the work dirs that cannot be read."""
    runs, skipped = [], []
    for work_dir in work_dirs:
        try:
            runs.append(read_run(work_dir))
        except (OSError, ValueError) as error:
            skipped.append(Skipped(str(work_dir), str(error)))
        # Damaged files lead to errors of any type; the other runs are read all the same.
        except Exception as error:
            skipped.append(Skipped(str(work_dir), f'its files are damaged ({type(error).__name__}: {error})'))
        on_progress()
    return runs, skipped


def comparable(runs: Sequence[Run]) -> tuple[list[Selected], list[Skipped]]:
    """Return the largest set of runs that were evaluated on the same images for the same classes; and the others.

    Of equally large sets the first. The result of a run is that of its test, else of its last validation. A run whose
    test is of other images than the others' takes part with its validation if that is of the same. A run without such
    a result takes part with its curves if it is trained on the same data.
    """
    if not runs:
        return [], []
    evaluated = [_evaluated(run, run.results[0]) for run in runs if run.results]
    wanted = _most_common(evaluated) if evaluated else None
    results = [next((one for one in run.results if _evaluated(run, one) == wanted), None) for run in runs]
    pairs = list(zip(runs, results, strict=True))
    # Without any result, the data that most runs are trained on.
    trained = [_trained(run) for run, result in pairs if result is not None] or [_most_common(map(_trained, runs))]
    selected, skipped = [], []
    for run, result in pairs:
        if result is not None or _trained(run) in trained:
            selected.append(Selected(run, result))
        elif run.results:
            skipped.append(Skipped(str(run.work_dir), _difference(wanted, _evaluated(run, run.results[0]))))
        else:
            skipped.append(Skipped(str(run.work_dir), _difference(trained[0], _trained(run))))
    kept, of_other_classes = _of_the_same_classes(selected)
    return kept, skipped + of_other_classes


def _most_common(facts: Iterable[_Facts]) -> _Facts:
    return Counter(facts).most_common(1)[0][0]


def _evaluated(run: Run, result: Result) -> _Facts:
    return _facts(run, result.dataset)


def _trained(run: Run) -> _Facts:
    return _facts(run, (run.config.get('train_dataloader') or {}).get('dataset') or {})


def _facts(run: Run, dataset: dict[str, Any]) -> _Facts:
    numbers = [value for key, value in flatten(run.config['model']) if key.endswith('head.num_classes')]
    facts = [('kind', run.kind), ('number of classes', repr(numbers[-1] if numbers else None))]
    # The type comes first, because it explains why the rest differs.
    settings = sorted(dataset_settings(dataset).items(), key=lambda item: (item[0] != 'type', item[0]))
    return (*facts, *((f'data set, {key}', shown(compared(key, value))) for key, value in settings))


def _difference(wanted: _Facts, found: _Facts) -> str:
    """Return the first fact that a run does not share with most."""
    expected, seen = dict(wanted), dict(found)
    name = next(name for name in {**expected, **seen} if expected.get(name) != seen.get(name))
    there, here = (facts.get(name, 'not set') for facts in (expected, seen))
    return f'not comparable with most of the runs: {name}: {here} here, {there} there'


def _of_the_same_classes(selected: list[Selected]) -> tuple[list[Selected], list[Skipped]]:
    """Return the runs whose results by class are of the classes that most have; and the others."""
    names = {one.run.work_dir: tuple(one.result.classes.index) for one in selected if _has_classes(one.result)}
    if not names:
        return selected, []
    most = Counter(names.values()).most_common(1)[0][0]
    kept, skipped = [], []
    for one in selected:
        own = names.get(one.run.work_dir, most)
        if own == most:
            kept.append(one)
            continue
        other = [name for name in own if name not in most] or [name for name in most if name not in own]
        named = ', '.join(other[:3]) or 'in another order'
        skipped.append(Skipped(str(one.run.work_dir), f'not comparable: its classes are others ({named})'))
    return kept, skipped


def _has_classes(result: Result | None) -> bool:
    return result is not None and result.classes is not None
