"""The head of OLTR: what trains what, on one rank and on two."""

import logging

import pytest
import torch
from mmengine.runner.checkpoint import load_state_dict
from torch.nn.parallel import DistributedDataParallel

pytest.importorskip('mmpretrain')

from sdn_network import samples

from mmrecall.models.heads import OLTRHead

CLASSES, CHANNELS = 3, 4
# so short that the images of the second rank alone would not be repelled, and those of both are
SUMS, COUNTS = torch.arange(12.0).reshape(3, 4) / 4, torch.tensor([2, 1, 4])


def filled(**options):
    """A head whose memory is SUMS / COUNTS."""
    torch.manual_seed(0)
    head = OLTRHead(CLASSES, CHANNELS, **options)
    head.set_means(SUMS, COUNTS)
    return head


def batch(number=4):
    generator = torch.Generator().manual_seed(1)
    features = torch.randn(number, CHANNELS, generator=generator)
    features[1::2] *= 2
    return 0.7 * features, [0, 0, 1, 2, 2, 2][:number]


def gradients(head, features, labels):
    losses = head.loss((features,), samples(labels))
    sum(losses.values()).backward()
    return {name: parameter.grad for name, parameter in head.named_parameters()}


def test_the_classification_loss_does_not_see_the_memory():
    head = filled()
    features, labels = batch()
    head.loss((features,), samples(labels))['loss_cls'].backward()
    found = {name for name, parameter in head.named_parameters() if parameter.grad is not None}
    assert found == {name for name, _ in head.named_parameters()} - {'memory'}


def test_the_loss_of_the_memory_trains_nothing_else_of_the_head():
    head = filled()
    features, labels = batch()
    head.loss((features,), samples(labels))['loss_memory'].backward()
    found = {name for name, parameter in head.named_parameters() if parameter.grad is not None}
    assert found == {'memory'}


def test_its_weight_is_that_of_the_argument():
    features, labels = batch()
    first, second = (
        filled(memory_loss_weight=weight).loss((features,), samples(labels))['loss_memory'] for weight in (0.01, 0.03)
    )
    assert second.item() == pytest.approx(3 * first.item())


def test_the_memory_is_in_the_checkpoint_and_filled_with_it():
    trained, fresh = filled(), OLTRHead(CLASSES, CHANNELS)
    features, _ = batch()
    with pytest.raises(ValueError, match='add the ClassMemoryHook'):
        fresh((features,))
    fresh.load_state_dict(trained.state_dict())
    assert fresh.memory.tolist() == (SUMS / COUNTS[:, None]).tolist()
    torch.testing.assert_close(fresh((features,)), trained((features,)))


def test_a_checkpoint_of_before_the_memory_does_not_fill_it():
    head = filled()
    head.load_state_dict(OLTRHead(CLASSES, CHANNELS).state_dict())
    assert not head.is_filled


def test_a_memory_of_other_classes_does_not_fill_it():
    fresh = OLTRHead(CLASSES + 1, CHANNELS)
    # what mmengine's load_from does with it: a warning
    load_state_dict(fresh, filled().state_dict(), strict=False, logger=logging.getLogger())
    assert not fresh.is_filled


@pytest.mark.parametrize('label', [-1, CLASSES])
def test_a_label_that_is_no_class_is_refused(label):
    features, labels = batch()
    with pytest.raises(ValueError, match=rf'outside \[0, {CLASSES}\)'):
        filled().loss((features,), samples([label, *labels[1:]]))


def test_an_autocast_dtype_changes_nothing():
    features, _ = batch()
    head = filled()
    with torch.autocast('cpu', torch.bfloat16):
        found = head((features,))
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, head((features,)), rtol=0, atol=0)


def test_a_model_in_float64_stays_in_it():
    features, labels = batch()
    losses = filled().double().loss((features.double(),), samples(labels))
    assert {value.dtype for value in losses.values()} == {torch.float64}


class Network(torch.nn.Module):
    """The head, called as a model is."""

    def __init__(self):
        super().__init__()
        self.head = filled()

    def forward(self, features, labels):
        return sum(self.head.loss((features,), samples(labels)).values())


def gradients_on_a_rank(rank, world_size):
    features, labels = batch(6)
    model = DistributedDataParallel(Network())
    model(features[rank::world_size], labels[rank::world_size]).backward()
    return {name: parameter.grad.tolist() for name, parameter in model.module.head.named_parameters()}


def mean_distance(head, features, labels):
    squares = (features[:, None] - head.memory[None].detach()).square().sum(2)
    return squares.scatter(1, torch.tensor(labels)[:, None], 0.0).mean()


def test_two_ranks_have_the_gradients_of_the_whole_batch(two_ranks):
    features, labels = batch(6)
    of_ranks = [mean_distance(filled(), features[rank::2], labels[rank::2]) for rank in range(2)]
    # the margin is 10: one rank alone would not be repelled
    assert max(of_ranks) > 10 > mean_distance(filled(), features, labels)
    expected = gradients(filled(), *batch(6))
    first, second = two_ranks.run(gradients_on_a_rank)
    assert first == second
    for name, gradient in expected.items():
        torch.testing.assert_close(torch.tensor(first[name]), gradient, msg=lambda text, name=name: f'{name}: {text}')


def refusal_on_a_rank(rank, world_size):
    features, labels = batch(2)
    try:
        filled().loss((features,), samples([CLASSES, 0] if rank else labels))
    except ValueError as error:
        return str(error)


def test_a_bad_label_of_one_rank_raises_on_all(two_ranks):
    first, second = two_ranks.run(refusal_on_a_rank)
    assert 'on another rank' in first
    assert f'outside [0, {CLASSES})' in second


def mixed_refusal_on_a_rank(rank, world_size):
    features, labels = batch(2)
    images = samples(labels)
    if rank:
        images[0].set_gt_score(torch.tensor([0.5, 0.5, 0.0]))
    try:
        filled().loss((features,), images)
    except ValueError as error:
        return str(error)


def test_mixed_images_of_one_rank_raise_on_all(two_ranks):
    first, second = two_ranks.run(mixed_refusal_on_a_rank)
    assert 'refused' in first
    assert 'Mixup' in second


def loss_without_gradients_on_a_rank(rank, world_size):
    features, labels = batch(2)
    if rank:
        return None
    with torch.no_grad():
        return filled().train().loss((features,), samples(labels))['loss_memory'].item()


def test_a_pass_without_gradients_waits_for_no_other_rank(two_ranks):
    features, labels = batch(2)
    with torch.no_grad():
        expected = filled().loss((features,), samples(labels))['loss_memory'].item()
    assert two_ranks.run(loss_without_gradients_on_a_rank) == [pytest.approx(expected), None]
