"""The demo of segmentation, with few scenes and few iterations."""

import re
import signal
import subprocess
import sys

import pytest
from commands import run

pytest.importorskip('mmseg')

DEMO = 'tools/demo/segmentation.py'


def demo(repository, out, *arguments):
    return run(
        'python', repository / DEMO, '--out', out, '--frames', 20, '--iterations', 2, *arguments,
        timeout=500, CUDA_VISIBLE_DEVICES='-1',
    )  # fmt: skip


def test_demo_trains_both_losses_and_reuses_what_is_there(repository, tmp_path):
    status, output = demo(repository, tmp_path)
    assert status == 0, output[-3000:]
    assert (tmp_path / 'demo-seed0.png').is_file()
    assert len(re.findall(r'2 iterations in', output)) == 2
    # the table's means are those that mmseg's own metric prints
    mean = re.search(r'mean +([\d.]+) +([\d.]+) +[+-][\d.]+ +([\d.]+) +([\d.]+)', output)
    stock = re.findall(r'Iter\(test\).*mIoU: ([\d.]+)  mAcc: ([\d.]+)', output)
    expected = [stock[0][1], stock[1][1], stock[0][0], stock[1][0]]
    assert [float(value) for value in mean.groups()] == pytest.approx([float(value) for value in expected], abs=0.06)
    again, output = demo(repository, tmp_path)
    assert again == 0
    assert 'train.py' not in output
    assert mean.group() in output


def test_too_few_scenes_are_named(repository, tmp_path):
    status, output = run('python', repository / DEMO, '--out', tmp_path, '--frames', 5)
    assert status == 1
    assert 'leaves none for val' in output


def test_an_interrupted_demo_leaves_no_training_behind_and_goes_on(repository, tmp_path):
    command = [sys.executable, repository / DEMO, '--out', tmp_path, '--frames', '20']
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        for line in process.stdout:
            if line.startswith('train.py'):
                break
        process.send_signal(signal.SIGTERM)
        process.stdout.read()  # ends when nobody writes any more, the training included
    assert process.returncode == 143
    assert not list(tmp_path.rglob('*.partial'))
    status, output = demo(repository, tmp_path)
    assert status == 0, output[-3000:]
