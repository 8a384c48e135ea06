import pickle

import pytest
import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from mmrecall.functional import lifted_structure_loss, range_loss
from mmrecall.losses import LiftedStructureLoss, RangeLoss

LOSSES = {
    'range': (RangeLoss, dict(k=3, margin=2.0, alpha=0.5, beta=0.7, loss_weight=0.3)),
    'lifted': (LiftedStructureLoss, dict(margin=2.0, loss_weight=0.3)),
}
CHANNELS = 4
# images of every rank
NUMBERS = {
    'equal': (5, 5),
    'uneven': (7, 2),
    'second empty': (6, 0),
    'first empty': (0, 6),
    'one image each': (1, 1),
}


def make(name):
    cls, options = LOSSES[name]
    return cls(**options)


def network():
    torch.manual_seed(1)
    return nn.Linear(3, CHANNELS).double()


def parts(kind, labelled):
    """(images, labels) of every rank, with more pairs between the ranks than on one of them."""
    generator = torch.Generator().manual_seed(3)
    images = torch.randn(sum(NUMBERS[kind]), 3, generator=generator, dtype=torch.float64)
    labels = torch.randint(3, (len(images),), generator=generator) if labelled else torch.arange(len(images))
    return list(zip(images.split(NUMBERS[kind]), labels.split(NUMBERS[kind]), strict=True))


def train(model, loss, batch):
    """The value, and the gradient of the weights after two steps."""
    images, labels = batch
    for _ in range(2):
        model.zero_grad()
        value = loss(model(images), labels)
        value.backward()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter -= 0.1 * parameter.grad
    return value.item(), torch.cat([parameter.grad.flatten() for parameter in model.parameters()]).tolist()


def rank_trains(rank, world_size, name, kind, labelled):
    return train(DistributedDataParallel(network()), make(name), parts(kind, labelled)[rank])


@pytest.mark.parametrize('name', LOSSES)
@pytest.mark.parametrize('kind', NUMBERS)
@pytest.mark.parametrize('labelled', [True, False], ids=['classes', 'no pair of a class'])
def test_two_ranks_equal_one_process_with_the_whole_batch(name, kind, labelled, two_ranks):
    answers = two_ranks.run(rank_trains, name, kind, labelled)
    batches = parts(kind, labelled)
    value, gradient = train(network(), make(name), [torch.cat(tensors) for tensors in zip(*batches, strict=True)])
    for rank_value, rank_gradient in answers:
        assert rank_value == pytest.approx(value)
        assert rank_gradient == pytest.approx(gradient)


@pytest.mark.parametrize('name', LOSSES)
def test_pairs_between_ranks_count(name, two_ranks):
    """Without them a step is another one, or the test above shows nothing."""
    (_, gradient), _ = two_ranks.run(rank_trains, name, 'uneven', True)
    alone = [train(network(), make(name), batch)[1] for batch in parts('uneven', True)]
    assert torch.tensor(alone).mean(0).tolist() != pytest.approx(gradient, rel=1e-3)


def rank_alone(rank, world_size):
    """With sync off, and in validation, one rank alone may call."""
    if rank:
        return []
    images, labels = torch.randn(4, 2), torch.tensor([0, 0, 1, 1])
    loss = RangeLoss()
    with torch.no_grad():
        unseen = loss(images, labels)
    return [RangeLoss(sync=False)(images, labels).item(), loss.eval()(images, labels).item(), unseen.item()]


def test_without_sync_or_in_validation_a_rank_waits_for_none(two_ranks):
    found, _ = two_ranks.run(rank_alone)
    assert found == [found[0]] * 3


def rank_refuses(rank, world_size, features, labels):
    loss = LiftedStructureLoss()
    if rank:
        features, labels = torch.zeros(2, 3), torch.zeros(2, dtype=torch.long)
    messages = []
    try:
        loss(features, labels)
    except (TypeError, ValueError) as error:
        messages.append(str(error))
    # the next batch is as if nothing had been
    return messages, loss(torch.ones(2, 3), torch.tensor([rank, rank])).item()


@pytest.mark.parametrize(
    ('features', 'labels', 'message', 'message_of_the_other'),
    [
        (torch.zeros(2, 3), torch.zeros(2, 3), 'class indices', '1 other rank'),
        (None, torch.zeros(2), 'expected a tensor', '1 other rank'),
        (torch.zeros(2, 4), torch.zeros(2, dtype=torch.long), '4, 3 channels', '4, 3 channels'),
    ],
)
def test_what_one_rank_refuses_no_rank_waits_for(features, labels, message, message_of_the_other, two_ranks):
    ((first,), value), ((second,), other) = two_ranks.run(rank_refuses, features, labels)
    assert message in first
    assert message_of_the_other in second
    assert value == other > 0


@pytest.mark.parametrize('name', LOSSES)
def test_a_module_is_its_function_times_its_weight_and_holds_no_state(name):
    features, labels = torch.randn(9, 3), torch.randint(3, (9,))
    loss = make(name)
    if name == 'range':
        expected = range_loss(features, labels, k=3, margin=2.0, alpha=0.5, beta=0.7)
    else:
        expected = lifted_structure_loss(features, labels, margin=2.0)
    torch.testing.assert_close(loss(features, labels), 0.3 * expected)
    assert not loss.state_dict()
    assert torch.equal(pickle.loads(pickle.dumps(loss))(features, labels), loss(features, labels))


@pytest.mark.parametrize(
    ('cls', 'options', 'error', 'message'),
    [
        (RangeLoss, dict(k=0), ValueError, 'k=0'),
        (RangeLoss, dict(margin=-1), ValueError, 'margin=-1'),
        (RangeLoss, dict(sync=1), TypeError, 'sync=1'),
        (LiftedStructureLoss, dict(margin='1'), TypeError, "margin='1'"),
        (LiftedStructureLoss, dict(loss_weight=float('inf')), ValueError, 'loss_weight=inf'),
    ],
)
def test_options_that_do_not_fit_are_named(cls, options, error, message):
    with pytest.raises(error, match=message):
        cls(**options)
