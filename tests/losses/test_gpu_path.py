"""What a GPU runs, as far as a CPU can tell: no step of a loss reads a value back, which would wait for the device.

On PyTorch's device without memory, ``meta``, whatever reads a value, or needs one for the size of its result, raises.
The losses take it for a device that has no float64, such as Apple's GPUs.
"""

import copy

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten

from mmrecall import losses
from mmrecall.functional import statistics
from mmrecall.functional.backends import reference
from mmrecall.functional.batch import Batch
from mmrecall.losses import distributed


@pytest.fixture(autouse=True)
def _without_the_label_check(monkeypatch):
    # its branch for a GPU needs CUDA's events; see the tests that need a GPU
    monkeypatch.setattr(distributed.LabelCheck, '__call__', lambda *_: None)


CASES = {
    'recall': lambda: losses.RecallLoss(),
    'running recall': lambda: losses.RecallLoss(alpha=0.5, num_classes=5),
    'f1': lambda: losses.RecallLoss(metric='f1'),
    'recall with a floor': lambda: losses.RecallLoss(fn_floor=1.0, class_weight=[1, 2, 3, 4, 5], normalizer='weight'),
    'weighted': lambda: losses.WeightedCrossEntropyLoss(
        class_weight='inverse_frequency', class_counts=[5, 4, 3, 2, 1], normalizer='all'
    ),
    'LDAM': lambda: losses.LDAMLoss(class_counts=[5, 4, 3, 2, 1], scale=30.0),
    'logit adjustment': lambda: losses.LogitAdjustedLoss(class_counts=[5, 4, 3, 2, 0]),
    'balanced softmax': lambda: losses.BalancedSoftmaxLoss(class_counts=[5, 4, 3, 2, 1]),
    'logit variation': lambda: losses.BalancedLogitVariationLoss(class_counts=[5, 4, 3, 2, 0], sigma=1e12),
    'focal': lambda: losses.SoftmaxFocalLoss(),
    'hardest': lambda: losses.OHEMCrossEntropyLoss(),
    'Tversky': lambda: losses.SoftTverskyLoss(),
    'Lovasz': lambda: losses.LovaszSoftmaxLoss(),
    'Lovasz of images': lambda: losses.LovaszSoftmaxLoss(per_image=True),
}
SOFT = {'recall', 'running recall', 'f1', 'logit adjustment', 'logit variation', 'focal', 'Tversky'}


class WithoutFloat64(TorchDispatchMode):
    """Raise for every operator that returns a float64 tensor on ``meta``."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for one in tree_flatten(result)[0]:
            if isinstance(one, torch.Tensor) and one.device.type == 'meta' and one.dtype == torch.float64:
                raise TypeError(f'{func} made a float64 tensor')
        return result


def test_the_mode_sees_float64():
    with WithoutFloat64(), pytest.raises(TypeError, match='made a float64 tensor'):
        torch.zeros(2, device='meta').double()


@pytest.mark.parametrize('reduction', ['mean', 'none'])
@pytest.mark.parametrize(
    ('name', 'soft'), [(name, soft) for name in CASES for soft in (False, True)[: 1 + (name in SOFT)]]
)
def test_no_step_but_the_label_check_waits_for_the_device_or_needs_float64(name, soft, reduction):
    loss = CASES[name]().to('meta')
    logits = torch.zeros(2, 5, 6, 7, device='meta', requires_grad=True)
    target = torch.zeros(2, 5, 6, 7, device='meta') if soft else torch.zeros(2, 6, 7, dtype=torch.long, device='meta')
    for _ in range(2):
        with WithoutFloat64():
            loss(logits, target, ignore_index=255, reduction_override=reduction).sum().backward()
    assert logits.grad.shape == logits.shape


@pytest.mark.parametrize('reduction', ['mean', 'none'])
@pytest.mark.parametrize('name', ['recall', 'weighted', 'LDAM', 'logit adjustment', 'focal'])
def test_low_resolution_logits_neither_wait_nor_need_float64(name, reduction):
    loss = CASES[name]().to('meta')
    logits = torch.zeros(2, 5, 3, 4, device='meta', requires_grad=True)
    target = torch.zeros(2, 24, 16, dtype=torch.long, device='meta')
    call = dict(ignore_index=255, reduction_override=reduction, upsample='bilinear')
    with WithoutFloat64():
        loss(logits, target, **call).sum().backward()
    assert logits.grad.shape == logits.shape


def test_counts_above_2_to_the_24_are_exact_without_float64(monkeypatch):
    # what float32 cannot count; on a CPU, because a device without memory has no values
    monkeypatch.setattr(statistics, '_DEVICES_WITH_FLOAT64', ())
    logits = torch.zeros(2**24 + 3, 2)
    sums = reference.class_sums(Batch(logits, torch.zeros(len(logits), dtype=torch.int8)), hits=True)
    assert sums.support.tolist() == sums.true_positives.tolist() == [2**24 + 3, 0]


def test_counts_that_may_change_are_not_read_in_training():
    counts = losses.ClassCounts('auto', num_classes=5).to('meta')
    before = counts.version
    counts._load_from_state_dict({}, '', {}, False, [], [], [])
    assert counts.version > before
    # outside training the first values are kept, and later ones compared with them
    assert counts.eval().version > before
    with pytest.raises((RuntimeError, NotImplementedError)):
        counts.version  # noqa: B018


@pytest.mark.parametrize(
    'read',
    [
        lambda x: x.sum().item(),
        lambda x: x.tolist(),
        lambda x: x.cpu(),
        lambda x: x.nonzero(),
        lambda x: x.unique(),
        lambda x: torch.bincount(x),
        lambda x: torch.nn.functional.one_hot(x),
        lambda x: x[x > 0],
        lambda x: bool((x > 0).any()),
    ],
    ids=['item', 'tolist', 'cpu', 'nonzero', 'unique', 'bincount', 'one_hot', 'mask', 'bool'],
)
def test_the_device_without_memory_sees_what_waits(read):
    with pytest.raises((RuntimeError, NotImplementedError)):
        read(torch.zeros(3, dtype=torch.long, device='meta'))


def test_a_number_of_samples_that_changes_stays_in_the_compiled_graph():
    torch._dynamo.reset()
    loss = losses.SoftmaxFocalLoss(normalizer='all').eval()
    compiled = torch.compile(loss, backend='eager', fullgraph=True)
    logits, target = torch.randn(2, 5, 3), torch.zeros(2, 3, dtype=torch.long)
    for avg_factor in (3, 5, 2.5, torch.tensor(3.0)):
        torch.testing.assert_close(
            compiled(logits, target, avg_factor=avg_factor), loss(logits, target, avg_factor=avg_factor)
        )


@pytest.mark.parametrize(
    'name', ['recall', 'running recall', 'f1', 'weighted', 'LDAM', 'logit adjustment', 'logit variation', 'focal']
)
def test_a_training_step_compiles_to_one_graph(name):
    torch._dynamo.reset()
    loss = CASES[name]()
    logits, target = torch.randn(2, 5, 3, requires_grad=True), torch.tensor([[0, 1, 2], [3, 4, 255]])
    # fixed weights, margins, offsets and scales are made once, in eager mode
    loss(logits, target, ignore_index=255)
    expected = copy.deepcopy(loss)(logits, target, ignore_index=255)
    compiled = torch.compile(loss, backend='eager', fullgraph=True)
    torch.testing.assert_close(compiled(logits, target, ignore_index=255), expected)


def test_the_recall_loss_compiles_to_one_graph_from_its_first_step():
    torch._dynamo.reset()
    logits, target = torch.randn(2, 5, 3, requires_grad=True), torch.tensor([[0, 1, 2], [3, 4, 255]])
    compiled = torch.compile(losses.RecallLoss(), backend='eager', fullgraph=True)
    torch.testing.assert_close(
        compiled(logits, target, ignore_index=255), losses.RecallLoss()(logits, target, ignore_index=255)
    )
