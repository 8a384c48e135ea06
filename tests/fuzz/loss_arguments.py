"""Fuzzing of all losses with any arguments: an error that names one of them, or a result fit for training.

python tests/fuzz/loss_arguments.py --minutes 10
"""

import copy
import inspect
import math
import sys
import traceback
from functools import cache
from numbers import Real
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from mmrecall.functional.backends import binary, cpu
from mmrecall.losses import ClassCounts
from mmrecall.losses.base import BaseLoss
from mmrecall.registry import MODELS

# pytest has this folder on its path, a run as a script does not
sys.path.append(str(Path(__file__).parents[1] / 'losses'))
import every_loss

LOSSES = sorted(
    {cls for cls in MODELS.module_dict.values() if issubclass(cls, BaseLoss)},
    key=lambda cls: cls.__name__,
)
REFUSE_SOFT_LABELS = {every_loss.LOSSES[name][0] for name in every_loss.WITHOUT_SOFT_LABELS}
CLASSES = range(2, 6)
NAMES = ('road', 'car', 'pole', 'tree', 'sky')
INTEGERS = [torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64]
FLOATS = [torch.float16, torch.bfloat16, torch.float32, torch.float64]
NO_FLOATS = [torch.int64, torch.uint8, torch.bool, torch.complex64]
NO_FLOATS += [getattr(torch, name) for name in ('float8_e4m3fn', 'float8_e5m2') if hasattr(torch, name)]
NO_NUMBERS = [None, '', '1', 'all', b'1', [], [1], (), {}, {0: 1}, {'road': 'wide'}, 1j, len, float('nan')]
NO_LISTS = [
    [float('nan')] * 3,
    [-1, 1, 1],
    [0, 0, 0],
    ['a', 'b'],
    [[1, 2], [3, 4]],
    [None, 1],
    [10**30, 1, 1],
    (1, 'x'),
]
EDGES = [float('inf'), -float('inf'), -1, 0, 1, -0.0, 1e-300, 1e300, 2**70, True, False, 0.5, 1.5]
TENSORS = [
    torch.tensor(0.5),
    torch.tensor([1.0, 2.0]),
    torch.tensor(1j),
    np.float32(0.5),
    np.int64(2),
    np.array([1, 2]),
]
NONSENSE = st.sampled_from([*NO_NUMBERS, *NO_LISTS, *EDGES, *TENSORS])


class Construction(NamedTuple):
    """Class, options and preparation of a loss."""

    cls: type[BaseLoss]
    options: dict[str, Any]
    num_classes: int
    counted: bool
    """Whether ``class_counts='auto'`` are counted before the first call."""


class Call(NamedTuple):
    """Arguments and mode of a call, and the expectations of its outcome."""

    logits: Any
    target: Any
    options: dict[str, Any]
    training: bool
    with_gradient: bool
    valid: bool
    """Whether the call must succeed."""
    moderate: bool
    """Whether the result must be finite."""
    fused: bool
    """Whether the fused pass over the logits runs, which is usual for large batches alone."""


@cache
def parameters(cls):
    """Return the names of all options of a loss."""
    constructors = [base.__init__ for base in cls.__mro__ if issubclass(base, BaseLoss)]
    found = {name: one for function in constructors for name, one in inspect.signature(function).parameters.items()}
    return sorted(name for name, one in found.items() if one.kind is one.POSITIONAL_OR_KEYWORD and name != 'self')


@cache
def usual_options(num_classes):
    """Return the valid values of every option; not all of them are valid together."""
    per_class = st.lists(st.floats(0, 10), min_size=num_classes, max_size=num_classes)
    counts = st.lists(st.integers(0, 5000), min_size=num_classes, max_size=num_classes)
    by_class = st.dictionaries(
        st.one_of(st.integers(0, num_classes - 1), st.sampled_from(NAMES)), st.floats(0, 10), max_size=3
    )
    schemes = st.sampled_from(['inverse_frequency', 'median_frequency', 'effective_number', 'enet'])
    number = st.floats(0, 10)
    return {
        'alpha': st.sampled_from([1, 1.0, 0.9, 0.5, 0.001]),
        'beta': st.sampled_from([None, 0, 0.5, 0.9999]),
        'class_counts': st.one_of(counts, counts.map(torch.tensor), counts.map(np.array), st.just('auto')),
        'class_weight': st.one_of(
            st.none(), per_class, per_class.map(tuple), per_class.map(torch.tensor), by_class, schemes
        ),
        'class_names': st.sampled_from([None, NAMES[:num_classes]]),
        'classes': st.sampled_from([None, NAMES[:num_classes], 'present', 'all']),
        'fn_floor': st.sampled_from([0.0, 0.5, 1, 3]),
        'gamma': number,
        'ignore_index': st.sampled_from([255, -100, 0, 1]),
        'keep_ratio': st.floats(0.01, 1),
        'label_smoothing': st.floats(0, 1),
        'loss_name': st.just('loss_other'),
        'loss_weight': st.floats(-2, 2),
        'max_margin': number,
        'max_weight': st.sampled_from([None, 0.5, 1, 20.0]),
        'min_weight': st.sampled_from([None, 0, 0.1, 2.0]),
        'metric': st.sampled_from(['recall', 'precision', 'f1', 'dice', 'iou', 'jaccard', 'tversky']),
        'normalizer': st.sampled_from(['valid', 'all', 'weight']),
        'no_object_weight': st.sampled_from([None, None, None, 0.1]),
        'num_classes': st.sampled_from([num_classes, num_classes, None, 7]),
        'per_image': st.booleans(),
        'power': st.floats(0, 1),
        'reduction': st.sampled_from(['mean', 'sum', 'none']),
        'scale': st.floats(0.1, 30),
        'sigma': number,
        'smooth': number,
        'sync': st.booleans(),
        'tau': st.floats(0, 3),
        'tversky_weights': st.tuples(number, number),
        'use_sigmoid': st.booleans(),
    }


@st.composite
def constructions(draw):
    """Draw a loss with some valid options and some that may be anything."""
    cls = draw(st.sampled_from(LOSSES))
    num_classes = draw(st.sampled_from(CLASSES))
    usual, names = usual_options(num_classes), parameters(cls)
    chosen = draw(st.lists(st.sampled_from(names), max_size=4, unique=True))
    chosen += [name for name in ('class_counts',) if name in names and draw(st.integers(0, 9))]
    strange = draw(st.one_of(st.just([]), st.lists(st.sampled_from([*names, 'no_such_option']), max_size=2)))
    options = {name: draw(usual.get(name, NONSENSE)) for name in chosen} | {name: draw(NONSENSE) for name in strange}
    return Construction(cls, options, num_classes, draw(st.booleans()) or draw(st.booleans()))


PARTS = ('logits', 'target', 'labels', 'weight', 'avg_factor', 'reduction_override', 'ignore_index', 'classes')


@st.composite
def calls(draw, loss, num_classes):
    """Draw arguments of which all but one or two are valid."""
    strange = draw(st.one_of(st.just([]), st.lists(st.sampled_from(PARTS), min_size=1, max_size=2)))
    if 'classes' in strange:
        num_classes = draw(st.integers(0, 6))
    number = draw(st.integers(0, 4))
    size = tuple(draw(st.lists(st.integers(0, 5), max_size=2)))
    shapes = ((number, num_classes, *size), (number, *size))
    values = torch.Generator().manual_seed(draw(st.integers(0, 1000)))
    soft, ignored = draw(st.integers(0, 3)) == 0, draw(st.sampled_from([255, -100, 0, loss.ignore_index]))
    logits = draw(scores(shapes[0], values, 'logits' in strange))
    if not num_classes:
        target = torch.zeros(shapes[1], dtype=torch.long)
    elif loss.use_sigmoid and not soft:
        target = draw(class_indices(shapes[0], 2, ignored, values, 'target' in strange))
    elif soft:
        target = draw(soft_labels(shapes[0], values, 'target' in strange))
    else:
        target = draw(class_indices(shapes[1], num_classes, ignored, values, 'target' in strange))
    if 'labels' in strange:
        target = draw(with_a_wrong_label(target))
    # the ignored label comes from the call or from the loss
    options = dict(
        ignore_index=ignored if ignored != loss.ignore_index or draw(st.booleans()) else None, data_samples=[]
    )
    if draw(st.booleans()):
        options['weight'] = draw(sample_weights(shapes[1], values, 'weight' in strange))
    if draw(st.booleans()):
        options['avg_factor'] = draw(avg_factors('avg_factor' in strange))
    if draw(st.booleans()):
        options['reduction_override'] = draw(
            NONSENSE if 'reduction_override' in strange else st.sampled_from([None, 'mean', 'sum', 'none'])
        )
    if 'ignore_index' in strange:
        options['ignore_index'] = draw(NONSENSE)
    return Call(
        logits=logits,
        target=target,
        options=options,
        training=draw(st.booleans()),
        with_gradient=draw(st.booleans()),
        valid=not strange and not (soft and type(loss) in REFUSE_SOFT_LABELS),
        moderate=is_moderate(logits, target, options.get('weight'), options.get('avg_factor')),
        fused=draw(st.booleans()),
    )


@st.composite
def laid_out(draw, tensor):
    """Draw a memory layout for the same numbers."""
    how = draw(st.sampled_from(['contiguous', 'transposed', 'every other', 'expanded']))
    if tensor.dtype not in (*INTEGERS, *FLOATS):
        return tensor
    if how == 'transposed' and tensor.ndim > 1:
        return tensor.transpose(0, -1).contiguous().transpose(0, -1)
    if how == 'every other':
        return torch.stack([tensor, tensor], dim=-1)[..., 0]
    if how == 'expanded' and len(tensor):
        return tensor[:1].expand(tensor.shape)
    return tensor


@st.composite
def scores(draw, shape, values, strange):
    if strange and draw(st.booleans()):
        return draw(st.sampled_from([None, 1.0, [[0.0, 1.0]], np.zeros((2, 3)), torch.tensor(1.0), torch.zeros(3)]))
    logits = torch.randn(shape, generator=values) * draw(st.sampled_from([0, 1, 10, 100]))
    logits = logits.to(draw(st.sampled_from(NO_FLOATS if strange and draw(st.booleans()) else FLOATS)))
    if strange and logits.numel() and logits.dtype in FLOATS:
        logits.view(-1)[-1] = draw(st.sampled_from([float('nan'), float('inf'), -float('inf'), 1e4, 6e4]))
    return draw(laid_out(logits))


@st.composite
def class_indices(draw, shape, num_classes, ignored, values, strange):
    if strange:
        return draw(strange_targets(shape))
    dtype = draw(st.sampled_from(INTEGERS))
    target = torch.randint(0, num_classes, shape, generator=values)
    if torch.iinfo(dtype).min <= ignored <= torch.iinfo(dtype).max and draw(st.booleans()):
        target[torch.rand(shape, generator=values) < draw(st.sampled_from([0.3, 1.0]))] = ignored
    return draw(laid_out(target.to(dtype)))


@st.composite
def soft_labels(draw, shape, values, strange):
    if strange:
        return draw(strange_targets(shape))
    # the classes of a sample share a mass of 1
    target = (torch.rand(shape, generator=values) / shape[1]).to(draw(st.sampled_from(FLOATS)))
    masks = {'all': target >= 0, 'one class': target == target.amax(1, keepdim=True) if len(target) else target > 1}
    kept = masks.get(draw(st.sampled_from(['all', 'one class', 'some'])), target > 0.7 / shape[1])
    scale = draw(st.sampled_from([1, 0, 1e-4]))
    return draw(laid_out(torch.where(kept, scale * target, 0)))


@st.composite
def with_a_wrong_label(draw, target):
    if not isinstance(target, Tensor) or not target.numel() or target.dtype not in (*INTEGERS, *FLOATS):
        return target
    floats, unsigned, signed = (-1.0, 2.0, float('nan'), float('inf')), (7, 254), (7, 127, -1, -128)
    target = target.clone().contiguous()
    wrong = floats if target.is_floating_point() else unsigned if target.dtype == torch.uint8 else signed
    target.view(-1)[0] = draw(st.sampled_from(wrong))
    return target


def strange_targets(shape):
    zeros = [torch.zeros(shape).to(dtype) for dtype in NO_FLOATS]
    other = [torch.zeros(*shape, 1).long(), torch.zeros(shape[:1]), torch.zeros(3, 2), torch.tensor(0)]
    return st.one_of(st.sampled_from([*zeros, *other, -torch.ones(shape)]), NONSENSE)


def sample_weights(shape, values, strange):
    if strange:
        other = [torch.ones(*shape, 2), torch.ones(()), torch.ones(shape).to(torch.complex64)]
        return st.one_of(NONSENSE, st.sampled_from([*other, torch.full(shape, float('nan'))]))
    weight = torch.rand(shape, generator=values)
    kinds = [weight, weight.double(), weight.half(), (weight > 0.5).long(), weight > 0.5, torch.zeros(shape)]
    return st.sampled_from([None, *kinds]) if math.prod(shape) else st.sampled_from([None, weight])


def avg_factors(strange):
    if strange:
        return st.one_of(NONSENSE, st.sampled_from([torch.tensor(-1.0), torch.tensor(float('nan')), torch.ones(2)]))
    tensors = [torch.tensor(3), torch.tensor(2.0), torch.tensor([4.0]), torch.tensor(0), torch.tensor(True)]
    return st.one_of(st.none(), st.integers(0, 100), st.floats(0.5, 100), st.sampled_from([*tensors, np.float32(2)]))


def is_moderate(logits, target, weight, avg_factor):
    """Return whether all numbers are finite, and so small that their products do not overflow."""
    tensors = [one for one in (logits, target, weight, avg_factor) if isinstance(one, Tensor)]
    if any(one.numel() and not bool((one.to(torch.complex128).abs() <= 1e4).all()) for one in tensors):
        return False
    if isinstance(avg_factor, Tensor):
        return avg_factor.numel() == 1 and not avg_factor.is_complex() and (avg_factor == 0 or avg_factor >= 0.5)
    return avg_factor is None or (isinstance(avg_factor, Real) and (avg_factor == 0 or avg_factor >= 0.5))


def has_moderate_options(construction):
    """Return whether no option causes an infinite loss, as a class without training samples does."""
    numbers = [one for one in construction.options.values() if isinstance(one, Real)]
    counts = construction.options.get('class_counts')
    no_counts = counts is not None and not isinstance(counts, str) and any(not count for count in counts)
    shifted = construction.cls.__name__ in ('LogitAdjustedLoss', 'BalancedSoftmaxLoss')
    return all(abs(number) <= 1e4 for number in numbers) and not (shifted and no_counts)


def check_error(error, names):
    """Check that this project raises the error deliberately, and that the error names an argument."""
    if 'required positional argument' in str(error):
        return
    last = traceback.extract_tb(error.__traceback__)[-1]
    assert '/mmrecall/' in last.filename, f'from {last.filename}:{last.lineno}: {error!r}'
    assert last.line.startswith('raise '), f'by {last.filename}:{last.lineno}: {error!r}'
    message = str(error).replace('_', ' ')
    assert any(name.replace('_', ' ') in message for name in names), error


def states(loss):
    return {name: buffer.clone() for name, buffer in loss.state_dict().items()}


def same(first, second):
    return all(torch.equal(first[name], second[name]) for name in first)


def build(construction):
    """Return the loss; None if its construction or a first plain batch is refused."""
    names = [*parameters(construction.cls), *construction.options]
    try:
        loss = construction.cls(**construction.options)
        if construction.counted:
            for module in loss.modules():
                if isinstance(module, ClassCounts) and module.automatic:
                    module.set(list(range(1, module.num_classes + 1)))
        labels = torch.zeros((2, construction.num_classes) if loss.use_sigmoid else 2, dtype=torch.long)
        copy.deepcopy(loss)(torch.zeros(2, construction.num_classes), labels, ignore_index=255)
    except (TypeError, ValueError, FileNotFoundError) as error:
        check_error(error, names)
        return None
    return loss


def copied(value):
    return value.detach().clone() if isinstance(value, Tensor) else copy.copy(value)


def unchanged(value, before):
    if isinstance(value, Tensor):
        return value.dtype == before.dtype and torch.allclose(
            value.detach().to(torch.complex128), before.to(torch.complex128), 0, 0, equal_nan=True
        )
    return value is before or isinstance(value, np.ndarray) or str(value) == str(before)


CALLED_WITH = ('logits', 'target', 'weight', 'avg_factor', 'reduction', 'ignore_index', 'class_counts')


def check_call(loss, call, moderate):
    """Check the outcome of one call."""
    loss.train(call.training)
    logits, before = call.logits, states(loss)
    if call.with_gradient and isinstance(logits, Tensor) and logits.dtype in FLOATS:
        logits = logits.detach().requires_grad_()
    given_before = [copied(logits), copied(call.target)]
    with (
        mock.patch.object(cpu, '_SMALL', 1 if call.fused else cpu._SMALL),
        mock.patch.object(binary, '_BLOCK', 8 if call.fused else binary._BLOCK),
    ):
        value = call_loss(loss, logits, call)
        assert all(unchanged(*pair) for pair in zip((logits, call.target), given_before, strict=True))
        if value is None or not call.training:
            assert same(states(loss), before)
        if value is not None:
            check_result(loss, logits, value, call.with_gradient, moderate and call.moderate)


def call_loss(loss, logits, call):
    """Return the result of a call; None if it is refused, which is allowed for invalid arguments alone."""
    try:
        return loss(logits, call.target, **call.options)
    except (TypeError, ValueError) as error:
        check_error(error, CALLED_WITH)
        refusal = error
    assert not call.valid, refusal


def check_result(loss, logits, value, with_gradient, finite):
    """Check that the result is fit for training, and that the running recall lies between 0 and 1."""
    recall = states(loss).get('recall')
    assert recall is None or bool(((recall >= 0) & (recall <= 1)).all())
    assert value.dtype == (torch.float64 if logits.dtype == torch.float64 else torch.float32)
    assert not finite or bool(value.isfinite().all())
    if with_gradient:
        value.sum().backward()
        assert not finite or bool(logits.grad.isfinite().all())


@given(st.data())
def loss_arguments(data):
    construction = data.draw(constructions(), label='construction')
    loss = build(construction)
    if loss is None:
        return
    for _ in range(data.draw(st.integers(1, 2), label='number of calls')):
        call = data.draw(calls(loss, construction.num_classes), label='call')
        check_call(loss, call, has_moderate_options(construction))


if __name__ == '__main__':
    from campaign import main

    torch.set_num_threads(1)
    main([loss_arguments])
