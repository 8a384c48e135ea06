"""Which work dirs there are, and which of their runs can be compared."""

import csv
import os
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from mmrecall.analysis.report.configs import dataset_settings, flatten, shown
from mmrecall.analysis.report.runs import Result, Run, old_logs, read_run, starts


class Skipped(NamedTuple):
    """What is not in the report."""

    work_dir: str
    reason: str


class Chosen(NamedTuple):
    """A run with the result that is reported of it."""

    run: Run
    result: Result | None


def find_work_dirs(paths: Sequence[Path]) -> tuple[list[Path], list[Skipped]]:
    """The work dirs that are given, or lie below what is given; and what holds none."""
    found: dict[Path, Path] = {}
    skipped = []
    for path in paths:
        if not path.is_dir():
            skipped.append(Skipped(str(path), 'there is no such folder'))
            continue
        listed = _listed(path)
        below = [*_below(path), *(work_dir for work_dir in listed if starts(work_dir))]
        for work_dir in below:
            found.setdefault(work_dir.resolve(), work_dir)
        skipped += [Skipped(str(one), 'in runs.tsv, but not begun') for one in listed if not starts(one)]
        if not below and not listed:
            skipped.append(Skipped(str(path), 'there are no logs in it or below it'))
    return list(found.values()), skipped


def _below(path: Path) -> list[Path]:
    found = []
    for folder, names, _ in os.walk(path):
        names.sort()
        if starts(Path(folder)) or old_logs(Path(folder)):
            found.append(Path(folder))
            names.clear()
    return found


def _listed(path: Path) -> list[Path]:
    """What the runs.tsv of tools/slurm_array.sh names; the folder may have been moved since."""
    table = path / 'runs.tsv'
    if not table.is_file():
        return []
    with open(table, encoding='utf-8', newline='') as file:
        named = [Path(row['work_dir']) for row in csv.DictReader(file, delimiter='\t') if row.get('work_dir')]
    return [work_dir if work_dir.is_dir() else path.joinpath(*work_dir.parts[-2:]) for work_dir in named]


def read_runs(
    work_dirs: Sequence[Path], on_progress: Callable[[], None] = lambda: None
) -> tuple[list[Run], list[Skipped]]:
    """Read every work dir; what cannot be read is named."""
    runs, skipped = [], []
    for work_dir in work_dirs:
        try:
            runs.append(read_run(work_dir))
        except (OSError, ValueError) as error:
            skipped.append(Skipped(str(work_dir), str(error)))
        on_progress()
    return runs, skipped


def comparable(runs: Sequence[Run]) -> tuple[list[Chosen], list[Skipped]]:
    """The largest set of runs that were evaluated on the same images for the same classes; of equal sets the first.

    The result of a run is that of its test, else of its last validation. A run whose test is of other images than the
    others' takes part with its validation if that is of the same. A run without such a result takes part with its
    curves if it is trained on the same data.
    """
    if not runs:
        return [], []
    preferred = [_evaluated(run, run.results[0]) for run in runs if run.results]
    chosen, skipped = [], []
    if not preferred:
        trained = Counter(_trained(run) for run in runs).most_common(1)[0][0]
        for run in runs:
            _sort_in(run, None, _difference(trained, _trained(run)), chosen, skipped)
        return chosen, skipped
    wanted = Counter(preferred).most_common(1)[0][0]
    results = [next((one for one in run.results if _evaluated(run, one) == wanted), None) for run in runs]
    trained_on = {_trained(run) for run, result in zip(runs, results, strict=True) if result is not None}
    for run, result in zip(runs, results, strict=True):
        if result is not None or _trained(run) in trained_on:
            reason = ''
        elif run.results:
            reason = _difference(wanted, _evaluated(run, run.results[0]))
        else:
            reason = _difference(next(iter(trained_on)), _trained(run))
        _sort_in(run, result, reason, chosen, skipped)
    return _of_other_classes(chosen, skipped), skipped


def _sort_in(run: Run, result: Result | None, reason: str, chosen: list[Chosen], skipped: list[Skipped]) -> None:
    if reason:
        skipped.append(Skipped(str(run.work_dir), reason))
    else:
        chosen.append(Chosen(run, result))


_Key = tuple[tuple[str, str], ...]


def _evaluated(run: Run, result: Result) -> _Key:
    return _key(run, result.dataset)


def _trained(run: Run) -> _Key:
    return _key(run, (run.config.get('train_dataloader') or {}).get('dataset') or {})


def _key(run: Run, dataset: dict[str, Any]) -> _Key:
    numbers = [value for key, value in flatten(run.config['model']) if key.endswith('head.num_classes')]
    facts = [('kind', run.kind), ('number of classes', repr(numbers[-1] if numbers else None))]
    # the type first, because it says why the rest is another
    settings = sorted(dataset_settings(dataset).items(), key=lambda item: (item[0] != 'type', item[0]))
    return (*facts, *((f'data set, {key}', shown(value)) for key, value in settings))


def _difference(wanted: _Key, found: _Key) -> str:
    """What makes a run another than most; empty where nothing does."""
    expected, seen = dict(wanted), dict(found)
    for name in dict.fromkeys([*expected, *seen]):
        if expected.get(name) != seen.get(name):
            return (
                f'not comparable with most of the runs: {name}: {seen.get(name, "not set")} here, '
                f'{expected.get(name, "not set")} there'
            )
    return ''


def _of_other_classes(chosen: list[Chosen], skipped: list[Skipped]) -> list[Chosen]:
    """Sort out the runs whose results by class are of classes with other names than most."""
    names = [tuple(one.result.classes.index) for one in chosen if one.result and one.result.classes is not None]
    if not names:
        return chosen
    most = Counter(names).most_common(1)[0][0]
    kept = []
    for one in chosen:
        own = one.result.classes.index if one.result and one.result.classes is not None else most
        other = [name for name in own if name not in most] or [name for name in most if name not in set(own)]
        if tuple(own) == most:
            kept.append(one)
        else:
            named = ', '.join(other[:3]) or 'in another order'
            skipped.append(Skipped(str(one.run.work_dir), f'not comparable: its classes are others ({named})'))
    return kept
