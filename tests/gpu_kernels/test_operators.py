"""The kernels as operators of PyTorch: under its compiler, autograd and function transforms."""

import pytest
import torch
from kernel_cases import IGNORED, by_kernels, by_reference, made
from torch.autograd import forward_ad

from mmrecall.functional.backends import gpu
from mmrecall.functional.backends.gpu import operators  # noqa: F401
from mmrecall.functional.batch import Batch
from mmrecall.functional.logit_adjustment import LogitAdjustment

SHAPE, FULL = (2, 3, 2, 3), (3, 5)
# shape, size of the labels if another, whether adjusted, reduction
CASES = {
    'samples': (SHAPE, None, False, 'sum'),
    'a loss each': (SHAPE, None, False, 'none'),
    'adjusted': (SHAPE, None, True, 'sum'),
    'rows': ((4, 70), None, False, 'sum'),
    'low resolution': (SHAPE, FULL, True, 'sum'),
    'low resolution, a loss each': (SHAPE, FULL, False, 'none'),
}


def adjustment():
    return LogitAdjustment(2.0, torch.tensor([0.1, 0.0, -0.3]), torch.tensor([0.2, 0.1, 0.3]))


@pytest.fixture(params=CASES)
def case(request):
    """Logits, and their losses."""
    shape, full, is_adjusted, reduction = CASES[request.param]
    logits, target = made(shape, full)
    weight = torch.rand(target.shape)
    adjusted = adjustment() if is_adjusted else None

    def losses(class_sums=by_kernels, x=logits):
        return class_sums(Batch(x, target, IGNORED, weight, reduction, None, full and 'bilinear'), adjusted).losses

    return logits.requires_grad_(), losses


def test_a_gradient_can_be_differentiated_like_that_of_the_reference(case):
    logits, losses = case
    results = []
    for class_sums in (by_kernels, by_reference):
        (gradient,) = torch.autograd.grad(losses(class_sums).square().sum(), logits, create_graph=True)
        results.append(torch.autograd.grad(gradient.square().sum(), logits)[0])
    torch.testing.assert_close(*results, rtol=1e-4, atol=1e-5)


def test_several_incoming_gradients_at_once_give_what_one_by_one_gives(case):
    logits, losses = case
    found = losses()
    incoming = torch.rand(3, *found.shape)
    (batched,) = torch.autograd.grad(found, logits, incoming, is_grads_batched=True, retain_graph=True)
    for number, one in enumerate(incoming):
        (gradient,) = torch.autograd.grad(found, logits, one, retain_graph=True)
        torch.testing.assert_close(batched[number], gradient)


def test_a_second_backward_pass_gives_the_same_gradient(case):
    logits, losses = case
    total = losses().sum()
    first, second = (torch.autograd.grad(total, logits, retain_graph=True)[0] for _ in range(2))
    assert torch.equal(first, second)


def test_one_graph_holds_loss_and_gradient_under_the_compiler(case):
    logits, losses = case

    def weighted(x):
        found = losses(x=x)
        return (torch.arange(found.numel(), device=found.device).reshape(found.shape) * found).sum()

    torch._dynamo.reset()
    compiled = torch.compile(weighted, fullgraph=True, backend='aot_eager')
    found, expected = compiled(logits), weighted(logits)
    assert torch.equal(found, expected)
    assert torch.equal(torch.autograd.grad(found, logits)[0], torch.autograd.grad(expected, logits)[0])


@pytest.mark.parametrize(
    ('shape', 'full', 'each'),
    [(SHAPE, None, False), (SHAPE, None, True), ((4, 70), None, False), (SHAPE, FULL, False), (SHAPE, FULL, True)],
)
def test_the_operators_keep_the_contract_of_pytorch(shape, full, each):
    logits, target = made(shape, full)
    if logits.ndim == 4:
        logits = logits.contiguous(memory_format=torch.channels_last)
    tensors = (logits, target, torch.rand(target.shape), torch.rand(shape[1]), torch.rand(shape[1]))
    options = (IGNORED, 2.0, each, None if full is None else False)
    forward = torch.ops.mmrecall.class_sums.default
    checks = torch.library.opcheck(forward, (*tensors, *options, True, True))
    assert set(checks.values()) == {'SUCCESS'}
    losses, _, lse = forward(*tensors, *options, True, True)
    backward = torch.ops.mmrecall.class_sums_backward.default
    checks = torch.library.opcheck(backward, (*tensors, lse, torch.ones_like(losses), *options))
    assert set(checks.values()) == {'SUCCESS'}


def test_what_the_kernels_do_not_take_is_not_covered():
    logits, target = made(SHAPE)
    weight = torch.rand(target.shape)
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
