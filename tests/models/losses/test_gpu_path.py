"""What a GPU runs, as far as a CPU can tell: no step of a loss reads a value back, which would wait for the device."""

import importlib

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from mmrecall.models import losses
from mmrecall.models.losses import ranks

ATEN = torch.ops.aten
# each of them copies a number to the host, or needs one for the size of its result
WAITING = {
    ATEN._local_scalar_dense.default,
    ATEN.nonzero.default,
    ATEN.masked_select.default,
    ATEN.bincount.default,
    ATEN._unique2.default,
    ATEN.unique_dim.default,
    ATEN.unique_consecutive.default,
    ATEN.equal.default,
    ATEN.repeat_interleave.Tensor,
}
INDEXING = {ATEN.index.Tensor, ATEN.index_put.default, ATEN.index_put_.default, ATEN._index_put_impl_.default}


class RefuseToWait(TorchDispatchMode):
    """Raises where a GPU would be waited for."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        by_mask = function in INDEXING and any(index is not None and index.dtype == torch.bool for index in args[1])
        if function in WAITING or by_mask:
            raise AssertionError(f'{function} waits for the device')
        return function(*args, **(kwargs or {}))


@pytest.fixture(autouse=True)
def _as_on_a_gpu(monkeypatch):
    monkeypatch.setattr(importlib.import_module('mmrecall.functional.class_losses'), 'covers', lambda *_: False)
    # its own branch for a GPU copies the flags in the background; see the tests that need one
    monkeypatch.setattr(ranks.LabelCheck, '__call__', lambda *_: None)


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
    'focal': lambda: losses.SoftmaxFocalLoss(),
    'hardest': lambda: losses.TopKCrossEntropyLoss(),
    'Tversky': lambda: losses.SoftTverskyLoss(),
    'Lovasz': lambda: losses.LovaszSoftmaxLoss(),
    'Lovasz of images': lambda: losses.LovaszSoftmaxLoss(per_image=True),
}
SOFT = {'recall', 'running recall', 'f1', 'logit adjustment', 'focal', 'Tversky'}


@pytest.mark.parametrize('reduction', ['mean', 'none'])
@pytest.mark.parametrize(
    ('name', 'soft'), [(name, soft) for name in CASES for soft in (False, True)[: 1 + (name in SOFT)]]
)
def test_no_step_waits_for_the_device(name, soft, reduction):
    loss = CASES[name]()
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 5, 6, 7, generator=generator, requires_grad=True)
    target = (
        torch.rand(2, 5, 6, 7, generator=generator) if soft else torch.randint(0, 5, (2, 6, 7), generator=generator)
    )
    if not soft:
        target[0, :2] = 255
    arguments = dict(ignore_index=255, reduction_override=reduction)
    # what is made once may be made on the host
    loss(logits, target, **arguments)
    with RefuseToWait():
        loss(logits, target, **arguments).sum().backward()
    assert logits.grad.abs().sum() > 0


@pytest.mark.parametrize(
    'read',
    [
        lambda x: x.sum().item(),
        lambda x: x.nonzero(),
        lambda x: x.unique(),
        lambda x: torch.bincount(x),
        lambda x: torch.nn.functional.one_hot(x),
        lambda x: x[x > 0],
        lambda x: bool((x > 0).any()),
    ],
    ids=['item', 'nonzero', 'unique', 'bincount', 'one_hot', 'mask', 'bool'],
)
def test_the_check_sees_what_waits(read):
    with RefuseToWait(), pytest.raises(AssertionError, match='waits for the device'):
        read(torch.tensor([0, 1, 2]))
