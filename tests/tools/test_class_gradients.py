"""The tool as a user calls it."""

import argparse
import csv

import cv2
import pytest
import torch
from commands import run
from small_training import small_camvid

CONFIG = 'configs/deeplabv3/deeplabv3_r18w32-d16_1xb8-{}-1k_camvid-180x240.py'
TOOL = 'tools/analysis_tools/class_gradients.py'


def small_config(config_path, options):
    from mmengine.config import Config, DictAction

    parser = argparse.ArgumentParser()
    parser.add_argument('--options', nargs='+', action=DictAction)
    config = Config.fromfile(config_path)
    config.merge_from_dict(parser.parse_args(['--options', *options]).options)
    return config


def checkpoint_of(config, path):
    """Weights as they are before a training."""
    from mmengine.registry import MODELS, init_default_scope

    init_default_scope(config.default_scope)
    torch.save(dict(state_dict=MODELS.build(config.model).state_dict()), path)


def test_losses_of_several_configs_are_compared_on_the_logits_of_one(repository, tmp_path):
    pytest.importorskip('mmseg')
    config = repository / CONFIG.format('ce')
    options = small_camvid(tmp_path / 'camvid')
    checkpoint_of(small_config(config, options), tmp_path / 'net.pth')
    status, output = run(
        'python', repository / TOOL, config, tmp_path / 'net.pth', '--out', tmp_path / 'out',
        '--compare', *(repository / CONFIG.format(loss) for loss in ('weighted-ce', 'recall-ema0.1')),
        '--cfg-options', *options,
    )  # fmt: skip
    assert status == 0, output
    assert 'recall-ema0.1: decode_head.loss_decode.recall is not in the checkpoint' in output
    with open(tmp_path / 'out' / 'gradients.csv', newline='') as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 3 * 11
    by_loss = {loss: [row for row in rows if row['loss'] == loss] for loss in ('ce', 'weighted-ce', 'recall-ema0.1')}
    for found in by_loss.values():
        up, down = (sum(float(row[f'{term}_gradient_share']) for row in found) for term in ('positive', 'negative'))
        assert up == pytest.approx(0.5, abs=1e-4)
        assert down == pytest.approx(0.5, abs=1e-4)
    sky = by_loss['ce'][0]
    (line, *_) = (line for line in output.splitlines() if line.split()[:1] == ['Sky'])
    assert line.split()[1:4] == [
        f'{100 * float(sky[key]):.1f}' for key in ('share', 'recall', 'positive_gradient_share')
    ]
    assert cv2.imread(str(tmp_path / 'out' / 'gradients.png')) is not None
    assert (tmp_path / 'out' / 'gradients.svg').is_file()


def test_a_list_of_losses_has_the_gradient_of_their_sum_and_takes_its_state_from_the_checkpoint(repository, tmp_path):
    pytest.importorskip('mmseg')
    from mmengine.config import Config

    from mmrecall.analysis.gradients.comparison import GradientComparison

    config = small_config(repository / CONFIG.format('ce'), small_camvid(tmp_path / 'camvid'))
    checkpoint_of(config, tmp_path / 'net.pth')
    running = dict(type='mmrecall.RecallLoss', alpha=0.5, num_classes=11, loss_weight=2.0)
    losses = {'once': dict(type='CrossEntropyLoss'), 'running': running}
    losses['both'] = [losses['once'], running]
    for name, loss in losses.items():
        config.model.decode_head.loss_decode = loss
        config.dump(tmp_path / f'{name}.py')
    state = torch.load(tmp_path / 'net.pth')['state_dict']
    recall = torch.linspace(0, 1, 11)
    for name in ('decode_head.loss_decode.recall', 'decode_head.loss_decode.1.recall'):
        state[name] = recall
    torch.save(state, tmp_path / 'net.pth')
    first, *others = (Config.fromfile(tmp_path / f'{name}.py') for name in losses)
    comparison = GradientComparison(first, tmp_path / 'net.pth', others)
    assert comparison.fresh == {name: [] for name in losses}
    gradients = comparison.measure().gradients
    for term in ('positive', 'negative'):
        once, alone, both = (getattr(gradients[name], term) for name in losses)
        torch.testing.assert_close(both, once + alone, rtol=1e-4, atol=1e-7)
        assert alone.abs().sum() > 0


def test_a_missing_checkpoint_is_said_in_one_line(repository, tmp_path):
    pytest.importorskip('mmseg')
    config = repository / CONFIG.format('ce')
    status, output = run('python', repository / TOOL, config, tmp_path / 'net.pth', '--out', tmp_path / 'out')
    assert status == 1
    assert f'the checkpoint {tmp_path / "net.pth"} is missing' in output
    assert 'Traceback' not in output
    assert not (tmp_path / 'out').exists()
