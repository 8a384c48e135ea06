import csv
import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import numpy as np
import pytest

pytest.importorskip('mmseg')
pytest.importorskip('seaborn')

from matplotlib.figure import Figure
from matplotlib.text import Annotation
from written_runs import CE, RECALL, Start, segmentation_config, write_run, write_test

from mmrecall.analysis.report import write_report
from mmrecall.analysis.report.figures import FIGURES
from mmrecall.analysis.report.figures.point_labels import place_names
from mmrecall.exclusive import only_writer

AWKWARD = ('a|b', '<b>"bus"</b>', "it's $x$", 'über/unter')
TITLE = '<script>alert("x")</script>'


class Page(HTMLParser):
    """Tables by the id of their section, all tags with their attributes, and the text."""

    def __init__(self, text):
        super().__init__()
        self.tables, self.tags, self.text, self.section, self.in_cell = {}, [], '', None, False
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.tags.append((tag, attributes))
        if tag == 'section':
            self.section = attributes['id']
        elif tag == 'tr':
            self.tables.setdefault(self.section, []).append([])
        elif tag in ('td', 'th'):
            self.tables[self.section][-1].append('')
            self.in_cell = True

    def handle_endtag(self, tag):
        self.in_cell = self.in_cell and tag not in ('td', 'th')

    def handle_data(self, data):
        self.text += data
        if self.in_cell:
            self.tables[self.section][-1][-1] += data


@pytest.fixture(scope='module')
def report(tmp_path_factory):
    """Two losses, two seeds, class weights, awkward names; the folder, the page and what was tested."""
    root = tmp_path_factory.mktemp('report')
    tested = {}
    for loss, seeds in ((CE, (0, 1)), (RECALL, (0, 1)), (RECALL | dict(alpha=0.1), (0,))):
        for seed in seeds:
            work_dir = root / 'runs' / f'{loss["type"]}-{loss.get("alpha", "")}{seed}'
            start = Start(work_dir, segmentation_config(loss, seed, classes=AWKWARD))
            for step in (10, 20, 30):
                start.train(step, **{'decode.acc_seg': 50.0 + step})
                quantities = (
                    ('class_weight',) if loss is not CE else ('hypothetical_recall_weight', 'hypothetical_focal_weight')
                )
                for quantity in (*quantities, 'class_share'):
                    start.weights(step, quantity, dict(zip(AWKWARD, (0.1, 0.2, 0.3, 0.4), strict=True)))
            tested[work_dir.name] = write_test(work_dir, AWKWARD, seed=len(tested))
    (root / 'runs' / 'empty').mkdir()
    written = write_report([root / 'runs', root / 'missing <i>'], root / 'out', title=TITLE, command='python <tool>')
    return written, Page(written.page.read_text(encoding='utf-8')), tested


def read_csv(path):
    with open(path, encoding='utf-8', newline='') as file:
        return list(csv.DictReader(file))


def test_the_numbers_of_page_and_csv_are_those_of_the_logs(report):
    written, page, tested = report
    out = written.page.parent
    head, *rows = page.tables['summary']
    for label, kind in (('CrossEntropyLoss', 'CrossEntropyLoss'), ('RecallLoss', 'mmrecall.RecallLoss')):
        (shown,) = (dict(zip(head, row, strict=True)) for row in rows if row[0] == label)
        (stored,) = (row for row in read_csv(out / 'summary.csv') if row['loss'] == label)
        for metric in ('mIoU', 'mAcc', 'aAcc'):
            values = [tested[f'{kind}-{seed}'][0][metric] for seed in (0, 1)]
            mean, deviation = np.mean(values), np.std(values, ddof=1)
            assert float(stored[metric]) == pytest.approx(mean)
            assert float(stored[f'{metric} std']) == pytest.approx(deviation)
            assert shown[metric].split(' ± ')[0] == f'{mean:.2f}'
            assert float(shown[metric].split(' ± ')[1]) == pytest.approx(deviation, abs=0.006)


@pytest.mark.parametrize(('column', 'name'), [(0, 'classes-iou'), (1, 'classes-acc')])
def test_the_numbers_of_every_class_are_those_of_the_logs(column, name, report):
    written, page, tested = report
    head, *rows = page.tables[name]
    shown = {row[0]: dict(zip(head, row, strict=True)) for row in rows}
    stored = {row['class']: row for row in read_csv(written.page.parent / f'{name}.csv')}
    assert set(shown) == set(stored) == set(AWKWARD)
    for number, class_name in enumerate(AWKWARD):
        values = [tested[f'mmrecall.RecallLoss-{seed}'][1][number, column] for seed in (0, 1)]
        assert float(stored[class_name]['RecallLoss']) == pytest.approx(np.mean(values), abs=0.0051)
        assert float(shown[class_name]['RecallLoss'].split(' ')[0]) == pytest.approx(np.mean(values), abs=0.0101)
    # by their share
    assert list(stored) == list(AWKWARD)[::-1]


def test_names_and_titles_are_text(report):
    _, page, _ = report
    assert not {'b', 'i', 'script', 'tool'} & {tag for tag, _ in page.tags}
    for text in (*AWKWARD, TITLE, 'python <tool>', 'missing <i>'):
        assert text in page.text


def test_the_page_needs_nothing_but_itself(report):
    written, page, _ = report
    text = written.page.read_text(encoding='utf-8')
    assert not {'link', 'img', 'iframe', 'object', 'script'} & {tag for tag, _ in page.tags}
    for _, attributes in page.tags:
        for name, value in attributes.items():
            if name in ('src', 'href', 'xlink:href', 'data'):
                assert re.fullmatch(r'#.+|[\w-]+\.(png|svg|csv)|data:image/png;base64,[\w+/=\s]+', value), value
    assert 'url(http' not in text
    assert '@import' not in text


def test_every_link_of_the_page_has_a_target(report):
    written, page, _ = report
    ids = [attributes['id'] for _, attributes in page.tags if 'id' in attributes]
    assert len(ids) == len(set(ids))
    for _, attributes in page.tags:
        target = attributes.get('href', attributes.get('xlink:href', ''))
        if target.startswith('#'):
            assert target[1:] in ids
        elif target and not target.startswith('data:'):
            assert (written.page.parent / target).stat().st_size > 0


def test_every_figure_has_its_table_and_its_files(report):
    written, page, _ = report
    figures = [attributes['href'][:-4] for _, attributes in page.tags if attributes.get('href', '').endswith('.png')]
    # all of them, since the logs have all that they draw
    assert len(figures) == len(FIGURES)
    for name in figures:
        assert len(page.tables[name]) > 1, name
        ElementTree.parse(written.page.parent / f'{name}.svg')
        assert len(read_csv(written.page.parent / f'{name}.csv')) > 0


def test_what_is_left_out_is_on_the_page(report):
    written, page, _ = report
    assert [one.work_dir.rpartition('/')[2] for one in written.skipped] == ['empty', 'missing <i>']
    assert 'there is no such folder' in page.text


def test_commands_versions_and_how_the_configs_differ_are_on_the_page(report):
    _, page, _ = report
    assert ['RecallLoss', 'model.decode_head.loss_decode.type', 'mmrecall.RecallLoss', 'CrossEntropyLoss'] in (
        page.tables['configs']
    )
    assert 'python <tool>' in page.text


def test_an_old_report_gives_way_to_the_new_one(tmp_path):
    write_run(tmp_path / 'ce', segmentation_config())
    first = write_report([tmp_path / 'ce'], tmp_path / 'out', title='first')
    second = write_report([tmp_path / 'ce'], tmp_path / 'out', title='second')
    assert first.page == second.page
    assert '<title>second</title>' in second.page.read_text()
    assert not list((tmp_path / 'out').glob('*.partial'))


def test_figures_that_only_an_earlier_report_has_are_removed_and_files_of_others_stay(tmp_path):
    out = tmp_path / 'out'
    start = write_run(tmp_path / 'ce', segmentation_config())
    start.weights(5, 'class_weight', dict(road=1.0))
    write_report([tmp_path / 'ce'], out)
    assert (out / 'weights-map.png').exists()
    for name in ('mine.png', 'classes-iou-mine.svg', 'weights-lines.txt'):
        (out / name).touch()
    write_run(tmp_path / 'without', segmentation_config())
    write_report([tmp_path / 'without'], out)
    names = {path.name for path in out.iterdir()}
    assert {'mine.png', 'classes-iou-mine.svg', 'weights-lines.txt', 'curves.png', 'runs.csv'} <= names
    assert not any(name.startswith('weights-') for name in names - {'weights-lines.txt'})


def test_a_folder_that_another_report_is_written_to_is_refused(tmp_path):
    write_run(tmp_path / 'ce', segmentation_config(), tested=None)
    with only_writer(tmp_path / 'out' / 'index.html'):
        with pytest.raises(BlockingIOError, match=r'out/index\.html is being written by process \d+ on'):
            write_report([tmp_path / 'ce'], tmp_path / 'out')
        assert [path.name for path in (tmp_path / 'out').iterdir()] == ['index.html.lock']
    write_report([tmp_path / 'ce'], tmp_path / 'out')
    assert not list((tmp_path / 'out').glob('*.lock'))


def test_what_another_page_in_the_folder_names_stays(tmp_path):
    write_run(tmp_path / 'ce', segmentation_config())
    (tmp_path / 'index.html').write_text('<a href="photo.png">')
    (tmp_path / 'photo.png').touch()
    write_report([tmp_path / 'ce'], tmp_path)
    assert (tmp_path / 'photo.png').exists()
    assert 'photo.png' not in (tmp_path / 'index.html').read_text()


def test_a_class_that_is_called_like_a_link_removes_no_file(tmp_path):
    classes = ('href="notes.csv"', 'road', 'bus')
    write_run(tmp_path / 'ce', segmentation_config(classes=classes), classes=classes)
    write_report([tmp_path / 'ce'], tmp_path / 'out')
    (tmp_path / 'out' / 'notes.csv').touch()
    write_report([tmp_path / 'ce'], tmp_path / 'out')
    assert (tmp_path / 'out' / 'notes.csv').exists()


def test_runs_that_have_no_result_yet_are_reported_by_their_curves(tmp_path):
    write_run(tmp_path / 'ce', segmentation_config(), tested=None)
    report = write_report([tmp_path / 'ce'], tmp_path / 'out')
    text = report.page.read_text()
    assert 'No run has a result yet' in text
    assert 'id="curves"' in text
    assert any('no test or validation yet' in problem for problem in report.notes)


def test_nothing_to_report_says_why(tmp_path):
    (tmp_path / 'old').mkdir()
    (tmp_path / 'old' / '20210101_000000.log.json').write_text('{"mode": "train"}\n')
    with pytest.raises(ValueError, match=r'(?s)no run to report.*old: .*MMCV 1\.x'):
        write_report([tmp_path], tmp_path / 'out')
    assert not (tmp_path / 'out').exists()


@pytest.mark.parametrize('seed', range(4))
def test_names_beside_points_cover_no_other_name(seed):
    points = np.random.default_rng(seed).normal(size=(14, 2))
    figure = Figure(figsize=(6, 5))
    axis = figure.subplots()
    axis.plot(*points.T, 'o')
    axis.margins(0.2)
    place_names(axis, list(map(tuple, points)), [f'Loss number {n}\nalpha={n}' for n in range(14)], ['#0072B2'] * 14)
    texts = [child for child in axis.get_children() if isinstance(child, Annotation)]
    boxes = [text.get_window_extent() for text in texts]
    assert len(boxes) == 14
    for number, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[number + 1 :])
        assert not any(box.contains(*place) for place in axis.transData.transform(points))
