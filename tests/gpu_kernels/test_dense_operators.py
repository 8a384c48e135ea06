"""The kernels of dense logits as operators of PyTorch: under its compiler, autograd and function transforms."""

import pytest
import torch
from torch.autograd import forward_ad

from mmrecall.functional.backends import gpu, reference
from mmrecall.functional.backends.gpu import dense  # noqa: F401
from mmrecall.functional.batch import Batch
from mmrecall.functional.logit_adjustment import LogitAdjustment

CASES = {
    'samples': ((2, 3, 2, 3), None, 'sum'),
    'a loss each': ((2, 3, 2, 3), None, 'none'),
    'adjusted': (
        (2, 3, 2, 3),
        LogitAdjustment(2.0, torch.tensor([0.1, 0.0, -0.3]), torch.tensor([0.2, 0.1, 0.3])),
        'sum',
    ),
    'rows': ((4, 70), None, 'sum'),
}


def made(shape, seed=0):
    generator = torch.Generator(torch.get_default_device()).manual_seed(seed)
    logits = torch.randn(shape, generator=generator).requires_grad_()
    target = torch.randint(3, (shape[0], *shape[2:]), generator=generator)
    target.view(-1)[0] = 255
    return logits, target, torch.rand(target.shape, generator=generator)


@pytest.fixture(params=CASES)
def case(request):
    shape, adjustment, reduction = CASES[request.param]
    logits, target, weight = made(shape)

    def losses(backend, x=logits):
        return backend.class_sums(Batch(x, target, 255, weight, reduction), adjustment, hits=True).losses

    return logits, losses


def test_a_gradient_can_be_differentiated_like_that_of_the_reference(case):
    logits, losses = case
    results = []
    for backend in (gpu, reference):
        (gradient,) = torch.autograd.grad(losses(backend).square().sum(), logits, create_graph=True)
        results.append(torch.autograd.grad(gradient.square().sum(), logits)[0])
    torch.testing.assert_close(*results, rtol=1e-4, atol=1e-5)


def test_several_incoming_gradients_at_once_give_what_one_by_one_gives(case):
    logits, losses = case
    found = losses(gpu)
    incoming = torch.rand(3, *found.shape)
    (batched,) = torch.autograd.grad(found, logits, incoming, is_grads_batched=True, retain_graph=True)
    for number, one in enumerate(incoming):
        (gradient,) = torch.autograd.grad(found, logits, one, retain_graph=True)
        torch.testing.assert_close(batched[number], gradient)


def test_a_second_backward_pass_gives_the_same_gradient(case):
    logits, losses = case
    total = losses(gpu).sum()
    first, second = (torch.autograd.grad(total, logits, retain_graph=True)[0] for _ in range(2))
    assert torch.equal(first, second)


def test_one_graph_holds_loss_and_gradient_under_the_compiler(case):
    logits, losses = case

    def weighted(x):
        assert gpu.covers(Batch(x, x.argmax(1)))
        found = losses(gpu, x)
        return (torch.arange(found.numel(), device=found.device).reshape(found.shape) * found).sum()

    torch._dynamo.reset()
    compiled = torch.compile(weighted, fullgraph=True, backend='aot_eager')
    found, expected = compiled(logits), weighted(logits)
    assert torch.equal(found, expected)
    assert torch.equal(torch.autograd.grad(found, logits)[0], torch.autograd.grad(expected, logits)[0])


def operator_arguments(shape, each, channels_last=False):
    logits, target, weight = made(shape)
    logits = logits.detach()
    if channels_last:
        logits = logits.contiguous(memory_format=torch.channels_last)
    offsets, margins = torch.rand(shape[1]), torch.rand(shape[1])
    return (logits, target, weight, offsets, margins), (255, 2.0, each)


@pytest.mark.parametrize('shape', [(2, 3, 2, 3), (4, 70)])
@pytest.mark.parametrize('each', [False, True])
def test_the_operators_keep_the_contract_of_pytorch(shape, each):
    tensors, options = operator_arguments(shape, each, len(shape) == 4)
    forward = torch.ops.mmrecall.dense_forward.default
    checks = torch.library.opcheck(forward, (*tensors, *options, True, True))
    assert set(checks.values()) == {'SUCCESS'}
    loss_sums, _, losses, lse = forward(*tensors, *options, True, True)
    backward = torch.ops.mmrecall.dense_backward.default
    incoming = torch.ones_like(losses if each else loss_sums)
    checks = torch.library.opcheck(backward, (*tensors, lse, incoming, *options))
    assert set(checks.values()) == {'SUCCESS'}


def test_what_the_kernels_do_not_take_is_not_covered():
    logits, target, weight = made((2, 3, 2, 2))
    assert gpu.covers(Batch(logits, target))
    assert not gpu.covers(Batch(logits.double(), target))
    assert not gpu.covers(Batch(logits, logits.softmax(1)))
    assert not gpu.covers(Batch(logits, target, sample_weight=weight.requires_grad_()))
    assert not gpu.covers(Batch(logits.to('meta'), target.to('meta')))
    with forward_ad.dual_level():
        assert not gpu.covers(Batch(logits, target))
    answers = []
    torch.func.vmap(lambda x: answers.append(gpu.covers(Batch(x, target))) or x)(logits.detach().unsqueeze(0))
    assert answers == [False]
