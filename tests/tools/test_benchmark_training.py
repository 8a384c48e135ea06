"""Training steps of several configs: real models, real batches. No assertion is about how long anything takes."""

import json
from pathlib import Path

import pytest
import synthetic_data
import torch
from commands import run

pytest.importorskip('mmseg')

from mmrecall.analysis.benchmark.synthetic_training import LOSSES, MODELS, synthetic_config, why_not
from mmrecall.analysis.benchmark.training_steps import (
    make_config_step,
    make_step,
    measure_steps,
    step_rows,
    steps_markdown,
)

REPOSITORY = Path(__file__).parents[2]
TOOL = REPOSITORY / 'tools/analysis_tools/benchmark_training.py'
CONFIG = 'configs/deeplabv3/deeplabv3_r18w32-d16_1xb8-{}-1k_camvid-180x240.py'
FEW = ['--rounds', '1', '--batches', '1', '--threads', '1']
SMALL = """
_base_ = '{base}'
model = dict(backbone=dict(stem_channels=8, base_channels=8), decode_head=dict(in_channels=64, channels=8))
train_dataloader = dict(batch_size=2)
"""


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    """Folder in which ``data/`` holds a few frames, beside configs with few channels."""
    folder = tmp_path_factory.mktemp('steps')
    synthetic_data.camvid(folder / 'data' / 'CamVid', frames=8, size=(60, 80))
    for loss in ('ce', 'recall', 'weighted-ce'):
        (folder / f'{loss}.py').write_text(SMALL.format(base=REPOSITORY / CONFIG.format(loss)))
    return folder


def test_the_tool_writes_a_row_for_every_config_counts_included(data, tmp_path):
    configs = [data / 'ce.py', data / 'weighted-ce.py']
    status, output = run('python', TOOL, *configs, *FEW, '--class-weights', '--out', tmp_path, cwd=data)
    assert status == 0, output
    ratios = json.loads((tmp_path / 'steps.json').read_text())['ratios']
    assert list(ratios) == [path.stem for path in configs]
    assert ratios['ce'] == 1
    table = (tmp_path / 'steps.md').read_text()
    assert all(path.stem in table and path.stem in output for path in configs)
    assert 'benchmark_training.py' in table
    logging = table.split('| ClassWeightHook, every 50 steps |')[1]
    assert all(path.stem in logging for path in configs)


def test_a_logged_step_writes_a_line_of_every_class_that_the_batch_has(data, tmp_path, monkeypatch):
    monkeypatch.chdir(data)
    make_step(data / 'recall.py', 'cpu', num_batches=1, work_dir=tmp_path, log_classes=True)()
    (file,) = tmp_path.rglob('scalars.json')
    assert any(key.startswith('class_weight/decode_head.loss_decode/') for key in json.loads(file.read_text()))


def test_a_step_trains_the_model(data, tmp_path, monkeypatch):
    monkeypatch.chdir(data)
    step = make_step(data / 'recall.py', 'cpu', num_batches=1, work_dir=tmp_path)
    first, *_, last = [step()['loss'].item() for _ in range(8)]
    assert last < first


@pytest.mark.parametrize(('loss', 'low_resolution'), [('recall', True), ('ce', False)])
def test_a_step_takes_the_loss_as_the_training_of_the_config_does(loss, low_resolution, data, tmp_path, monkeypatch):
    monkeypatch.chdir(data)
    step = make_step(data / f'{loss}.py', 'cpu', num_batches=1, work_dir=tmp_path)
    sizes = []
    register = torch.nn.modules.module.register_module_forward_pre_hook
    handle = register(lambda module, args: sizes.append(args[0].shape[2:]) if 'Loss' in type(module).__name__ else None)
    step()
    handle.remove()
    assert sizes == [(12, 15) if low_resolution else (180, 240)]


def test_every_round_runs_every_step_once_and_the_first_is_not_counted():
    calls = []
    steps = {name: lambda name=name: calls.append(name) for name in 'abc'}
    seconds = measure_steps(steps, rounds=3, device='cpu')
    assert {name: len(found) for name, found in seconds.items()} == dict(a=3, b=3, c=3)
    rounds = [calls[start : start + 3] for start in range(0, 12, 3)]
    assert len(calls) == 12
    assert all(sorted(one) == ['a', 'b', 'c'] for one in rounds)
    assert len(set(map(tuple, rounds))) > 1


def test_ratios_are_to_the_first_config():
    rows = step_rows({'ce': [2.0, 4.0, 8.0], 'recall': [3.0, 2.0, 8.0]})
    assert [row.ratio for row in rows] == [1, 1]
    assert rows[1].round_ratios == pytest.approx((0.6, 1.0, 1.4))
    assert '| recall | 2000 | 1.000 | 1.000 (0.600-1.400) |' in steps_markdown(rows)
    rows = step_rows({'ce': [2.0], 'recall': [3.0]}, dict(recall=3 * 2**20))
    assert steps_markdown(rows).endswith('| 3 |\n')


@pytest.mark.parametrize('loss', [loss for loss in LOSSES if why_not(loss) is None])
def test_a_synthetic_training_needs_no_files(loss, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = synthetic_config('segformer-b0', loss, num_batches=2, batch_size=2, size=(64, 64))
    step = make_config_step(config, loss, 'cpu', 2, tmp_path)
    logs = [step() for _ in range(2)]
    name = 'decode.loss_ce' if loss == 'CrossEntropyLoss' else 'decode.loss_recall'
    assert all(log[name].isfinite() for log in logs)


def test_synthetic_models_have_no_checkpoint_and_no_synchronized_norm():
    for model in MODELS:
        config = synthetic_config(model, 'RecallLoss', 'bfloat16')
        assert config.optim_wrapper.type == 'AmpOptimWrapper'
        text = str(config.model)
        assert 'SyncBN' not in text
        assert 'Pretrained' not in text
        assert 'CrossEntropyLoss' not in text


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['--synthetic', 'vgg'], 'got --synthetic vgg; expected one or more of deeplabv3-r50, segformer-b0'),
        (['ce.py'], 'expected two or more with different names'),
        (['ce.py', 'nowhere.py'], 'nowhere.py'),
        (['ce.py', REPOSITORY / 'configs/_base_/losses/recall.py'], 'no train_dataloader or no optim_wrapper'),
    ],
)
def test_what_cannot_be_measured_is_said(arguments, message, data, tmp_path):
    status, output = run('python', TOOL, *arguments, '--batches', '1', '--out', tmp_path, cwd=data)
    assert status == 1
    assert message in output
    assert 'Traceback' not in output
