"""Checkpoints and their configs are read without running what they hold."""

import io
import os
import pickle
import random
import subprocess

import numpy as np
import pytest
import torch
from torch import nn

pytest.importorskip('mmengine')
from mmengine.config import Config
from mmengine.logging import MessageHub

from mmrecall.io import Placeholder, SafeUnpickler, check_intact, read_checkpoint, read_literals


class Malicious:
    """Unpickling calls a function with arguments; that of the safe reader must not."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def marking(marker):
    """Ways to run a command, each of which makes a file."""
    return {
        'os.system': Malicious(os.system, f'touch {marker}'),
        'subprocess': Malicious(subprocess.call, ['touch', str(marker)]),
        'eval': Malicious(eval, f'open({str(marker)!r}, "w")'),
        'getattr': Malicious(getattr, Malicious(os.system, f'touch {marker}'), 'real'),
        'a pickle in a storage': Malicious(
            torch.storage._load_from_bytes, saved(Malicious(os.system, f'touch {marker}'))
        ),
    }


def saved(content, **options):
    buffer = io.BytesIO()
    torch.save(content, buffer, **options)
    return buffer.getvalue()


WAYS = ['os.system', 'subprocess', 'eval', 'getattr', 'a pickle in a storage']


@pytest.mark.parametrize('archive', [True, False], ids=['archive', 'old format'])
@pytest.mark.parametrize('way', WAYS)
def test_nothing_in_a_checkpoint_is_run(way, archive, tmp_path):
    marker, path = tmp_path / 'marker', tmp_path / 'epoch_1.pth'
    bad = marking(marker)[way]
    content = dict(meta=bad, message_hub=dict(log=[bad]), state_dict=dict(weight=torch.ones(2)))
    path.write_bytes(saved(content, _use_new_zipfile_serialization=archive))
    found = read_checkpoint(path)
    assert not marker.exists()
    assert isinstance(found['meta'], Placeholder)
    assert torch.equal(found['state_dict']['weight'], torch.ones(2))
    # the file is dangerous indeed: what the safe reader is for
    torch.load(path, weights_only=False)
    assert marker.exists()


@pytest.mark.parametrize('known', ['torch._utils _rebuild_tensor_v2', 'torch Size', 'collections OrderedDict'])
def test_a_pickle_cannot_set_attributes_of_what_it_may_call(known):
    # the opcodes of: known, (None, {'mark': 1}), build
    for state in (b'(Nd\x8c\x04markK\x01st', b'}\x8c\x04markK\x01s'):
        with pytest.raises((pickle.UnpicklingError, AttributeError, TypeError)):
            SafeUnpickler(io.BytesIO(b'\x80\x04c' + known.replace(' ', '\n').encode() + b'\n' + state + b'b.')).load()
    assert not hasattr(torch._utils._rebuild_tensor_v2, 'mark')


@pytest.mark.parametrize('name', ['UntypedStorage', 'TypedStorage'])
def test_a_pickle_cannot_reach_the_storage_classes(name):
    content = f'\x80\x04ctorch.storage\n{name}\n.'.encode('latin1')
    assert issubclass(SafeUnpickler(io.BytesIO(content)).load(), Placeholder)


def test_weights_are_those_that_torch_loads(tmp_path):
    model = nn.Sequential(nn.Conv2d(2, 3, 1), nn.BatchNorm2d(3)).half()
    shared = torch.arange(6.0).reshape(2, 3)
    state = dict(a=shared, b=shared[1], c=shared.T, d=nn.Parameter(torch.ones(1)), e=torch.tensor([True]))
    content = dict(state_dict=model.state_dict(), others=state, size=torch.Size([2]), dtype=torch.bfloat16)
    for archive in (True, False):
        torch.save(content, tmp_path / 'weights.pth', _use_new_zipfile_serialization=archive)
        found = read_checkpoint(tmp_path / 'weights.pth')
        expected = torch.load(tmp_path / 'weights.pth', weights_only=False)
        assert list(found['state_dict']) == list(expected['state_dict'])
        assert found['state_dict']._metadata == expected['state_dict']._metadata
        for part in ('state_dict', 'others'):
            for name, value in expected[part].items():
                assert torch.equal(found[part][name], value)
                assert found[part][name].dtype == value.dtype
        assert (found['size'], found['dtype']) == (torch.Size([2]), torch.bfloat16)


def test_logs_of_mmengine_and_arrays_do_no_harm(tmp_path):
    hub = MessageHub('of a test of checkpoints')
    hub.update_scalar('train/loss', 0.5)
    torch.save(dict(message_hub=hub.state_dict(), array=np.ones(3), state_dict={}), tmp_path / 'epoch_1.pth')
    found = read_checkpoint(tmp_path / 'epoch_1.pth')
    assert isinstance(found['array'], Placeholder)
    assert isinstance(found['message_hub']['log_scalars']['train/loss'], Placeholder)


@pytest.mark.parametrize('content', [b'', b'no checkpoint', saved(dict(a=torch.ones(999)))[:700], pickle.dumps(7)])
def test_what_is_no_checkpoint_is_named(content, tmp_path):
    (tmp_path / 'epoch_1.pth').write_bytes(content)
    with pytest.raises(ValueError, match=r'epoch_1\.pth cannot be read as a checkpoint'):
        read_checkpoint(tmp_path / 'epoch_1.pth')


def test_a_damaged_weight_is_not_read(tmp_path):
    torch.save(dict(state_dict=dict(weight=torch.full((99,), 0.3))), tmp_path / 'epoch_1.pth')
    data = (tmp_path / 'epoch_1.pth').read_bytes()
    (tmp_path / 'epoch_1.pth').write_bytes(data.replace(torch.tensor(0.3).numpy().tobytes(), bytes(4), 1))
    with pytest.raises(ValueError, match=r'epoch_1\.pth cannot be read as a checkpoint \(.*the checksum'):
        read_checkpoint(tmp_path / 'epoch_1.pth')


def test_any_flipped_bit_is_named_or_does_no_harm(tmp_path):
    path, moments = tmp_path / 'epoch_1.pth', random.Random(0)
    state = {f'weight{number}': torch.full((3,), number + 0.5) for number in range(12)}
    torch.save(dict(state_dict=state), path)
    data = path.read_bytes()
    harmless = 0
    for _ in range(1500):
        position = moments.randrange(len(data))
        path.write_bytes(data[:position] + bytes([data[position] ^ 1 << moments.randrange(8)]) + data[position + 1 :])
        try:
            check_intact(path)
        except ValueError:
            continue
        # in what aligns the parts, or in a date
        found = torch.load(path)['state_dict']
        assert all(found[name].equal(value) for name, value in state.items()), position
        harmless += 1
    assert 0 < harmless < 1000


def test_a_list_and_a_compiled_model_are_no_checkpoints(tmp_path):
    torch.save([1], tmp_path / 'list.pth')
    with pytest.raises(ValueError, match=r'list\.pth holds a list; a checkpoint is a dict'):
        read_checkpoint(tmp_path / 'list.pth')
    torch.jit.script(nn.ReLU()).save(tmp_path / 'script.pth')
    with pytest.raises(ValueError, match=r'script\.pth cannot be read.*TorchScript'):
        read_checkpoint(tmp_path / 'script.pth')


def test_a_missing_file_is_named_and_an_address_is_to_be_downloaded(tmp_path):
    with pytest.raises(FileNotFoundError, match=r'nowhere\.pth is missing$'):
        read_checkpoint(tmp_path / 'nowhere.pth')
    with pytest.raises(FileNotFoundError, match=r'https://nowhere/a\.pth is missing; download it first'):
        read_checkpoint('https://nowhere/a.pth')


def test_a_config_is_read_as_mmengine_reads_it():
    config = Config(
        dict(
            a=None, b=[1, -2.5, 'text', True], c=dict(type='A', d=(1, 2), e={'with space': 3}),
            g={'1': dict(h=-1)}, i='two\nlines',
        )
    )  # fmt: skip
    text = config.pretty_text
    assert read_literals(text, 'a.pth') == Config.fromstring(text, '.py').to_dict()


def test_names_of_classes_and_infinite_numbers_are_read_where_that_is_asked_for():
    # as the maintained fork of mmengine saves a config with classes
    text = 'a = dict(type=torch.nn.modules.activation.GELU)\nb = [inf, -inf, dict]'
    assert read_literals(text, 'a.pth', names=True) == dict(
        a=dict(type='torch.nn.modules.activation.GELU'), b=[float('inf'), -float('inf'), 'dict']
    )
    for call in ('a = open("x", "w")', 'a = __import__("os").name', 'a = [b for b in c]'):
        with pytest.raises(ValueError, match='is not made of plain values'):
            read_literals(call, 'a.pth', names=True)


@pytest.mark.parametrize(
    'text',
    [
        'import os',
        'a = open("x", "w")',
        'a = [__import__("os").system("true")]',
        'a = dict(b=dict.fromkeys([1]))',
        'a = {x: 1 for x in (1,)}',
        'a = b',
        'a: int = 1',
        'a.b = 1',
        'a =',
        'a = {[]: 1}',
        'a = float("x")',
        'a = ' + '[' * 2000 + ']' * 2000,
    ],
)
def test_a_config_that_would_run_something_is_refused(text):
    with pytest.raises(ValueError, match=r'the config in epoch_1\.pth is not made of plain values'):
        read_literals(text, 'epoch_1.pth')
