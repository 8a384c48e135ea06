"""A table as a user trains it: real trainings, on synthetic data."""

import json
import os
import re
import signal
import subprocess
import sys
import time

import pytest
from commands import run
from small_training import small_camvid

from mmrecall.engine.folder_lock import lock_folder, unlock_folder

pytest.importorskip('mmseg')

CONFIG = 'deeplabv3_r18w32-d16_1xb8-recall-1k_camvid-180x240.py'
TOOL = 'tools/train_table.py'


@pytest.fixture
def config(repository, tmp_path):
    """A config by a short name."""
    path = tmp_path / 'recall.py'
    path.write_text(f"_base_ = ['{repository}/configs/deeplabv3/{CONFIG}']\n")
    return path


def test_a_table_is_trained_once_and_names_what_failed(repository, config, tmp_path):
    root, broken = tmp_path / 'a table', tmp_path / 'broken.py'
    broken.write_text(f"_base_ = ['{config}']\nmodel = dict(decode_head=dict(type='NoSuchHead'))\n")
    options = small_camvid(tmp_path / 'camvid')
    words = [repository / TOOL, config, broken, '--seeds', 3, 4, '--jobs', 2, '--work-dir', root]
    elsewhere = root / 'broken' / 'seed_4'
    lock_folder(elsewhere)
    try:
        status, output = run('python', *words, '--cfg-options', *options)
    finally:
        unlock_folder(elsewhere)
    assert status == 1
    assert '2 of 4 runs are not finished:' in output
    log = root / 'broken' / 'seed_3' / 'train_table.log'
    assert re.search(rf'{broken} seed 3: .*NoSuchHead is not in the .*; output in {log}\n', output)
    assert f'{broken} seed 4: {elsewhere} is in use by another run, process {os.getpid()} on' in output
    for seed in (3, 4):
        work_dir = root / 'recall' / f'seed_{seed}'
        assert re.search(rf'randomness = dict\(.*seed={seed}\)', (work_dir / 'recall.py').read_text())
        assert 'Iter(val)' in (work_dir / 'train_table.log').read_text()
    assert len((root / 'runs.tsv').read_text().splitlines()) == 5
    words.remove(broken)
    status, output = run('python', *words, '--cfg-options', *options)
    assert status == 0, output
    assert output.count('finished before') == 2
    assert f'All 2 runs are finished: {root}' in output


def test_a_table_that_is_ended_saves_and_goes_on_with_the_same_command(repository, config, tmp_path):
    iterations, work_dir = 50, tmp_path / 'work' / 'recall' / 'seed_0'
    options = small_camvid(tmp_path / 'camvid', iterations)
    words = [repository / TOOL, config, '--seeds', 0, '--work-dir', tmp_path / 'work', '--cfg-options', *options]
    command = [sys.executable, *map(str, words)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env={**os.environ, 'OMP_NUM_THREADS': '1'}) as it:
        log = work_dir / 'train_table.log'
        while not (log.is_file() and 'Iter(train)' in log.read_text()):
            assert it.poll() is None, it.stderr.read()
            time.sleep(0.05)
        it.send_signal(signal.SIGTERM)
        output = it.communicate(timeout=120)[1]
    assert it.returncode == 128 + signal.SIGTERM
    assert 'Ended by SIGTERM. To go on, call again: python' in output
    # The training has ended, too.
    lock_folder(work_dir)
    unlock_folder(work_dir)
    assert 'Stopped by SIGUSR1' in log.read_text()
    status, output = run('python', *words)
    assert status == 0, output
    records = [json.loads(line) for path in work_dir.glob('*/vis_data/scalars.json') for line in path.open()]
    trained = [record['iter'] for record in records if 'iter' in record]
    assert sorted(trained) == list(range(1, iterations + 1))
    assert [record['step'] for record in records if 'mIoU' in record] == [iterations]


@pytest.mark.parametrize(
    ('words', 'message'),
    [
        (['--seeds', '0', '--jobs', '0'], 'got --jobs 0; expected at least 1'),
        (['--seeds', '0', '0'], 'got --seeds 0 2 times; expected different seeds'),
    ],
)
def test_mistakes_are_refused_in_one_line(repository, config, words, message, tmp_path):
    status, output = run('python', repository / TOOL, config, *words, '--work-dir', tmp_path / 'work')
    assert status == 1
    assert output.splitlines()[-1] == message
    assert not (tmp_path / 'work').exists()
