"""The demo of segmentation, with few scenes and few iterations."""

import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from commands import run

pytest.importorskip('mmseg')

REPOSITORY = Path(__file__).parents[2]
DEMO = 'tools/demo/segmentation.py'


def demo(out):
    return run(
        'python', REPOSITORY / DEMO, '--out', out, '--frames', 20, '--iterations', 2,
        timeout=500, CUDA_VISIBLE_DEVICES='-1',
    )  # fmt: skip


@pytest.fixture(scope='module')
def interrupted(tmp_path_factory):
    """Return folder and exit status of a demo that was stopped in its first training, after its processes ended."""
    out = tmp_path_factory.mktemp('demo')
    command = [sys.executable, REPOSITORY / DEMO, '--out', out, '--frames', '20']
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        for line in process.stdout:
            if line.startswith('train.py'):
                break
        process.send_signal(signal.SIGTERM)
        process.stdout.read()  # ends when the demo and its training have ended
    assert not list(out.rglob('*.partial'))
    return out, process.returncode


@pytest.fixture(scope='module')
def finished(interrupted):
    """Return folder and output of a demo that resumed the interrupted one."""
    out, _ = interrupted
    status, output = demo(out)
    assert status == 0, output[-3000:]
    return out, output


def test_an_interrupted_demo_leaves_no_training_behind_and_goes_on(interrupted, finished):
    assert interrupted[1] == 143
    assert (finished[0] / 'demo-seed0.png').is_file()


def test_demo_trains_both_losses_and_reuses_what_is_there(finished):
    out, output = finished
    assert len(re.findall(r'2 iterations in', output)) == 2
    # the means in the table are those that the metric of mmseg prints
    mean = re.search(r'mean +([\d.]+) +([\d.]+) +[+-][\d.]+ +([\d.]+) +([\d.]+)', output)
    stock = re.findall(r'Iter\(test\).*mIoU: ([\d.]+)  mAcc: ([\d.]+)', output)
    expected = [stock[0][1], stock[1][1], stock[0][0], stock[1][0]]
    assert [float(value) for value in mean.groups()] == pytest.approx([float(value) for value in expected], abs=0.06)
    again, output = demo(out)
    assert again == 0
    assert 'train.py' not in output
    assert mean.group() in output


def test_too_few_scenes_are_named(tmp_path):
    status, output = run('python', REPOSITORY / DEMO, '--out', tmp_path, '--frames', 5)
    assert status == 1
    assert 'leaves none for val' in output
