"""Kernels that a step starts on a GPU, and the memory that it allocates, counted on a CPU.

Kernels of this package are recorded in place of being run; every other operator that is no view counts as one.
"""

import os
from collections import Counter

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from mmrecall.losses import (
    BalancedSoftmaxLoss,
    LDAMLoss,
    LogitAdjustedLoss,
    RecallLoss,
    WeightedCrossEntropyLoss,
    distributed,
)

interpreter = pytest.importorskip('triton.runtime.interpreter')
pytestmark = pytest.mark.skipif(os.environ.get('TRITON_INTERPRET') != '1', reason='not interpreted')

COUNTS = list(range(19, 0, -1))
LOSSES = {
    'recall': RecallLoss,
    'weighted': lambda: WeightedCrossEntropyLoss('inverse_frequency', class_counts=COUNTS),
    'LDAM': lambda: LDAMLoss(COUNTS),
    'logit adjustment': lambda: LogitAdjustedLoss(COUNTS),
    'balanced softmax': lambda: BalancedSoftmaxLoss(COUNTS),
}
# views, and memory that is not written
WITHOUT_KERNEL = {
    '_unsafe_view',
    'alias',
    'as_strided',
    'detach',
    'empty',
    'empty_like',
    'empty_strided',
    'expand',
    'new_empty',
    'select',
    'slice',
    'split_with_sizes',
    'squeeze',
    't',
    'unsqueeze',
    'view',
}


class Operators(TorchDispatchMode):
    """Counts the operators that start a kernel."""

    def __init__(self):
        super().__init__()
        self.found = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func.namespace != 'mmrecall':
            self.found[func._schema.name.split('::')[1]] += 1
        return func(*args, **(kwargs or {}))

    def started(self):
        """Return the number of kernels; a scalar product takes two."""
        return self.found['dot'] + sum(number for name, number in self.found.items() if name not in WITHOUT_KERNEL)


@pytest.fixture
def launches(monkeypatch):
    """The arguments of every kernel of this package that would be started."""
    found = []

    def record(kernel, *args, grid, warmup, **options):
        found.append((kernel.fn.__name__, [one for one in args if isinstance(one, torch.Tensor)]))

    monkeypatch.setattr(interpreter.InterpretedFunction, 'run', record)
    # one copy of its flag to the host
    monkeypatch.setattr(distributed.LabelCheck, '__call__', lambda *_: None)
    return found


@pytest.fixture
def step(launches):
    """Return the numbers of kernels of a forward and a backward pass."""

    def run(loss, logits, target):
        launches.clear()
        with Operators() as operators:
            value = loss(logits, target, ignore_index=255)
        num_forward = len(launches)
        forward = operators.started() + num_forward
        with Operators() as operators:
            torch.autograd.grad(value, logits)
        return forward, operators.started() + len(launches) - num_forward

    return run


def made(shape, dtype=torch.float32, size=None):
    logits = torch.zeros(shape, dtype=dtype, requires_grad=True)
    return logits, torch.zeros(shape[0], *(size or shape[2:]), dtype=torch.int64)


def gradient(loss, logits, target):
    return torch.autograd.grad(loss(logits, target, ignore_index=255), logits)[0]


def allocations(loss, logits, target):
    """Bytes of every tensor that is allocated, and the most at a time, in a step after a first one."""
    gradient(loss, logits, target)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        gradient(loss, logits, target)
    sizes = [event.nbytes() for event in profile.profiler.kineto_results.events() if event.name() == '[memory]']
    now = most = 0
    for size in sizes:
        now += size
        most = max(most, now)
    return [size for size in sizes if size > 0], most


@pytest.mark.parametrize('upsample', [None, 'bilinear'])
@pytest.mark.parametrize('name', LOSSES)
def test_a_step_starts_at_most_twelve_kernels_and_four_backward(name, upsample, step):
    loss = LOSSES[name]()
    loss.upsample = upsample
    logits, target = made((2, 19, 8, 8), size=(32, 32) if upsample else None)
    # tables of weights, margins and offsets are made with the first batch
    step(loss, logits, target)
    forward, backward = step(loss, logits, target)
    assert forward <= 12
    assert backward <= 4


@pytest.mark.parametrize('shape', [(2, 19, 128, 128), (128, 365)])
def test_the_logits_are_read_twice_and_the_gradient_written_once(shape, launches):
    logits, target = made(shape)
    written = gradient(RecallLoss(), logits, target)
    kind = 'dense' if len(shape) > 2 else 'row'
    assert kernels_of(logits, launches) == [f'{kind}_forward', f'{kind}_backward']
    assert kernels_of(written, launches) == [f'{kind}_backward']


def kernels_of(tensor, launches):
    """Names of the kernels that were given the memory of a tensor."""
    return [name for name, tensors in launches if any(one.data_ptr() == tensor.data_ptr() for one in tensors)]


@pytest.mark.usefixtures('launches')
@pytest.mark.parametrize(('dtype', 'most'), [(torch.float32, 1.1), (torch.bfloat16, 1.15)])
@pytest.mark.parametrize('name', LOSSES)
def test_memory_is_that_of_the_gradient_and_of_a_float_per_sample(name, dtype, most):
    logits, target = made((2, 19, 256, 256), dtype)
    _, peak = allocations(LOSSES[name](), logits, target)
    assert peak <= most * logits.nbytes


@pytest.mark.usefixtures('launches')
@pytest.mark.parametrize('name', LOSSES)
def test_low_resolution_logits_need_no_map_of_full_size_but_a_float_per_pixel(name):
    logits, target = made((2, 19, 16, 16), size=(256, 256))
    loss = LOSSES[name]()
    loss.upsample = 'bilinear'
    sizes, _ = allocations(loss, logits, target)
    log_sum_exp, corners = 4 * target.numel(), 4 * 4 * logits.numel()
    assert sorted(size for size in sizes if size > log_sum_exp / 4) == sorted([log_sum_exp, corners])
