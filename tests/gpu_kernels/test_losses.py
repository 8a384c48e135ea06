"""Losses on the kernels of a GPU: whole training steps of the modules."""

import copy

import pytest
import torch

from mmrecall.losses import LDAMLoss, LogitAdjustedLoss, RecallLoss, WeightedCrossEntropyLoss, distributed

LOSSES = {
    'recall': lambda **options: RecallLoss(**options),
    'running recall': lambda **options: RecallLoss(alpha=0.5, num_classes=3, **options),
    'weighted': lambda **options: WeightedCrossEntropyLoss([1.0, 2.0, 0.5], **options),
    'LDAM': lambda **options: LDAMLoss([5, 3, 1], **options),
    'logit adjustment': lambda **options: LogitAdjustedLoss([5, 3, 1], **options),
}


def made(size=(2, 3)):
    logits = torch.randn(2, 3, 2, 3, requires_grad=True)
    target = torch.randint(3, (2, *size))
    target[0, 0] = 255
    return logits, target


@pytest.mark.parametrize('size', [(2, 3), (4, 5)])
@pytest.mark.parametrize('name', LOSSES)
def test_a_training_step_equals_that_in_float64(name, size):
    logits, target = made(size)
    loss = LOSSES[name](upsample='bilinear').to(logits.device)
    other = copy.deepcopy(loss)
    found = loss(logits, target, ignore_index=255)
    expected = other(logits.double(), target, ignore_index=255)
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-6)
    gradients = [torch.autograd.grad(one, logits)[0] for one in (found, expected)]
    torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-6)
    assert all(map(torch.equal, loss.running_statistics().values(), other.running_statistics().values()))


@pytest.mark.parametrize('size', [(2, 3), (4, 5)])
@pytest.mark.parametrize('name', ['running recall', 'LDAM'])
def test_a_training_step_compiles_to_one_graph(name, size, monkeypatch):
    torch._dynamo.reset()
    logits, target = made(size)
    if not logits.is_cuda:
        # on a CPU it reads a value
        monkeypatch.setattr(distributed.LabelCheck, '__call__', lambda *_: None)
    loss = LOSSES[name](upsample='bilinear').to(logits.device)
    # fixed weights, margins and offsets are made once, in eager mode
    loss(logits, target, ignore_index=255)
    expected = copy.deepcopy(loss)(logits, target, ignore_index=255)
    compiled = torch.compile(loss, backend='aot_eager', fullgraph=True)
    found = compiled(logits, target, ignore_index=255)
    assert torch.equal(found, expected)
    assert torch.equal(*[torch.autograd.grad(one, logits)[0] for one in (found, expected)])
