"""The demo of classification, with one epoch."""

import csv
import re
import shutil
from pathlib import Path

import pytest
from commands import run

pytest.importorskip('mmpretrain')
pytest.importorskip('sklearn')

DEMO = 'tools/demo/classification.py'
METHODS = {'cross entropy': 'cross-entropy', 'SDN-CE': 'sdn-ce', 'SDN-recall': 'sdn-recall'}


def demo(repository, out, *arguments):
    return run('python', repository / DEMO, '--out', out, *arguments, timeout=900, CUDA_VISIBLE_DEVICES='-1')


@pytest.fixture(scope='module')
def finished(tmp_path_factory):
    """Return folder and output of a completed demo."""
    out = tmp_path_factory.mktemp('demo')
    status, output = demo(Path(__file__).parents[2], out, '--epochs', '1')
    assert status == 0, output[-3000:]
    return out, output


def tables(output):
    return output[output.index('Accuracy on') :]


def test_the_means_are_those_of_the_metrics_log(finished):
    _, output = finished
    logged = re.findall(r'Epoch\(test\).*', output)
    assert len(logged) == len(METHODS)
    for method, line in zip(METHODS, logged, strict=True):
        expected = [
            float(re.search(rf'shot/{name}: ([\d.]+)', line)[1])
            for name in ('top1', 'mean_class', 'many', 'medium', 'few')
        ]
        row = re.search(rf'^ *{method} +([\d. ]+)$', tables(output), re.MULTILINE)[1]
        assert [float(cell) for cell in row.split()] == pytest.approx(expected, abs=0.051)


def test_the_classes_are_those_of_the_metrics_file(finished):
    out, output = finished
    found = re.findall(r'^ *(\d) +(\d+) +(many|medium|few) +(\d+) +(\d+) +(\d+) *$', tables(output), re.MULTILINE)
    assert [int(row[1]) for row in found] == [133, 88, 58, 38, 25, 17, 11, 7, 5, 3]
    for number, name in enumerate(METHODS.values()):
        with (out / f'{name}-1e-seed0' / 'shot_accuracy.csv').open() as file:
            for row in csv.DictReader(file):
                cells = next(cells for cells in found if cells[0] == row['class'])
                assert cells[1:3] == (row['training_images'], row['group'])
                assert float(cells[3 + number]) == float(row['accuracy'])
                assert row['tested_images'] == '50'


def test_the_limits_of_the_groups_are_those_of_the_config_and_are_said(finished):
    _, output = finished
    assert 'many: above 50 training images, few: below 10' in output
    assert 'many (3)   medium (4)   few (3)' in output


def test_a_second_call_trains_nothing_and_says_the_same(finished, repository):
    out, output = finished
    status, again = demo(repository, out, '--epochs', '1')
    assert status == 0
    assert 'train.py' not in again
    assert 'test.py' not in again
    assert tables(again) == tables(output)


def test_only_what_is_missing_is_done_and_what_is_broken_is_named(finished, repository, tmp_path):
    out = tmp_path / 'demo'
    shutil.copytree(finished[0], out)
    folder = out / 'sdn-recall-1e-seed0'
    (folder / 'means.json').write_text('{')
    status, output = demo(repository, out, '--epochs', '1')
    assert status == 1
    assert str(folder / 'means.json') in ''.join(output.splitlines())
    assert 'Traceback' not in output
    (folder / 'tested').unlink()
    status, output = demo(repository, out, '--epochs', '1')
    assert status == 0, output[-3000:]
    assert output.count('test.py') == 1
    assert 'train.py' not in output
    assert tables(output) == tables(finished[1])


def test_a_data_set_without_its_list_is_named(repository, tmp_path):
    (tmp_path / 'digits-lt').mkdir()
    status, output = demo(repository, tmp_path, '--epochs', '1')
    assert status == 1
    assert f'{tmp_path}/digits-lt/train.txt is missing' in output
