"""The tables and the figure of the docs are those of the logs in docs/logs."""

import gzip
import importlib.util
import math
import re
import shutil
import statistics
from pathlib import Path

import pytest

pytest.importorskip('mmseg')
pytest.importorskip('seaborn')

ROOT = Path(__file__).parents[1]
_spec = importlib.util.spec_from_file_location('redraw', ROOT / 'docs' / 'redraw.py')
redraw = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(redraw)

MARKED = {str(path.relative_to(ROOT)): text for path, text in redraw.pages().items() if '<!-- make results' in text}
HEADLINE, DIFFERENCES = 'README.md', 'docs/choosing.md'
RECALL_EMA = 'recall, running mean with alpha 0.1'


def cells(page, row):
    """Return the cells of the first marked table of a page in the row with a label."""
    table = redraw._MARKED.search(MARKED[page])[3]
    lines = [[part.strip(' *') for part in line.strip('|').split('|')] for line in table.splitlines()]
    (found,) = [line for line in lines if line[0] == row]
    return dict(zip(lines[0], found, strict=True))


def logs_of(run):
    """Return the texts of the logs of the three seeds."""
    paths = [ROOT / f'docs/logs/camvid-360x480/{run}-{seed}.log.gz' for seed in range(3)]
    return [gzip.decompress(path.read_bytes()).decode() for path in paths]


def logged(run, metric):
    """Return a metric of the last evaluation of the three seeds."""
    return [float(re.findall(rf'{metric}: ([\d.]+)', text)[-1]) for text in logs_of(run)]


def prose(page):
    """Return a page without tables, on one line."""
    lines = (ROOT / page).read_text(encoding='utf-8').splitlines()
    return ' '.join(line.strip() for line in lines if not line.startswith('|'))


@pytest.mark.parametrize('page', MARKED)
def test_the_tables_of_a_page_are_those_of_the_logs(page):
    lines = zip(MARKED[page].splitlines(), redraw.redrawn(MARKED[page], page).splitlines(), strict=True)
    assert [(there, expected) for there, expected in lines if there != expected] == [], 'run make results'


def test_the_pages_with_the_results_of_logs_have_marked_tables():
    assert {HEADLINE, DIFFERENCES, 'docs/results.md', 'configs/deeplabv3/README.md'} <= set(MARKED)
    marks = sum(text.count('<!-- make results') for text in MARKED.values())
    assert sum(len(redraw._MARKED.findall(text)) for text in MARKED.values()) == marks


@pytest.mark.parametrize(('page', 'digit'), [(HEADLINE, r'\d(?= ± )'), (DIFFERENCES, r'\d(?= \(0)')])
def test_every_changed_digit_of_a_table_is_noticed(page, digit):
    def other(match):
        return re.sub(digit, lambda found: str((int(found[0]) + 1) % 10), match[0])

    changed = redraw._MARKED.sub(other, MARKED[page])
    assert sum(one != two for one, two in zip(changed, MARKED[page], strict=True)) >= 32
    assert redraw.redrawn(changed, page) == MARKED[page]


@pytest.mark.parametrize(('label', 'run'), [('cross entropy', 'ce'), (RECALL_EMA, 'recall-ema0.1')])
def test_a_cell_is_mean_and_deviation_over_the_seeds(label, run):
    for head, metric in (('mean IoU', 'mIoU'), ('mean accuracy', 'mAcc')):
        values = logged(run, metric)
        assert cells(HEADLINE, label)[head] == f'{statistics.mean(values):.1f} ± {statistics.stdev(values):.1f}'


def test_rare_classes_are_the_mean_of_five():
    found = [
        statistics.mean(
            float(re.search(rf'\| +{name} +\| +([\d.]+) \|', text)[1])
            for name in ('Pole', 'SignSymbol', 'Fence', 'Pedestrian', 'Bicyclist')
        )
        for text in logs_of('recall-ema0.1')
    ]
    expected = f'{statistics.mean(found):.1f} ± {statistics.stdev(found):.1f}'
    assert cells(HEADLINE, RECALL_EMA)['IoU, rare'] == expected


def test_p_is_that_of_a_paired_t_test_with_two_degrees_of_freedom():
    pairs = [one - two for one, two in zip(logged('softiou', 'mIoU'), logged('ce', 'mIoU'), strict=True)]
    t = statistics.mean(pairs) / (statistics.stdev(pairs) / math.sqrt(3))
    p = 1 - t / math.sqrt(2 + t**2)
    assert cells(DIFFERENCES, 'soft IoU')['mean IoU'] == f'{statistics.mean(pairs):+.1f} ({p:.2f})'


def test_halves_go_up():
    series = redraw.pd.Series
    assert [redraw.summary(series([value])) for value in (60.65, 44.35, 0.25)] == ['60.7', '44.4', '0.3']
    assert redraw.difference(series([1.0, 2.0, 3.15]), series([2.0, 3.0, 4.3])) == '-1.1 (0.002)'


def test_the_figure_of_the_headline_has_the_numbers_of_its_table():
    table = redraw.draw_figure().table
    assert len(table) == 9
    for label, row in table.rename(lambda label: label.replace('\N{NO-BREAK SPACE}', ' ')).iterrows():
        for head, metric in (('mean IoU', 'mIoU'), ('mean accuracy', 'mAcc')):
            shown = f'{redraw._rounded(row[metric])} ± {redraw._rounded(row[f"{metric} std"])}'
            assert shown == cells(HEADLINE, label)[head]
    assert redraw.FIGURE.is_file()
    assert f'({redraw.FIGURE.relative_to(ROOT)})' in MARKED[HEADLINE]


def test_the_figure_has_the_same_bytes_again():
    assert redraw.draw_figure().svg == redraw.draw_figure().svg


@pytest.mark.parametrize('page', [HEADLINE, DIFFERENCES, 'configs/resnet/README.md', 'configs/sdn/README.md'])
def test_means_that_a_text_quotes_are_those_of_cifar10_lt(page):
    results = redraw.read_results('cifar10-lt-jpeg/*')['shot/top1']
    means = {redraw.summary(found) for _, found in results.groupby('run')}
    quoted = set(re.findall(r'[\d.]+ ± [\d.]*\d', prose(page)))
    assert len(quoted) >= 3
    assert quoted <= means


def test_the_ranges_of_the_headline_are_those_of_its_losses():
    def gains(metric, *runs):
        results = redraw.read_results(redraw.FIGURE_LOGS)[metric]
        found = [abs((results[run] - results['ce']).mean()) for run in runs]
        return f'{min(found):.0f} to {max(found):.0f}'

    recall = ('recall', 'recall-ema0.1')
    text = prose(HEADLINE)
    assert f'{gains("mIoU", "weighted-ce", "balanced-ce")} points of mean IoU' in text
    assert f'gains {gains("mAcc", *recall)} points of mean accuracy, {gains("mAcc_rare", *recall)} on the' in text


def test_the_comparisons_of_the_choice_are_those_of_the_logs():
    results = redraw.read_results(redraw.FIGURE_LOGS)

    def apart(metric, one, other):
        return re.fullmatch(
            r'\+(\S+) \((\S+)\)', redraw.difference(results.loc[one, metric], results.loc[other, metric])
        )

    text = prose(DIFFERENCES)
    iou, accuracy = (apart(metric, 'recall-ema0.1', 'recall') for metric in ('mIoU', 'mAcc'))
    assert f'{iou[1]} points of mean IoU (p = {iou[2]}) and {accuracy[1]} of mean accuracy ({accuracy[2]})' in text
    rare = apart('mAcc_rare', 'recall-ema0.1', 'softiou')
    assert f'{rare[1]} points lower in accuracy of rare classes (p = {rare[2]})' in text
    interval = redraw.ttest_rel(results.loc['recall', 'mIoU'], results.loc['ce', 'mIoU']).confidence_interval(0.95)
    assert f'is {interval.low:.1f} to {interval.high:+.1f} points' in text


TABLE = '<!-- make results: some/* -->\n\n| loss | mean IoU |\n|---|---|\n| `ce` | |\n'


@pytest.fixture
def some_logs(tmp_path, monkeypatch):
    """Seeds 0 and 1 of two runs, in a folder of their own."""
    (tmp_path / 'some').mkdir()
    for run in ('ce', 'recall'):
        for seed in (0, 1):
            name = f'{run}-{seed}.log.gz'
            shutil.copy(ROOT / 'docs/logs/camvid-360x480' / name, tmp_path / 'some' / name)
    monkeypatch.setattr(redraw, 'LOGS', tmp_path)
    return tmp_path / 'some'


def test_empty_cells_of_a_new_table_are_filled(some_logs):
    assert redraw.redrawn(TABLE, 'page.md').endswith('| `ce` | 47.7 ± 0.8 |\n')


@pytest.mark.parametrize(
    ('old', 'new', 'message'),
    [
        ('`ce`', '`focal`', "page.md: got no mIoU of 'focal' in docs/logs/some/"),
        ('`ce`', 'mine', "page.md: got the row 'mine'; expected a run in backticks"),
        ('mean IoU', 'IoU', "page.md: got the column 'IoU'; expected one of COLUMNS"),
        ('mean IoU', 'top-1', "page.md: got no shot/top1 of 'ce'"),
        ('some', 'other', r"got 'other/\*'; expected logs"),
    ],
)
def test_what_the_logs_do_not_have_is_an_error(old, new, message, some_logs):
    with pytest.raises(ValueError, match=message):
        redraw.redrawn(TABLE.replace(old, new), 'page.md')


def test_runs_of_other_seeds_are_an_error(some_logs):
    (some_logs / 'ce-1.log.gz').unlink()
    with pytest.raises(ValueError, match=r"page.md: got 'recall' with the seeds \[0, 1\]; expected \[0\]"):
        redraw.redrawn(TABLE + '| `recall` | |\n', 'page.md')


def test_a_column_says_how_many_seeds_each_row_has(some_logs):
    (some_logs / 'ce-1.log.gz').unlink()
    table = TABLE.replace('mean IoU |\n|---|---|\n| `ce` | |', 'seeds | mean IoU |\n|---|---|---|\n| `ce` | | |')
    redrawn = redraw.redrawn(table + '| `recall` | | |\n', 'page.md')
    assert redrawn.endswith('| `ce` | 1 | 48.3 |\n| `recall` | 2 | 47.8 ± 0.0 |\n')


def test_a_log_that_ends_before_its_evaluation_is_an_error(some_logs):
    (some_logs / 'ce-1.log.gz').write_bytes(gzip.compress(b'Iter(val) [20/233]    eta: 0:00:02  time: 0.0463\n'))
    with pytest.raises(ValueError, match=r'ce-1\.log\.gz: got no evaluation'):
        redraw.redrawn(TABLE, 'page.md')
