"""From work dirs to a folder with the report."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
from rich.progress import Progress

from mmrecall import __version__
from mmrecall.analysis.report import curves, result_figures, weights
from mmrecall.analysis.report.choice import Skipped, comparable, find_work_dirs, read_runs
from mmrecall.analysis.report.configs import is_cross_entropy
from mmrecall.analysis.report.page import as_table, write_page
from mmrecall.analysis.report.style import Drawn
from mmrecall.analysis.report.tables import Comparison, commands, compare, config_differences, versions
from mmrecall.io import atomic_write

_FIGURES: tuple[Callable[[Comparison], Drawn | None], ...] = (
    result_figures.draw_trade_off,
    result_figures.draw_metrics,
    lambda comparison: result_figures.draw_classes(comparison, 'Acc'),
    lambda comparison: result_figures.draw_classes(comparison, 'IoU'),
    weights.draw_weight_maps,
    weights.draw_weight_lines,
    weights.draw_weight_shares,
    curves.draw_alpha_curves,
    curves.draw_curves,
)


_NAMES = {
    'trade-off', 'metrics', 'classes-acc', 'classes-iou', 'weights-map', 'weights-lines', 'weights-share',
    'curves-alpha', 'curves',
}  # fmt: skip


class Report(NamedTuple):
    """What was written."""

    page: Path
    comparison: Comparison
    skipped: list[Skipped]
    problems: list[str]
    """What could be read in part only."""


def write_report(
    paths: Sequence[Path],
    out: Path,
    reference: str | None = None,
    title: str = 'Runs compared',
    command: str = '',
    bar: Progress | None = None,
) -> Report:
    """Read runs and write ``index.html`` with its figures and tables.

    Args:
        paths: work dirs, or folders with work dirs below.
        out: folder to write to.
        reference: label of the loss that the others are compared with; by default plain cross entropy.
        title: of the page.
        command: that the page shows as its own.
        bar: shows what is being done.

    Raises:
        ValueError: nothing can be reported, with the reasons; or no run has the label ``reference``.
        OSError: ``out`` cannot be written to.
    """
    if out.exists() and not out.is_dir():
        raise NotADirectoryError(f'{out} is a file; --out is a folder')
    bar = bar or Progress(disable=True)
    work_dirs, skipped = find_work_dirs(paths)
    reading = bar.add_task('reading', total=len(work_dirs))
    runs, unread = read_runs(work_dirs, lambda: bar.advance(reading))
    chosen, others = comparable(runs)
    skipped += unread + others
    if not chosen:
        reasons = ''.join(f'\n  {one.work_dir}: {one.reason}' for one in skipped)
        raise ValueError(f'there is no run to report{reasons}')
    comparison = compare(chosen, reference)
    drawing = bar.add_task('drawing', total=len(_FIGURES))
    figures = []
    for draw in _FIGURES:
        drawn = draw(comparison)
        if drawn is not None:
            drawn.write(out)
            figures.append(drawn)
        bar.advance(drawing)
    _remove_others(out, figures)
    problems = [problem for one in comparison.runs for problem in one.run.problems] + _missing(comparison)
    _write(out, comparison, figures, skipped, problems, title, command)
    return Report(out / 'index.html', comparison, skipped, problems)


def _remove_others(out: Path, figures: Sequence[Drawn]) -> None:
    """Figures of an earlier report in the same folder, which this one has not."""
    for name in _NAMES - {drawn.name for drawn in figures}:
        for suffix in ('png', 'svg', 'csv'):
            (out / f'{name}.{suffix}').unlink(missing_ok=True)


def _missing(comparison: Comparison) -> list[str]:
    """What a reader would look for in vain."""
    found = []
    for run, result in (one.chosen for one in comparison.runs):
        if run.unfinished():
            found.append(f'{run.work_dir}: still in training, or broken off, at {run.unfinished()}')
        if result is None:
            of = ', '.join(one.source for one in run.results)
            reason = f'its results ({of}) are of other images than those of most' if of else 'no test or validation yet'
            found.append(f'{run.work_dir}: {reason}; it is only in the figures of the training')
    found += _same_seed(comparison) + _other_checkpoints(comparison)
    plain = list(dict.fromkeys(one.label for one in comparison.runs if is_cross_entropy(one.run.config)))
    if len(plain) > 1 and comparison.reference in plain:
        found.append(
            f'several labels are plain cross entropy; the reference is {comparison.reference}, not: '
            f'{"; ".join(label for label in plain if label != comparison.reference)}'
        )
    if comparison.reference is None:
        labels = '; '.join(comparison.labels)
        found.append(f'no run of plain cross entropy: choose what to compare with by --reference, one of: {labels}')
    elif comparison.reference not in set(comparison.results['label']):
        found.append(f'the reference, {comparison.reference}, has no result: no quadrants and no minority classes')
    if not any(one.run.scalars.classes for one in comparison.runs):
        found.append('no log has class weights (ClassWeightHook writes them): there are no figures of them')
    return found


def _same_seed(comparison: Comparison) -> list[str]:
    """Runs that tell less than their number."""
    places: dict[tuple[str, int | None], list[str]] = {}
    for one in comparison.runs:
        if one.run.seed is not None:
            places.setdefault((one.label, one.run.seed), []).append(str(one.run.work_dir))
    return [
        f'{label}, seed {seed}: {len(same)} runs with the same settings, each counts as a seed ({", ".join(same)})'
        for (label, seed), same in places.items()
        if len(same) > 1
    ]


def _other_checkpoints(comparison: Comparison) -> list[str]:
    """Seeds that were evaluated at different ends."""
    found: dict[str, set[str]] = {}
    for one in comparison.runs:
        if one.chosen.result is not None:
            found.setdefault(one.label, set()).add(f'{one.chosen.result.source} of {one.chosen.result.of}')
    return [
        f'{label}: its seeds were not evaluated alike ({"; ".join(sorted(ends))})'
        for label, ends in found.items()
        if len(ends) > 1
    ]


def runs_table(comparison: Comparison) -> pd.DataFrame:
    """Every run with its metrics and where it lies."""
    rows: list[dict[str, Any]] = []
    results = comparison.results.set_index('work_dir')
    for one in comparison.runs:
        work_dir = str(one.run.work_dir)
        row = dict(loss=one.label, seed=one.run.seed, evaluated='not yet', iterations=one.run.last_step())
        if work_dir in results.index:
            row |= results.loc[work_dir].drop(['label', 'seed']).to_dict()
        rows.append(row | {'work dir': work_dir})
    return pd.DataFrame(rows).set_index('loss')


def _facts(comparison: Comparison) -> list[tuple[str, str]]:
    results = comparison.results
    sources = results['evaluated'].str.partition(',')[0].value_counts() if len(results) else {}
    said = {'test': 'test (tools/test.py)', 'validation': 'the last validation of the training'}
    evaluated = ', '.join(f'{count} by {said[source]}' for source, count in sources.items()) or 'none yet'
    facts = [
        ('Task', comparison.kind),
        ('Runs', f'{len(comparison.runs)}, of {len(comparison.labels)} losses or settings'),
        ('Results', evaluated),
        ('Reference', comparison.reference or 'none'),
    ]
    if comparison.minority:
        total = comparison.classes['class'].nunique()
        facts.append(
            (
                'Minority classes',
                f'{result_figures.minority_names(comparison)} ({len(comparison.minority)} of {total}; IoU below 80)',
            )
        )
    return facts


def _write(
    out: Path, comparison: Comparison, figures: list[Drawn], skipped: list[Skipped], problems: list[str], title: str,
    command: str,
) -> None:  # fmt: skip
    summary = result_figures.summary_table(comparison) if comparison.metrics else pd.DataFrame()
    runs, configs = runs_table(comparison), config_differences(comparison)
    for name, frame in (('summary', summary), ('runs', runs), ('configs', configs.set_index('label'))):
        with atomic_write(out / f'{name}.csv', flush=False) as partial:
            frame.to_csv(partial)
    write_page(
        out / 'index.html',
        figures,
        title=title,
        facts=_facts(comparison),
        skipped=skipped,
        problems=problems,
        summary=as_table(summary),
        configs=as_table(configs),
        differing=list(dict.fromkeys(configs['setting'])),
        base=comparison.labels[0],
        runs=as_table(runs),
        versions=as_table(versions(comparison.runs)),
        commands=commands(comparison.runs).to_dict('records'),
        command=command,
        version=__version__,
    )
