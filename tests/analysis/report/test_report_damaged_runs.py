"""Damaged runs: the report is made without them, and names each with its reason."""

import json
import os
import shutil
from pathlib import Path

import pytest

pytest.importorskip('mmseg')
pytest.importorskip('seaborn')

from written_runs import RECALL, segmentation_config, write_run

from mmrecall.analysis.report import write_report
from mmrecall.analysis.report.selection import find_work_dirs


@pytest.fixture
def runs(tmp_path):
    """A folder of three sound runs, seeds 0, 1 and 2."""
    for seed in (0, 1, 2):
        write_run(tmp_path / 'runs' / f'seed_{seed}', segmentation_config(RECALL, seed=seed), tested=seed)
    return tmp_path / 'runs'


@pytest.fixture
def report(runs, tmp_path, monkeypatch):
    """Write the report without figures; the seeds in it, reasons by the name of what is not, and notes."""
    monkeypatch.setattr('mmrecall.analysis.report.report.FIGURES', [])

    def seeds_reasons_and_notes():
        made = write_report([runs], tmp_path / 'report')
        reasons = {Path(one.work_dir).name: one.reason for one in made.skipped}
        return sorted(one.run.seed for one in made.comparison.runs), reasons, made.notes

    return seeds_reasons_and_notes


def scalars(run):
    (path,) = run.glob('*/vis_data/scalars.json')
    return path


def rewrite_config(run, text):
    (path,) = run.glob('*/vis_data/config.py')
    path.write_bytes(text if isinstance(text, bytes) else text.encode())


@pytest.mark.parametrize(
    'line',
    [
        '[' * 200_000,
        '{"loss": 1%s, "iter": 6, "step": 6}' % ('0' * 399),
        '{"loss": 0.5, "iter": 6, "step": 9%s}' % ('9' * 30),
    ],
    ids=['brackets', 'a number of 400 digits', 'a step of 31 digits'],
)  # fmt: skip
def test_a_line_that_cannot_be_read_is_left_out_with_a_note(runs, report, line):
    with open(scalars(runs / 'seed_1'), 'a') as file:
        file.write(f'{line}\n')
    seeds, reasons, notes = report()
    assert (seeds, reasons) == ([0, 1, 2], {})
    assert any('seed_1' in note and 'line 3 is no JSON of mmengine' in note for note in notes)


@pytest.mark.parametrize('content', ['[' * 200_000, json.dumps(dict(mIoU=10**400))], ids=['brackets', 'number'])
def test_a_test_that_cannot_be_read_is_left_out_with_a_note(runs, report, content):
    (path,) = (runs / 'seed_1' / 'test').glob('*/*.json')
    path.write_text(content)
    seeds, reasons, notes = report()
    assert (seeds, reasons) == ([0, 1, 2], {})
    assert any(note.startswith(f'{path} is no JSON') for note in notes)


@pytest.mark.parametrize(
    ('config', 'reason'),
    [
        ('model = dict(decode_head=5)', 'got decode_head=5 in its config; expected a dict'),
        ('model = dict(decode_head=[])', 'got decode_head=[] in its config; expected a dict'),
        ('model = 5', 'its files are damaged (TypeError'),
        ("model = dict(decode_head=dict())\nrandomness = dict(seed='0')", 'got randomness.seed=0 in its config'),
        ("model = dict(decode_head=dict())\ntrain_dataloader = [1]", 'its files are damaged (AttributeError'),
        ('x = ' + '[' * 100_000, 'is not made of plain values'),
        (b'x = "\xff"', 'config.py is no text in UTF-8 (invalid start byte at byte 5)'),
    ],
    ids=['a number', 'no head', 'no model', 'seed', 'a list of data', 'brackets', 'Latin-1'],
)  # fmt: skip
def test_a_config_that_no_training_has_is_named(runs, report, config, reason):
    rewrite_config(runs / 'seed_1', config)
    seeds, reasons, _ = report()
    assert seeds == [0, 2]
    assert list(reasons) == ['seed_1']
    assert reason in reasons['seed_1']


def test_a_loss_that_no_training_has_is_named(runs, report):
    rewrite_config(runs / 'seed_1', '\n'.join(f'{key} = {value!r}' for key, value in segmentation_config(7).items()))
    seeds, reasons, _ = report()
    assert seeds == [0, 2]
    assert reasons['seed_1'].startswith('its files are damaged (AttributeError')


def test_a_run_that_cannot_be_drawn_is_named(runs, report, monkeypatch):
    def draw(comparison):
        if any(one.run.seed == 1 for one in comparison.runs):
            raise ZeroDivisionError('the limits of an axis')

    monkeypatch.setattr('mmrecall.analysis.report.report.FIGURES', [draw])
    seeds, reasons, _ = report()
    assert seeds == [0, 2]
    assert reasons == {'seed_1': 'its files are damaged (ZeroDivisionError: the limits of an axis)'}


def test_a_fault_of_the_report_itself_is_no_fault_of_the_runs(report, monkeypatch):
    def draw(comparison):
        if len(comparison.runs) == 3:
            raise ZeroDivisionError

    monkeypatch.setattr('mmrecall.analysis.report.report.FIGURES', [draw])
    with pytest.raises(ZeroDivisionError):
        report()


@pytest.mark.parametrize('unread', ['seed_1', 'seed_1/20260101_000000/vis_data'])
def test_an_unreadable_folder_is_named(runs, report, unread, monkeypatch):
    # Root may read everything, so that the permissions of a folder would be no test.
    def refused(function):
        def checked(path, *arguments, **options):
            if os.fspath(path).startswith(f'{runs}/{unread}/') or (
                function is os.listdir and str(path) == f'{runs}/{unread}'
            ):
                raise PermissionError(13, 'Permission denied', os.fspath(path))
            return function(path, *arguments, **options)

        return checked

    for name in ('listdir', 'scandir', 'stat'):
        monkeypatch.setattr(os, name, refused(getattr(os, name)))
    seeds, reasons, _ = report()
    assert seeds == [0, 2]
    assert 'Permission denied' in reasons['seed_1']
    # As an argument, too.
    _, skipped = find_work_dirs([runs / unread / 'inner'])
    assert 'Permission denied' in skipped[0].reason


def test_folders_that_could_be_runs_are_named(runs, report):
    for name in ('empty', 'earlier report', '.cache', 'weights/other'):
        (runs / name).mkdir(parents=True)
    (runs / 'earlier report' / 'index.html').touch()
    (runs / 'weights' / 'other' / 'iter_10.pth').touch()
    (runs / 'lost').symlink_to('/scratch/gone')
    _, reasons, _ = report()
    assert reasons == {
        'empty': 'there are no logs in it or below it',
        'other': 'there are no logs in it or below it',
        'lost': 'it is a link to /scratch/gone, which is not there',
    }


def test_a_list_of_runs_that_cannot_be_read_is_named(runs, report):
    (runs / 'runs.tsv').write_bytes(b'task\tconfig\tseed\twork_dir\tcommand\n0\t\xff')
    seeds, reasons, _ = report()
    assert seeds == [0, 1, 2]
    assert 'the list cannot be read' in reasons['runs.tsv']


@pytest.mark.parametrize(
    'name', ['class_counts.json', 'seed.py', 'slurm_command.sh', '20260101_000000/20260101_000000.log']
)
def test_a_fifo_is_not_waited_for(runs, report, name):
    (runs / 'seed_1' / name).unlink(missing_ok=True)
    os.mkfifo(runs / 'seed_1' / name)
    seeds, reasons, _ = report()
    assert (seeds, reasons) == ([0, 1, 2], {})


def test_linked_folders_are_followed_and_count_once(runs, tmp_path):
    shutil.move(runs / 'seed_2', tmp_path / 'elsewhere')
    (runs / 'moved').symlink_to(tmp_path / 'elsewhere')
    (runs / 'again').symlink_to(runs / 'seed_0')
    # Back to where it is.
    (runs / 'back').symlink_to(runs)
    found, skipped = find_work_dirs([runs])
    assert sorted(path.name for path in found) == ['moved', 'seed_0', 'seed_1']
    assert not skipped
