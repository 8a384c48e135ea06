"""The report: from work dirs to a folder with a page, figures and tables."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from rich.progress import Progress

from mmrecall import __version__
from mmrecall.analysis.report.figures import FIGURES, Figure
from mmrecall.analysis.report.figures.style import first_names, styled
from mmrecall.analysis.report.labels import given_labels
from mmrecall.analysis.report.notes import notes_on
from mmrecall.analysis.report.page import files_of, write_page
from mmrecall.analysis.report.runs import Run
from mmrecall.analysis.report.selection import Skipped, comparable, find_work_dirs, read_runs
from mmrecall.analysis.report.tables import Comparison, compare, config_differences, runs_table, versions
from mmrecall.exclusive import only_writer
from mmrecall.io import atomic_write


class Report(NamedTuple):
    """The page that was written, and what is in it."""

    page: Path
    comparison: Comparison
    skipped: list[Skipped]
    notes: list[str]
    """Files that could be read in part only, and results that may mislead."""


@styled
def write_report(
    paths: Sequence[Path],
    out: Path,
    reference: str | None = None,
    title: str = 'Runs compared',
    command: str = '',
    bar: Progress | None = None,
    labels: Sequence[tuple[str, Path]] = (),
) -> Report:
    """Read runs and write ``index.html`` with its figures and tables.

    The files of an earlier report in the same folder that this one does not have are removed.

    Args:
        paths: work dirs, or folders with work dirs below.
        out: folder to write to.
        reference: label of the loss that the others are compared with; by default plain cross entropy.
        title: title of the page.
        command: shown on the page as the one that made it.
        bar: shows the progress.
        labels: labels, each with a folder at or below which all runs are called so.

    Raises:
        ValueError: nothing can be reported, with the reasons; no run has the label ``reference``; or ``labels`` has a
            folder without a run, or two labels for one.
        BlockingIOError: another process writes a report to ``out``.
        OSError: ``out`` cannot be written to.
    """
    if out.exists() and not out.is_dir():
        raise NotADirectoryError(f'{out} is a file; --out is a folder')
    bar = bar or Progress(disable=True)
    work_dirs, skipped = find_work_dirs(paths)
    reading = bar.add_task('reading', total=len(work_dirs))
    runs, unread = read_runs(work_dirs, lambda: bar.advance(reading))
    skipped += unread
    while True:
        compared = False
        try:
            comparison, notes, others = _compared(runs, reference, labels, skipped)
            compared = True
            figures = _draw(comparison, bar)
            break
        # Damaged files lead to errors of any type.
        except Exception:
            runs, damaged = _without_damaged(runs, draws=compared)
            if not damaged:
                raise
            skipped += damaged
    report = Report(out / 'index.html', comparison, skipped + others, notes)
    with only_writer(report.page):
        earlier = files_of(report.page)
        written = _write(report, figures, title, command)
        for name in earlier - written:
            (out / name).unlink(missing_ok=True)
    return report


def _compared(
    runs: Sequence[Run], reference: str | None, labels: Sequence[tuple[str, Path]], skipped: Sequence[Skipped]
) -> tuple[Comparison, list[str], list[Skipped]]:
    """Return the comparison, the notes on it, and the runs that cannot be compared."""
    selected, others = comparable(runs)
    left_out = [*skipped, *others]
    if not selected:
        reasons = ''.join(f'\n  {one.work_dir}: {one.reason}' for one in left_out)
        raise ValueError(f'there is no run to report{reasons}')
    comparison = compare(selected, reference, given_labels(labels, selected, left_out))
    return comparison, notes_on(comparison), others


def _without_damaged(runs: Sequence[Run], draws: bool) -> tuple[list[Run], list[Skipped]]:
    """Return the runs that can be compared, and drawn, each by itself; and the others."""
    sound, damaged = [], []
    for run in runs:
        try:
            comparison, _, _ = _compared([run], None, [], [])
            if draws:
                _draw(comparison, Progress(disable=True))
            sound.append(run)
        except Exception as error:
            damaged.append(Skipped(str(run.work_dir), f'its files are damaged ({type(error).__name__}: {error})'))
    return sound, damaged


def _draw(comparison: Comparison, bar: Progress) -> list[Figure]:
    drawing = bar.add_task('drawing', total=len(FIGURES))
    figures = []
    for draw in FIGURES:
        figures.append(draw(comparison))
        bar.advance(drawing)
    return [figure for figure in figures if figure is not None]


def _write(report: Report, figures: list[Figure], title: str, command: str) -> set[str]:
    """Write all files, the page last; return the names of the others."""
    out, comparison = report.page.parent, report.comparison
    written = {name for figure in figures for name in figure.write(out)}
    summary, runs, configs = comparison.summary(), runs_table(comparison), config_differences(comparison)
    for name, frame in (('summary', summary), ('runs', runs), ('configs', configs.set_index('label'))):
        with atomic_write(out / f'{name}.csv', flush=False) as partial:
            frame.to_csv(partial)
        written.add(f'{name}.csv')
    write_page(
        report.page,
        figures,
        title=title,
        facts=_facts(comparison),
        skipped=report.skipped,
        notes=report.notes,
        summary=summary,
        configs=configs,
        base=comparison.labels[0],
        runs=runs,
        versions=versions(comparison),
        trainings=comparison.runs,
        command=command,
        version=__version__,
    )
    return written


def _facts(comparison: Comparison) -> dict[str, str]:
    sources = comparison.results['evaluated'].str.partition(',')[0].value_counts() if len(comparison.results) else {}
    said = {'test': 'a test', 'validation': 'the last validation of the training'}
    facts = {
        'Task': comparison.kind,
        'Runs': f'{len(comparison.runs)}, of {len(comparison.labels)} losses or settings',
        'Results': ', '.join(f'{count} by {said[source]}' for source, count in sources.items()) or 'none yet',
        'Reference': comparison.reference or 'none',
    }
    if minority := comparison.minority:
        total = comparison.classes['class'].nunique()
        facts['Minority classes'] = f'{first_names(minority)} ({len(minority)} of {total}; IoU below 80)'
    return facts
