"""The mathematics of OLTR: equal to loops over images, classes and channels."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mmrecall.functional import MemoryBatch, memory_batch, memory_loss, meta_embedding, squashed_cosine


def draw(seed, images, classes, channels):
    rng = np.random.default_rng(seed)
    features, memory = rng.normal(size=(images, channels)), rng.normal(size=(classes, channels))
    return rng, features, memory, rng.integers(0, classes, images)


SIZES = dict(seed=st.integers(0, 1000), images=st.integers(1, 6), classes=st.integers(1, 5), channels=st.integers(1, 4))


def tensors(*arrays):
    return [torch.from_numpy(array) for array in arrays]


@given(**SIZES)
def test_the_meta_embedding_is_that_of_a_loop(seed, images, classes, channels):
    rng, features, memory, _ = draw(seed, images, classes, channels)
    hallucinated, selected = rng.normal(size=(images, classes)), rng.normal(size=(images, channels))
    expected = np.zeros_like(features)
    for i in range(images):
        nearest = min(np.sqrt(sum((features[i] - centroid) ** 2)) for centroid in memory)
        shares = np.exp(hallucinated[i]) / sum(np.exp(hallucinated[i]))
        for d in range(channels):
            remembered = sum(shares[c] * memory[c, d] for c in range(classes))
            expected[i, d] = 10 / nearest * (features[i, d] + np.tanh(selected[i, d]) * remembered)
    found = meta_embedding(*tensors(features, memory, hallucinated, selected))
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-9)


@given(**SIZES)
def test_squashed_cosines_are_those_of_a_loop(seed, images, classes, channels):
    _, features, weight, _ = draw(seed, images, classes, channels)
    found = squashed_cosine(*tensors(features, weight)).numpy()
    for v, row in zip(features, found, strict=True):
        for w, logit in zip(weight, row, strict=True):
            length = np.linalg.norm(v)
            assert logit == pytest.approx(16 * length / (1 + length) * (v @ w) / length / np.linalg.norm(w), abs=1e-12)


def loss_by_a_loop(features, memory, labels, margin):
    attraction, distances = 0.0, 0.0
    for feature, label in zip(features, labels, strict=True):
        for c, centroid in enumerate(memory):
            square = sum((feature - centroid) ** 2)
            if c == label:
                attraction += square / 2 / len(features)
            else:
                distances += square / len(features) / len(memory)
    return attraction + 0.01 * max(0, margin - distances)


@given(**SIZES, margin=st.sampled_from([0.0, 3.0, 100.0]))
def test_the_memory_loss_is_that_of_a_loop(seed, images, classes, channels, margin):
    _, features, memory, labels = draw(seed, images, classes, channels)
    found = memory_loss(*tensors(features, labels, memory), weight=0.3, margin=margin)
    assert found.item() == pytest.approx(0.3 * loss_by_a_loop(features, memory, labels, margin), rel=1e-9)


@given(**SIZES, weight=st.sampled_from([0.0, 0.01, 1.0]))
def test_the_pull_on_a_centroid_is_that_of_its_images_by_one_more_than_their_number_whatever_the_weight(
    seed, images, classes, channels, weight
):
    _, features, memory, labels = draw(seed, images, classes, channels)
    features, labels, memory = tensors(features, labels, memory)
    memory_loss(features, labels, memory.requires_grad_(), weight, margin=0.0).backward()
    for c in range(classes):
        own = features[labels == c]
        step = (memory[c].detach() - own).sum(0) / (1 + len(own)) / images
        np.testing.assert_allclose(memory.grad[c].numpy(), step.numpy(), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize('margin', [0.0, 100.0])
def test_the_gradient_of_the_features_is_that_of_differences(margin):
    _, features, memory, labels = draw(0, 4, 3, 2)
    features, labels, memory = tensors(features, labels, memory)
    features.requires_grad_()
    assert torch.autograd.gradcheck(lambda f: memory_loss(f, labels, memory, 0.3, margin=margin), features)


def test_the_second_term_repels_with_the_weight_until_the_mean_distance_is_the_margin():
    _, features, memory, labels = draw(0, 4, 3, 2)
    features, labels, memory = tensors(features, labels, memory)
    near = torch.autograd.grad(memory_loss(features, labels, memory.requires_grad_(), 0.3, margin=1e3), memory)[0]
    far = torch.autograd.grad(memory_loss(features, labels, memory, 0.3, margin=0.0), memory)[0]
    expected = -0.3 * 0.01 * torch.autograd.grad(others_mean(features, labels, memory), memory)[0]
    torch.testing.assert_close(near - far, expected)


def test_parts_of_a_batch_have_the_mean_gradient_of_the_whole():
    _, features, memory, labels = draw(1, 6, 4, 3)
    features, labels, memory = tensors(features, labels, memory)
    # of other sizes
    parts = [slice(2), slice(2, 6)]
    margin = 1.001 * others_mean(features, labels, memory).item()
    # one part alone would not be repelled
    assert max(others_mean(features[part], labels[part], memory) for part in parts) > margin
    whole = gradients(features, labels, memory, margin=margin)
    sums = zip(*(memory_batch(features[part], labels[part], memory) for part in parts), strict=True)
    batch = MemoryBatch(*map(sum, sums))
    first, second = (gradients(features[part], labels[part], memory, batch, 2, margin) for part in parts)
    torch.testing.assert_close(whole[0], (first[0] + second[0]) / 2)
    torch.testing.assert_close(whole[1], torch.cat([first[1], second[1]]) / 2)


def others_mean(features, labels, memory):
    squares = (features[:, None] - memory[None]).square().sum(2)
    return squares.scatter(1, labels[:, None], 0.0).mean()


def gradients(features, labels, memory, batch=None, num_ranks=1, margin=10.0):
    """Of memory and features."""
    memory, features = memory.clone().requires_grad_(), features.clone().requires_grad_()
    loss = memory_loss(features, labels, memory, 0.3, batch, num_ranks, margin)
    return torch.autograd.grad(loss, [memory, features])


@pytest.mark.parametrize('left_out', [-100, 3])
def test_images_without_a_class_are_as_if_they_were_not_there(left_out):
    _, features, memory, labels = draw(2, 5, 3, 2)
    features, labels, memory = tensors(features, labels, memory)
    expected = gradients(features, labels, memory)
    more = torch.cat([labels, torch.tensor([left_out])])
    found = gradients(torch.cat([features, torch.ones(1, 2)]), more, memory)
    torch.testing.assert_close(found[0], expected[0])
    torch.testing.assert_close(found[1], torch.cat([expected[1], torch.zeros(1, 2)]))
    assert memory_loss(features[:1], torch.tensor([left_out]), memory).isfinite()


def test_a_feature_that_is_its_centroid_is_finite_and_so_are_its_gradients():
    features = torch.tensor([[3.0, 4.0], [0.0, 0.0]], requires_grad=True)
    memory = features.detach().clone()
    embedding = meta_embedding(features, memory, torch.zeros(2, 2), torch.zeros(2, 2))
    logits = squashed_cosine(embedding, torch.eye(2))
    loss = logits.sum() + memory_loss(features, torch.tensor([0, 1]), memory)
    loss.backward()
    assert logits.isfinite().all()
    assert features.grad.isfinite().all()
