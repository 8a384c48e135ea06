"""Batches for the kernels, and what the reference gives for them in float64."""

from math import inf

import torch

from mmrecall.functional.backends import gpu, reference
from mmrecall.functional.batch import Batch, interpolated, is_low_resolution
from mmrecall.functional.logit_adjustment import LogitAdjustment

LABELS = [torch.int8, torch.uint8, torch.int16, torch.int32, torch.int64]
# Of a gradient, relative to the largest.
ROUNDING = {torch.float32: 1e-5, torch.float16: 2e-3, torch.bfloat16: 1e-2}
ADJUSTMENTS = ['no', 'scale', 'offsets', 'margins', 'all', 'a class without samples']
IGNORED = 127


def made(shape, full=None, dtype=torch.float32, label_dtype=torch.int64, ignored=0.2, seed=0):
    """Logits, and labels of their size or of the size ``full``, of which some are ignored."""
    generator = torch.Generator(torch.get_default_device()).manual_seed(seed)
    logits = (3 * torch.randn(shape, generator=generator)).to(dtype)
    samples = (shape[0], *(full or shape[2:]))
    target = torch.randint(min(shape[1], IGNORED), samples, generator=generator)
    target[torch.rand(samples, generator=generator) < ignored] = IGNORED
    return logits, target.to(label_dtype)


def adjustment_of(kind, num_classes):
    """One of the `ADJUSTMENTS`, drawn; class 0 is the one without samples."""
    offsets, margins = torch.randn(num_classes, dtype=torch.float64), torch.rand(num_classes)
    if kind == 'a class without samples':
        offsets[0] = -inf
    return {
        'no': None,
        'scale': LogitAdjustment(3.0),
        'offsets': LogitAdjustment(1.0, offsets),
        'margins': LogitAdjustment(2.0, None, margins),
    }.get(kind, LogitAdjustment(0.5, offsets, margins))


def by_kernels(batch, adjustment=None):
    assert gpu.covers(batch)
    return gpu.class_sums(batch, adjustment, hits=True, predictions=True)


def by_reference(batch, adjustment=None):
    return reference.class_sums(interpolated(batch), adjustment, hits=True, predictions=True)


def outcome(class_sums, batch, adjustment=None):
    """Class sums, and their gradient for unequal incoming ones."""
    leaf = batch.logits.detach().requires_grad_()
    sums = class_sums(Batch(leaf, *batch[1:]), adjustment)
    incoming = torch.linspace(0.5, 2, sums.losses.numel(), dtype=torch.float64).reshape(sums.losses.shape)
    (gradient,) = torch.autograd.grad(sums.losses, leaf, incoming.to(sums.losses.dtype))
    return sums, gradient


def assert_same(batch, adjustment=None):
    """Compare the kernels with the reference in float64."""
    logits, target = batch.logits, batch.target.long()
    found, gradient = outcome(by_kernels, batch, adjustment)
    expected, expected_gradient = outcome(by_reference, Batch(logits.double(), *batch[1:]), adjustment)
    assert_same_counts(found, expected)
    is_class = (target >= 0) & (target < logits.shape[1])
    assert found.invalid_labels == ((target != batch.ignore_index) & ~is_class).sum()
    assert found.losses.dtype == torch.float32
    assert gradient.dtype == logits.dtype
    # log(1 + x) has an error of 6e-8 in float32, as in PyTorch, interpolated scores have that of their weights, and a
    # probability near 1 has that of log-sum-exp
    least, least_of_gradient = (0.1, 0.1) if is_low_resolution(batch) else (0.01, 0.5)
    assert_close(found.losses, expected.losses, 1e-5, least)
    assert_close(gradient, expected_gradient, ROUNDING[logits.dtype], least_of_gradient)


def assert_same_counts(found, expected):
    for name in ('support', 'true_positives', 'predicted'):
        assert torch.equal(getattr(found, name), getattr(expected, name)), name


def assert_close(found, expected, tolerance, least=0.1):
    """Compare relatively to the largest, or to ``least`` if none is as large."""
    assert found.shape == expected.shape
    found, expected = found.detach(), expected.detach()
    finite = expected[expected.isfinite()]
    largest = float(finite.abs().max()) if finite.numel() else 0.0
    atol = tolerance * max(largest, least)
    torch.testing.assert_close(found.double(), expected.double(), rtol=tolerance, atol=atol, equal_nan=True)
