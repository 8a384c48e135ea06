import oracle
import pytest
import torch
from every_loss import CLASSES, LOSSES, make
from oracle import random_batch

from mmrecall.analysis.gradients import class_gradients, gradient_by_class


@pytest.mark.parametrize('name', LOSSES)
def test_every_loss_equals_a_loop_over_its_gradient(name):
    logits, target = random_batch((3, CLASSES, 5, 4), seed=2)
    loss, other = make(name), make(name)
    gradient = gradient_by_class(lambda x, y: loss(x, y, ignore_index=255), logits, target, ignore_index=255)
    leaf = logits.clone().requires_grad_()
    other(leaf, target, ignore_index=255).backward()
    expected = torch.zeros(CLASSES, CLASSES, dtype=torch.float64)
    for row, label in zip(*oracle.samples(leaf.grad, target), strict=True):
        if label != 255:
            expected[label] += torch.tensor(row, dtype=torch.float64)
    torch.testing.assert_close(gradient, expected)
    assert gradient.abs().sum() > 0


@pytest.mark.parametrize('name', LOSSES)
def test_what_a_softmax_loss_raises_it_lowers_as_much(name):
    logits, target = random_batch((3, CLASSES, 5, 4), seed=2)
    loss = make(name)
    gradient = gradient_by_class(lambda x, y: loss(x, y, ignore_index=255), logits, target, ignore_index=255)
    scale = gradient.abs().max().item()
    assert gradient.sum(dim=1).tolist() == pytest.approx([0] * CLASSES, abs=1e-6 * scale)
    found = class_gradients(gradient)
    assert found.positive.sum().item() == pytest.approx(found.negative.sum().item(), rel=1e-5)
