"""Logits in half types, given directly and by autocast; the loss scaler is in tests/engine/hooks."""

import pytest
import torch
from every_loss import CLASSES, LOSSES, REGION, make
from oracle import random_batch
from test_vocabulary import value_and_gradient
from torch import nn

HALF_TYPES = [torch.float16, torch.bfloat16]


@pytest.fixture(autouse=True, params=['one pass', 'plain steps'])
def _way(request):
    """The two ways of the sums; a small batch goes by plain steps, as all do on a GPU."""
    if request.param == 'one pass':
        request.getfixturevalue('fused_however_small')


@pytest.mark.parametrize('dtype', HALF_TYPES)
@pytest.mark.parametrize('name', LOSSES)
def test_loss_and_gradient_are_those_of_float32_of_the_same_numbers(name, dtype):
    logits, target = random_batch((2, CLASSES, 6, 5), 0.2, dtype=dtype)
    value, gradient = value_and_gradient(make(name), logits, target)
    expected, expected_gradient = value_and_gradient(make(name), logits.float(), target)
    assert value.dtype == torch.float32
    torch.testing.assert_close(value, expected)
    assert gradient.dtype == dtype
    # rounded once, at the end
    torch.testing.assert_close(gradient.float(), expected_gradient, rtol=torch.finfo(dtype).eps, atol=1e-7)


@pytest.mark.parametrize('name', LOSSES)
def test_a_loss_inside_autocast_is_that_of_the_same_logits_outside(name):
    layer = nn.Linear(3, CLASSES)
    images, (_, target) = torch.randn(8, 3), random_batch((8, CLASSES))
    found = []
    for inside in (True, False):
        with torch.autocast('cpu', dtype=torch.bfloat16):
            logits = layer(images)
            value = make(name)(logits, target, ignore_index=255) if inside else None
        assert logits.dtype == torch.bfloat16
        value = make(name)(logits.float(), target, ignore_index=255) if value is None else value
        layer.zero_grad()
        value.backward()
        found.append((value.detach(), layer.weight.grad.clone()))
    torch.testing.assert_close(*found)
    assert found[0][1].abs().sum() > 0


@pytest.mark.parametrize('name', [name for name in LOSSES if name not in (*REGION, 'lovasz per image')])
def test_a_sum_beyond_float16_is_that_of_float32(name):
    target = torch.arange(2**13) % CLASSES
    logits = -20 * nn.functional.one_hot(target, CLASSES).half()
    value, gradient = value_and_gradient(make(name, reduction='sum'), logits, target)
    expected, expected_gradient = value_and_gradient(make(name, reduction='sum'), logits.float(), target)
    assert value > torch.finfo(torch.float16).max
    torch.testing.assert_close(value, expected)
    torch.testing.assert_close(gradient, expected_gradient.half())


@pytest.mark.parametrize('dtype', HALF_TYPES)
@pytest.mark.parametrize('name', LOSSES)
def test_the_state_of_a_model_in_a_half_type_is_not_rounded(name, dtype):
    loss = make(name).to(dtype)
    logits, target = random_batch((2, CLASSES, 6, 5), 0.2, dtype=dtype)
    loss(logits.requires_grad_(), target, ignore_index=255)
    expected = make(name)
    expected(logits.detach().float().requires_grad_(), target, ignore_index=255)
    for key, tensor in expected.state_dict().items():
        torch.testing.assert_close(loss.state_dict()[key], tensor)
