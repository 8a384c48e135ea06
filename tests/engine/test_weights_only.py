"""The commands read weights and logs, and run nothing that a checkpoint holds."""

import io
import os
import pickle
import re

import numpy as np
import pytest
import torch
from commands import run
from mmengine.config import Config
from mmengine.logging import HistoryBuffer, MessageHub
from mmengine.optim import MultiStepLR
from mmengine.runner import Runner
from small_training import small_camvid
from torch import nn

from mmrecall.engine.weights_only import TRUST, load_known, load_weights_only


@pytest.fixture(autouse=True)
def safe(monkeypatch):
    """As in a command, and back after the test."""
    for module in (torch, torch.serialization):
        monkeypatch.setattr(module, 'load', torch.load)
    load_weights_only()


class Calls:
    """Unpickling calls a function."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def saved(path, **content):
    torch.save(dict(state_dict=dict(weight=torch.ones(2)), **content), path)
    return path


def history(marker):
    """A log whose methods are those of an attacker."""
    log = HistoryBuffer([1.0], [1])
    log._statistics_methods = dict(mean=Calls(os.system, f'touch {marker}'))
    return log


HOSTILE = {
    'os.system': lambda marker: Calls(os.system, f'touch {marker}'),
    'in a log': history,
    'in an array': lambda marker: np.array([Calls(os.system, f'touch {marker}')], dtype=object),
    'numpy.ndarray of pointers': lambda marker: Calls(np.ndarray, (1,), 'O', bytes(8)),
    'a type of pointers': lambda marker: np.dtype('O'),
    'getattr': lambda marker: Calls(getattr, Calls(os.system, f'touch {marker}'), 'real'),
    'a pickle in a storage': lambda marker: Calls(torch.storage._load_from_bytes, b'x'),
    'an object of another class': lambda marker: Runner,
}


@pytest.mark.parametrize('archive', [True, False], ids=['archive', 'old format'])
@pytest.mark.parametrize('way', HOSTILE)
def test_what_is_neither_weights_nor_logs_is_refused_and_not_run(way, archive, tmp_path):
    marker, path = tmp_path / 'marker', tmp_path / 'epoch_1.pth'
    content = dict(state_dict={}, meta=HOSTILE[way](marker))
    torch.save(content, path, _use_new_zipfile_serialization=archive)
    # the last is mmengine's last resort
    for options in (dict(), dict(pickle_module=pickle), dict(weights_only=False)):
        for source in (path, io.BytesIO(path.read_bytes())):
            with pytest.raises((ValueError, TypeError), match=r'neither weights|of type|not callable'):
                torch.load(source, map_location='cpu', **options)
    assert not marker.exists()


def test_the_object_is_named_with_what_to_do(tmp_path):
    path = saved(tmp_path / 'epoch_1.pth', meta=Calls(os.system, 'true'))
    match = (
        r'epoch_1\.pth holds posix\.system, which is neither weights .*; nothing was run\..* add --trust-checkpoints'
    )
    with pytest.raises(ValueError, match=match):
        torch.load(path)


def test_a_program_of_torchscript_is_refused(tmp_path):
    torch.jit.script(nn.ReLU()).save(tmp_path / 'script.pth')
    for source in (tmp_path / 'script.pth', io.BytesIO((tmp_path / 'script.pth').read_bytes())):
        with pytest.raises(ValueError, match='TorchScript'):
            torch.load(source)


def test_a_config_that_mmengine_would_run_at_a_resume_is_left_out(tmp_path):
    path = saved(tmp_path / 'epoch_1.pth', meta=dict(config='import os\nos.system("true")', cfg='a = 1'))
    assert torch.load(path)['meta'] == dict(cfg='a = 1')


def test_a_damaged_weight_is_named(tmp_path):
    path = saved(tmp_path / 'epoch_1.pth')
    path.write_bytes(path.read_bytes().replace(torch.ones(2).numpy().tobytes(), bytes(8)))
    with pytest.raises(ValueError, match=r'epoch_1\.pth is damaged'):
        torch.load(path)


ARRAYS = [
    np.arange(6.0).reshape(2, 3).T,
    np.array([True]),
    np.array(['ab', 'c']),
    np.arange(3, dtype='i2'),
    np.ones(()),
]


def test_what_mmengine_saves_is_read_as_it_was_and_can_be_saved_again(tmp_path):
    hub = MessageHub('of a test of weights only')
    for value in (0.5, 0.25):
        hub.update_scalar('train/loss', value)
    hub.update_info('best_score', np.float64(0.7))
    optimizer = torch.optim.AdamW(nn.Linear(2, 3).parameters())
    content = dict(message_hub=hub.state_dict(), arrays=ARRAYS, optimizer=optimizer.state_dict(), names={'a', 'b'})
    torch.save(content, tmp_path / 'one.pth')
    # what was read, saved and read again
    torch.save(torch.load(tmp_path / 'one.pth'), tmp_path / 'two.pth')
    for name in ('one.pth', 'two.pth'):
        found = torch.load(tmp_path / name)
        log = found['message_hub']['log_scalars']['train/loss']
        assert type(log) is HistoryBuffer
        assert (log.mean(), log.statistics('min'), log.data[0].tolist()) == (0.375, 0.25, [0.5, 0.25])
        log.update(1.0)
        assert found['message_hub']['runtime_info']['best_score'] == 0.7
        for array, expected in zip(found['arrays'], ARRAYS, strict=True):
            np.testing.assert_array_equal(array, expected)
            assert array.dtype == expected.dtype
        assert found['names'] == {'a', 'b'}
        optimizer.load_state_dict(found['optimizer'])
    # as pickle reads it, no class of ours is in it
    assert b'mmrecall' not in (tmp_path / 'two.pth').read_bytes()


def test_a_schedule_by_milestones_and_nested_options_of_a_config_are_read_and_can_be_saved_again(tmp_path):
    optimizer = torch.optim.SGD(nn.Linear(2, 3).parameters(), lr=0.1)
    schedule = MultiStepLR(optimizer, milestones=[2, 3]).state_dict()
    options = Config(dict(metainfo=dict(colors=[dict(road=(1, 2, 3))]))).metainfo
    torch.save(dict(schedule=schedule, options=options), tmp_path / 'one.pth')
    torch.save(torch.load(tmp_path / 'one.pth'), tmp_path / 'two.pth')
    for name in ('one.pth', 'two.pth'):
        assert torch.load(tmp_path / name) == dict(schedule=schedule, options=options.to_dict())
    assert b'mmrecall' not in (tmp_path / 'two.pth').read_bytes()


def test_other_code_of_the_process_calls_the_same_reader():
    assert torch.load is torch.serialization.load is load_known


CONFIG = 'deeplabv3_r18w32-d16_1xb8-recall-ema0.1-1k_camvid-180x240.py'


@pytest.mark.parametrize('way', ['test.py', 'train.py'])
def test_the_commands_do_not_run_a_checkpoint_but_with_the_flag(way, repository, tmp_path):
    pytest.importorskip('mmseg')
    marker = tmp_path / 'marker'
    path = saved(tmp_path / 'iter_1.pth', meta=Calls(exec, f'open({str(marker)!r}, "w")\nraise SystemExit(7)'))
    words = [repository / 'tools' / way, repository / 'configs' / 'deeplabv3' / CONFIG]
    words += [path] if way == 'test.py' else ['--resume']
    words += ['--work-dir', tmp_path / 'work', '--cfg-options', *small_camvid(tmp_path / 'camvid'), f'load_from={path}']
    status, output = run('python', *words)
    assert (status, marker.exists()) == (1, False)
    assert re.search(rf'{path} holds \w+\.exec, which is neither weights', output)
    if way == 'test.py':
        assert run('python', *words, TRUST)[0] == 7
        assert marker.exists()
