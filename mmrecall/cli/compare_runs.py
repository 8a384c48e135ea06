"""Compare runs: one report from the logs of any number of trainings, losses x seeds.

The page opens from disk without a network and has its figures and tables as PNG, SVG and CSV beside it: mean
accuracy against mean IoU with the quadrants of a reference loss, every class, class weights over iterations and against
the share of the class, many/medium/few-shot accuracy, training curves, mean and deviation over seeds, differences
between the configs, versions, commands. Runs that cannot be read or compared are named.

Example: mmrecall compare-runs work_dirs/camvid --reference SoftmaxFocalLoss
"""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress
from rich.table import Table

from mmrecall.cli.command_line import typed_command

if TYPE_CHECKING:
    from mmrecall.analysis.report.report import Report


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument(
        'work_dirs', metavar='WORK_DIR', type=Path, nargs='+', help='work dir of a run, or a folder with runs below it'
    )
    parser.add_argument(
        '--reference', metavar='LABEL', help='label that the others are compared with (default: cross entropy)'
    )
    parser.add_argument(
        '--labels', metavar='LABEL=FOLDER', nargs='+', default=[], help='labels for the runs at or below folders'
    )
    parser.add_argument('--out', type=Path, default=Path('work_dirs/report'), help='folder (default: %(default)s)')
    parser.add_argument('--title', default='Runs compared', help='title of the page (default: %(default)s)')


def run(arguments: argparse.Namespace) -> None:
    """Write the report, and print its main table."""
    errors = Console(stderr=True)
    try:
        from mmrecall.analysis.report import read_labels, write_report

        with Progress(console=errors, transient=True) as bar:
            labels = read_labels(arguments.labels)
            report = write_report(
                arguments.work_dirs, arguments.out, arguments.reference, arguments.title, typed_command(), bar, labels
            )
    except (ImportError, OSError, ValueError) as error:
        raise SystemExit(str(error)) from error
    for one in report.skipped:
        errors.print(f'Skipped: {one.work_dir}: {one.reason}', markup=False, highlight=False, soft_wrap=True)
    for note in report.notes:
        errors.print(f'Note: {note}', markup=False, highlight=False, soft_wrap=True)
    _print(report)
    print(f'Written: {report.page}')


def _print(report: 'Report') -> None:
    from mmrecall.analysis.display import print_table
    from mmrecall.analysis.report.page import as_table
    from mmrecall.analysis.report.tables import MAIN_METRICS

    if not report.comparison.metrics:
        return
    summary = report.comparison.summary()
    shown = ['seeds', *(name for metric in MAIN_METRICS for name in (metric, f'{metric} std'))]
    content = as_table(summary[[name for name in shown if name in summary]])
    table = Table(title=report.comparison.kind, box=box.SIMPLE_HEAD, padding=(0, 1))
    for head, numeric in zip(content.heads, content.numeric, strict=True):
        table.add_column(head, justify='right' if numeric else 'left', no_wrap=numeric)
    for row in content.rows:
        table.add_row(*map(escape, row))
    print_table(table)
