"""The commands read weights and logs, and run nothing that a checkpoint holds."""

import argparse
import datetime
import functools
import io
import os
import pickle
import re
from collections import Counter, OrderedDict, defaultdict
from itertools import product

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

from mmrecall.engine.weights_only import _KNOWN, TRUST, _unpickler_of, load_known, load_weights_only


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
    'functools.partial': lambda marker: functools.partial(os.system, f'touch {marker}'),
    'eval': lambda marker: Calls(eval, f'open({str(marker)!r}, "w")'),
    'a defaultdict of a function': lambda marker: defaultdict(functools.partial(os.system, f'touch {marker}')),
}


@pytest.mark.parametrize('way', HOSTILE)
def test_what_is_neither_weights_nor_logs_is_refused_and_not_run(way, tmp_path):
    marker, path = tmp_path / 'marker', tmp_path / 'epoch_1.pth'
    content = dict(state_dict={}, meta=HOSTILE[way](marker))
    # as an archive and in the old format; the last options are mmengine's last resort
    for archive, options in product((True, False), (dict(), dict(pickle_module=pickle), dict(weights_only=False))):
        torch.save(content, path, _use_new_zipfile_serialization=archive)
        for source in (path, io.BytesIO(path.read_bytes())):
            with pytest.raises((ValueError, TypeError), match=r'neither weights|of type|not callable'):
                torch.load(source, map_location='cpu', **options)
    assert not marker.exists()


REFUSED = """
    os.system posix.system subprocess.Popen builtins.eval builtins.exec builtins.compile builtins.open builtins.type
    builtins.__import__ builtins.object builtins.setattr builtins.map __builtin__.file functools.partial
    functools.reduce operator.attrgetter operator.methodcaller types.FunctionType types.CodeType importlib.import_module
    pickle.loads copyreg._reconstructor copyreg.__newobj__ copyreg.__reduce_ex__ copy_reg._reconstructor
    zoneinfo.ZoneInfo numpy.load numpy.memmap numpy.frombuffer numpy.void numpy.object_ numpy.core.multiarray.fromfile
    torch.load torch.serialization.load torch.hub.load torch.storage._load_from_bytes torch.storage.TypedStorage
    torch.jit.load torch.ops torch.Tensor torch._utils._import_dotted_name torch._utils._set_obj_state
    torch._utils._rebuild_wrapper_subclass torch._utils._rebuild_device_tensor_from_numpy
    torch._tensor._rebuild_from_type_v2 collections.OrderedDict.fromkeys argparse.Namespace.__init__
    datetime.datetime.strptime
"""


@pytest.mark.parametrize('path', REFUSED.split())
def test_what_could_run_code_or_read_files_is_refused_by_its_name(path):
    # With a name of several parts, pickle takes an attribute of an attribute.
    parts = path.split('.')
    for number in range(1, len(parts)):
        module, name = '.'.join(parts[:number]), '.'.join(parts[number:])
        match = re.escape(f'holds {path}, which is neither weights')
        with pytest.raises(ValueError, match=match):
            unpickled(f'c{module}\n{name}\n'.encode())


# the opcodes of: (None, {'mark': 1}) and {'mark': 1}
@pytest.mark.parametrize('state', [b'(Nd\x8c\x04markK\x01st', b'}\x8c\x04markK\x01s'], ids=['slots', 'attributes'])
def test_a_pickle_cannot_set_attributes_of_what_it_may_name(state):
    def is_set(module, name):
        try:
            unpickled(f'c{module}\n{name}\n'.encode() + state + b'b')
        except (pickle.UnpicklingError, AttributeError, TypeError):
            return False
        return True

    assert [names for names in sorted(_KNOWN) if is_set(*names)] == []


def unpickled(opcodes):
    return _unpickler_of('epoch_1.pth')(io.BytesIO(b'\x80\x04' + opcodes + b'.')).load()


def test_a_pickle_chooses_no_allocator_of_a_storage():
    # the opcodes of: torch.UntypedStorage, (8,), {'allocator': 7}, a new object of them
    name = b'ctorch\nUntypedStorage\n'
    assert not isinstance(unpickled(name + b'K\x08\x85}\x8c\tallocatorK\x07s\x92'), torch.UntypedStorage)


def test_getattr_of_a_log_gets_nothing(tmp_path):
    path = saved(tmp_path / 'epoch_1.pth', meta=Calls(getattr, int, 'from_bytes'))
    assert torch.load(path)['meta'] is None


def test_a_defaultdict_of_what_is_no_plain_class_is_refused(tmp_path):
    path = saved(tmp_path / 'epoch_1.pth', meta=defaultdict(getattr))
    with pytest.raises(ValueError, match=r'a defaultdict of .*; expected the class of a plain value'):
        torch.load(path)


@pytest.mark.parametrize('name', ['data', 'grad', 'requires_grad_', '_backward_hooks', '__class__'])
def test_a_parameter_keeps_its_attributes(name, tmp_path):
    state = Calls(torch._utils._rebuild_parameter_with_state, torch.ones(1), True, OrderedDict(), {name: None})
    with pytest.raises(pickle.UnpicklingError, match=f"it would change .*'{name}'.* of a parameter"):
        torch.load(saved(tmp_path / 'epoch_1.pth', meta=state))


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
        assert isinstance(log, HistoryBuffer)
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


def tagged_parameter():
    parameter = nn.Parameter(torch.ones(2))
    parameter.tag = 'scale'
    return parameter


ALLOWED = {
    'untyped storage': torch.UntypedStorage([1, 2, 3]),
    'typed storage': torch.storage.TypedStorage([0.0, 1.0], dtype=torch.float32),
    'tensor of unsigned integers': torch.arange(3).to(getattr(torch, 'uint16', torch.uint8)),
    'parameter with an attribute': tagged_parameter(),
    'bytearray': bytearray(b'ab\xff'),
    'empty bytearray': bytearray(),
    'date': datetime.date(2026, 1, 2),
    'datetime': datetime.datetime(2026, 1, 2, 3, 4, 5, 6),
    'datetime with a time zone': datetime.datetime(2026, 1, 2, tzinfo=datetime.timezone(datetime.timedelta(hours=2))),
    'time': datetime.time(1, 2),
    'timedelta': datetime.timedelta(days=1, seconds=2),
    'arguments': argparse.Namespace(lr=0.1, config=[1]),
    'no arguments': argparse.Namespace(),
    'counter': Counter(a=2),
    'complex': 1 + 2j,
    **{f'defaultdict of {kind}': defaultdict(kind, a=1) for kind in (None, int, float, list, dict, set, OrderedDict)},
    'nested defaultdict': defaultdict(dict, a=defaultdict(list, b=[1])),
    **{f'scalar of {kind}': np.dtype(kind).type(1) for kind in ('bool', 'i2', 'u8', 'f2', 'f4', 'f8', 'c8', 'U3')},
    **{f'type of {kind}': np.dtype(kind) for kind in ('bool', 'i2', '>i4', 'u8', 'f4', 'U3')},
    **{f'class {kind.__name__}': kind for kind in np.ScalarType if issubclass(kind, (np.number, np.bool_))},
}


# PyTorch itself reads none in its old format.
ARCHIVES_ALONE = ('untyped storage', 'tensor of unsigned integers')


@pytest.mark.parametrize('name', ALLOWED)
def test_harmless_objects_are_read_as_they_were_and_can_be_saved_again(name, tmp_path):
    found = value = ALLOWED[name]
    for archive in (True, True, *[False] * (name not in ARCHIVES_ALONE)):
        torch.save(dict(value=found), tmp_path / 'one.pth', _use_new_zipfile_serialization=archive)
        assert b'mmrecall' not in (tmp_path / 'one.pth').read_bytes()
        found = torch.load(tmp_path / 'one.pth')['value']
        if torch.is_storage(value):
            # PyTorch returns a typed one of either
            assert list(found) == list(value)
        elif torch.is_tensor(value):
            torch.testing.assert_close(found, value, rtol=0, atol=0)
            assert vars(found) == vars(value)
        else:
            assert value == found
            assert getattr(found, 'default_factory', 7) is getattr(value, 'default_factory', 7)
    if not name.startswith('type of'):
        assert torch.is_storage(value) or type(found) is type(value)
    else:
        assert np.zeros(1, found).dtype == value


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


def test_an_array_is_built_once():
    # The opcodes of: an array of 2x8 numbers, the list of its rows, which are views of it, and the array built again.
    dtype = b'cnumpy\ndtype\n(\x8c\x02i8tR'

    def state(rows, columns):
        data = bytes(8 * rows * columns)
        return b'(K\x01(K%cK%ct' % (rows, columns) + dtype + b'I00\nC%c' % len(data) + data + b't'

    array = b'cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\x00tC\x01btR\x94' + state(2, 8) + b'b'
    assert unpickled(array).shape == (2, 8)
    with pytest.raises(pickle.UnpicklingError, match='it would change an array'):
        unpickled(array + b'cbuiltins\nlist\n(h\x00tR0h\x00' + state(1, 1) + b'b')


def test_the_methods_of_all_logs_are_not_those_of_a_pickle():
    # The opcodes of: a log, built twice, the second time with another method.
    log = b'cmmengine.logging.history_buffer\nHistoryBuffer\n)\x81}b}\x8c\x12statistics_methods}\x8c\x04mean'
    unpickled(log + b'cbuiltins\ngetattr\nssb')
    assert HistoryBuffer([1.0, 2.0], [1, 1]).statistics('mean') == 1.5


@pytest.mark.parametrize('empty', [b'', np.zeros(0, np.float32), np.zeros((0, 3), np.int64)], ids=repr)
def test_empty_bytes_and_arrays_are_read(empty, tmp_path):
    found = torch.load(saved(tmp_path / 'epoch_1.pth', meta=empty))['meta']
    assert (type(found) is bytes, len(found)) == (type(empty) is bytes, 0)
