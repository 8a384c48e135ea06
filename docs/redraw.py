"""Redraw the tables and the figure of the README and the docs from the logs in docs/logs.

A table is filled in where a comment stands above it, in README.md, docs/*.md or configs/*/README.md:

    <!-- make results: camvid-360x480/* -->

    | loss | mean IoU | pixel accuracy |
    |---|---|---|
    | cross entropy | | |
    | `recall-ema0.1` | | |

The comment names the logs, docs/logs/camvid-360x480/RUN-SEED.log.gz, the first column the runs (in backticks, or by a
label of RUNS), and the heads the metrics (COLUMNS). A cell is the mean of the last evaluations of all seeds, with their
standard deviation where there are several; all rows have the same seeds, or a column `seeds` says how many.
`differences in camvid-360x480/*` has the differences to cross entropy and p of paired t-tests.

Example: python docs/redraw.py
"""

import argparse
import re
from collections.abc import Callable
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import NamedTuple

import pandas as pd
from scipy.stats import ttest_rel

from mmrecall.analysis.report.figures import Figure
from mmrecall.analysis.report.figures.results import draw_trade_off
from mmrecall.analysis.report.figures.style import styled
from mmrecall.analysis.report.logs import last_evaluation, read_log
from mmrecall.analysis.report.runs import SEGMENTATION
from mmrecall.analysis.report.tables import Comparison
from mmrecall.io import atomic_write

ROOT = Path(__file__).parents[1]
LOGS = ROOT / 'docs' / 'logs'
PAGES = ('README.md', 'docs/*.md', 'configs/*/README.md')
FIGURE, FIGURE_LOGS = ROOT / 'docs' / 'images' / 'camvid-360x480.svg', 'camvid-360x480/*'
REFERENCE = 'cross entropy'
RUNS = {
    'cross entropy': 'ce',
    'focal': 'focal',
    'OHEM': 'ohem',
    'soft IoU': 'softiou',
    'Lovász-Softmax': 'lovasz',
    'recall': 'recall',
    'recall, running mean with alpha 0.1': 'recall-ema0.1',
    'weighted CE (inverse frequency)': 'weighted-ce',
    'balanced CE (effective number)': 'balanced-ce',
    'class-balanced CE': 'class-balanced',
    'LDAM-DRW': 'ldam-drw',
    'balanced softmax': 'balanced-softmax',
    'cross entropy, post-hoc logit adjustment with τ = 1': 'ce-tau1',
    'logit adjustment, tau 1': 'logit-adjusted',
    'SDN-CE': 'sdn-ce',
    'SDN-recall, alpha 0.9': 'sdn-recall-ema0.9',
    'SDN-recall, alpha 0.1': 'sdn-recall-ema0.1',
    'SDN-recall, alpha 0.01': 'sdn-recall-ema0.01',
    'SDN-recall, alpha 0.001': 'sdn-recall-ema0.001',
}


class Column(NamedTuple):
    """The numbers that a column of a table has."""

    metric: str
    run: str = '{}'
    """The name of the run, made of that of the row."""


SEEDS = 'seeds'
COLUMNS = {
    SEEDS: Column(SEEDS),
    'mean IoU': Column('mIoU'),
    'mean accuracy': Column('mAcc'),
    'pixel accuracy': Column('aAcc'),
    'IoU, rare': Column('mIoU_rare'),
    'accuracy, rare': Column('mAcc_rare'),
    'IoU, pedestrians': Column('IoU Pedestrian'),
    'recall, pedestrians': Column('Acc Pedestrian'),
    'mean AP': Column('multi-label/mAP'),
    'mean precision': Column('multi-label/precision'),
    'mean recall': Column('multi-label/recall'),
    'mean F1': Column('multi-label/f1-score'),
    'top-1': Column('shot/top1'),
    'top-5': Column('shot/top5'),
    'many': Column('shot/many'),
    'medium': Column('shot/medium'),
    'few': Column('shot/few'),
    "top-1, `'valid'`": Column('shot/top1', '{}-valid'),
    "top-1, `'weight'`": Column('shot/top1'),
    "medium, `'valid'`": Column('shot/medium', '{}-valid'),
    "medium, `'weight'`": Column('shot/medium'),
    'CIFAR-10-LT': Column('shot/top1', 'cifar10-lt-{}'),
    'Tiny-ImageNet-LT': Column('shot/top1', 'tiny-imagenet-lt-32x32-{}'),
}
# Of CamVid, each with less than 1.2 % of the pixels.
RARE = ['Pole', 'SignSymbol', 'Fence', 'Pedestrian', 'Bicyclist']

_MARKED = re.compile(r'^<!-- make results: (differences in )?(\S+?) -->\n\n((?:\|.*\n)+)', re.MULTILINE)


def read_results(logs: str) -> pd.DataFrame:
    """Return the metrics of the last evaluation of every log, in percent, by run and seed.

    Args:
        logs: a pattern such as ``camvid-360x480/*``; the name of a run is what the star stands for, without the seed.

    Raises:
        ValueError: there is no such log, or one without an evaluation.
    """
    prefix = logs.removesuffix('*')
    rows = {}
    for path in sorted(LOGS.glob(f'{logs}-*.log.gz')):
        run, _, seed = path.relative_to(LOGS).as_posix().removeprefix(prefix).removesuffix('.log.gz').rpartition('-')
        rows[run, int(seed)] = _metrics(path)
    if not rows:
        raise ValueError(f'got {logs!r}; expected logs {LOGS / logs}-SEED.log.gz')
    return pd.DataFrame.from_dict(rows, orient='index').rename_axis(['run', 'seed'])


def _metrics(path: Path) -> dict[str, float]:
    metrics = last_evaluation(path)
    tables = read_log(path).tables
    if tables:
        by_class = tables[-1].stack()
        metrics |= {f'{metric} {name}': value for (name, metric), value in by_class.items()}
    if tables and set(RARE) <= set(tables[-1].index):
        metrics |= tables[-1].loc[RARE, ['IoU', 'Acc']].mean().rename('m{}_rare'.format).to_dict()
    return metrics


def summary(values: pd.Series) -> str:
    """Return the mean over the seeds, and the standard deviation where there are several."""
    mean = _rounded(values.mean())
    return f'{mean}' if len(values) == 1 else f'{mean} ± {_rounded(values.std())}'


def difference(values: pd.Series, reference: pd.Series) -> str:
    """Return the mean difference over the seeds, and p of a paired t-test."""
    p = ttest_rel(values, reference).pvalue
    return f'{_rounded((values - reference).mean()):+} ({p:{".2f" if p >= 0.01 else ".1g"}})'


def _rounded(value: float) -> Decimal:
    """Return a number with one decimal; halves go up, whatever the last bits of a mean are."""
    return Decimal(f'{value:.6f}').quantize(Decimal('0.1'), ROUND_HALF_UP)


def redrawn(text: str, page: str) -> str:
    """Return the text of a page with its marked tables as the logs have them.

    Raises:
        ValueError: a row or a column has no log, or another number of seeds.
    """

    def fill(match: re.Match) -> str:
        differences, logs, table = match.groups()
        results = read_results(logs).assign(**{SEEDS: 1})
        expected: list[int] = []
        same_seeds = bool(differences) or f'| {SEEDS} |' not in table

        def values(run: str, metric: str) -> pd.Series:
            found = results[metric].get(run) if metric in results else None
            if found is None or found.isna().any():
                raise ValueError(f'{page}: got no {metric} of {run!r} in docs/logs/{logs}; train it, or remove the row')
            seeds = list(found.index)
            if same_seeds and expected and seeds != expected:
                raise ValueError(
                    f'{page}: got {run!r} with the seeds {seeds}; expected {expected}, as other rows have, or a column '
                    f'{SEEDS!r}'
                )
            expected[:] = seeds
            return found

        def cell(run: str, head: str) -> str:
            column = COLUMNS[head]
            found = values(column.run.format(run), column.metric)
            if head == SEEDS:
                return str(found.sum())
            return difference(found, values(RUNS[REFERENCE], column.metric)) if differences else summary(found)

        return match[0].removesuffix(table) + _filled(table, page, cell)

    return _MARKED.sub(fill, text)


def _filled(table: str, page: str, cell: Callable[[str, str], str]) -> str:
    head, rule, *rows = ([part.strip() for part in line.strip('|\n').split('|')] for line in table.splitlines())
    if unknown := [name for name in head[1:] if name not in COLUMNS]:
        raise ValueError(f'{page}: got the column {unknown[0]!r}; expected one of COLUMNS in docs/redraw.py')
    for row in rows:
        run = _run(row[0], page)
        for place, name in enumerate(head[1:], 1):
            bold = '**' * row[place].startswith('**')
            row[place] = bold + cell(run, name) + bold
    lines = [[f' {part} ' if part else ' ' for part in row] for row in (head, *rows)]
    lines.insert(1, rule)
    return ''.join(f'|{"|".join(line)}|\n' for line in lines)


def _run(label: str, page: str) -> str:
    name = label.strip('*')
    if name.startswith('`'):
        return name.strip('`')
    if name not in RUNS:
        raise ValueError(f'{page}: got the row {name!r}; expected a run in backticks, or a label of RUNS in {__file__}')
    return RUNS[name]


def draw_figure() -> Figure:
    """Draw figure 1 of the segmentation paper, mean accuracy against mean IoU, of the headline of the README."""
    results = read_results(FIGURE_LOGS).reset_index()
    labels = {run: _two_lines(label) for label, run in RUNS.items() if run in set(results['run'])}
    results = results.assign(label=results['run'].map(labels))
    metrics = ['mAcc', 'mIoU']
    comparison = Comparison(
        SEGMENTATION, [], _two_lines(REFERENCE), list(labels.values()), results, metrics, pd.DataFrame(), [], None
    )
    return draw_trade_off(comparison)


def _two_lines(label: str) -> str:
    """Return a label whose only spaces are those after a comma and before a bracket: the report breaks lines there."""
    return re.sub(r'(?<!,) (?!\()', '\N{NO-BREAK SPACE}', label)


def pages() -> dict[Path, str]:
    """Return the pages with their present texts."""
    return {path: path.read_text(encoding='utf-8') for pattern in PAGES for path in sorted(ROOT.glob(pattern))}


# The style is that of drawing and of writing.
@styled
def main() -> None:
    """Write what has changed."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    written = {path: redrawn(text, str(path.relative_to(ROOT))) for path, text in pages().items()}
    for path, text in {**written, FIGURE: draw_figure().svg}.items():
        if not path.exists() or path.read_text(encoding='utf-8') != text:
            with atomic_write(path) as partial:
                partial.write_text(text, encoding='utf-8')
            print(f'Written: {path.relative_to(ROOT)}')


if __name__ == '__main__':
    main()
