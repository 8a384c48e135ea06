"""What several ranks compute equals what one process computes with the whole batch."""

import pytest
import torch
from oracle import random_batch
from torch import nn
from torch.distributed import fsdp
from torch.nn.parallel import DistributedDataParallel

from mmrecall.losses import RecallLoss

CLASSES = 4


def model():
    torch.manual_seed(1)
    return nn.Conv1d(3, CLASSES, 1).double()


def whole_batch(world_size, soft=False):
    """Images and labels for all ranks together, different numbers of valid samples on each; of four, one has none."""
    images, _ = random_batch((2 * world_size, 3, 25), seed=5)
    _, target = random_batch((2 * world_size, CLASSES, 25), ignored=0.1, seed=6)
    target[0, 5:] = 255
    if world_size > 2:
        target[2:4] = 255
    if soft:
        masses = nn.functional.one_hot(target.clamp(max=CLASSES), CLASSES + 1)[..., :CLASSES].movedim(-1, 1)
        target = 0.8 * masses + 0.2 * masses.roll(1, dims=1)
    return images, target


def train(network, loss, images, target):
    """Three steps; the losses, the gradients of the last step and the running recall."""
    values = []
    for _ in range(3):
        network.zero_grad()
        value = loss(network(images), target, ignore_index=255, avg_factor=len(images))
        value.backward()
        values.append(value.item())
        with torch.no_grad():
            for parameter in network.parameters():
                parameter -= 0.5 * parameter.grad
    gradients = torch.cat([parameter.grad.flatten() for parameter in network.parameters()]).tolist()
    return values, gradients, loss.recall.tolist() if loss.recall is not None else []


def ranks_train(rank, world_size, options, soft):
    images, target = whole_batch(world_size, soft)
    part = slice(2 * rank, 2 * rank + 2)
    return train(DistributedDataParallel(model()), RecallLoss(**options), images[part], target[part])


@pytest.mark.parametrize('ranks', ['two_ranks', 'four_ranks'])
@pytest.mark.parametrize(
    ('options', 'soft'),
    [
        (dict(), False),
        (dict(metric='iou', normalizer='weight', class_weight=[1.0, 2.0, 0.5, 1.0]), False),
        (dict(alpha=0.5, num_classes=CLASSES, normalizer='all'), False),
        (dict(alpha=0.5, num_classes=CLASSES, normalizer='weight'), True),
        (dict(reduction='sum'), False),
    ],
)
def test_ranks_equal_one_process_with_the_whole_batch(ranks, options, soft, request):
    ranks = request.getfixturevalue(ranks)
    answers = ranks.run(ranks_train, options, soft)
    values, gradients, recall = train(model(), RecallLoss(**options), *whole_batch(ranks.world_size, soft))
    assert torch.tensor([answer[0] for answer in answers]).mean(0).tolist() == pytest.approx(values)
    for _, rank_gradients, rank_recall in answers:
        assert rank_gradients == pytest.approx(gradients)
        assert rank_recall == pytest.approx(recall)


def ranks_alone(rank, world_size):
    loss = RecallLoss(alpha=0.5, num_classes=2, sync=False)
    logits = torch.tensor([[1.0, 0.0]], requires_grad=True)
    loss(logits, torch.tensor([rank]))
    return loss.recall.tolist()


def test_without_sync_each_rank_has_its_own_recall(two_ranks):
    assert two_ranks.run(ranks_alone) == [[0.5, 0.0], [0.0, 0.0]]


def rank_with_bad_input(rank, world_size, case):
    loss = RecallLoss(alpha=0.5, num_classes=3)
    logits, target = torch.zeros(2, 3, requires_grad=True), torch.tensor([0, 1])
    if rank == 1:
        logits, target = {
            'label': (logits, torch.tensor([0, 9])),
            'shape': (logits, torch.tensor([0, 1, 2])),
            'dtype': (logits.long(), target),
            'classes': (torch.zeros(2, 4, requires_grad=True), target),
        }[case]
    try:
        loss(logits, target)
        message = ''
    except (TypeError, ValueError) as error:
        message = str(error)
    state = loss.recall.tolist()
    # and the ranks are still in step
    loss(torch.eye(3, requires_grad=True), torch.tensor([0, 1, 2]))
    return message, state, loss.recall.tolist()


@pytest.mark.parametrize(
    ('case', 'message'), [('label', 'from 9 to 9'), ('shape', r'(3,)'), ('dtype', 'int64'), ('classes', '4 channels')]
)
def test_bad_input_on_one_rank_raises_on_all_and_moves_nothing(two_ranks, case, message):
    (first, *states), (second, *other_states) = two_ranks.run(rank_with_bad_input, case)
    assert message in second
    assert ('another rank' if case == 'label' else 'other rank') in first
    assert states == other_states == [[0, 0, 0], [0.5, 0.5, 0.5]]


def rank_refusing_its_second_batch(rank, world_size, case):
    loss = RecallLoss(class_weight=[1.0, 2.0, 3.0] if case == 'class_weight' else None)
    logits, target = torch.zeros(2, 3, requires_grad=True), torch.tensor([0, 1])
    loss(logits, target)
    if rank == 1:
        logits = {
            'one dimension': torch.zeros(3),
            'no tensor': [0.0, 1.0],
            'other classes': torch.zeros(2, 4),
            'one channel': torch.zeros(2, 1),
            'class_weight': torch.zeros(2, 4),
        }[case]
    try:
        loss(logits, target)
    except (TypeError, ValueError) as error:
        return str(error)


@pytest.mark.parametrize('case', ['one dimension', 'no tensor', 'other classes', 'one channel', 'class_weight'])
def test_a_rank_that_knows_the_classes_from_its_last_batch_alone_still_tells_the_others(two_ranks, case):
    first, second = two_ranks.run(rank_refusing_its_second_batch, case)
    assert 'other rank' in first
    assert 'logits' in second or 'class_weight' in second


def rank_sampling(rank, world_size):
    loss = RecallLoss()
    with torch.no_grad():  # as mmseg's OHEM sampler calls it in a training step
        loss(torch.zeros(2, 3), torch.tensor([0, 9 if rank else 1]))
    try:
        loss(torch.zeros(2, 3, requires_grad=True), torch.tensor([0, 9 if rank else 1]))
    except ValueError as error:
        return str(error)


def test_without_gradients_in_a_training_step_no_rank_raises_alone(two_ranks):
    first, second = two_ranks.run(rank_sampling)
    assert 'another rank' in first
    assert 'from 9 to 9' in second


def rank_with_nonfinite(rank, world_size):
    loss = RecallLoss(alpha=0.5, num_classes=3)
    logits = torch.eye(3)
    logits[0, 0] = float('nan') if rank == 1 else 1.0
    loss(logits.requires_grad_(), torch.tensor([0, 1, 2]))
    return loss.recall.tolist()


def test_logits_that_are_not_finite_on_one_rank_leave_the_recall_of_all(two_ranks):
    assert two_ranks.run(rank_with_nonfinite) == [[0, 0, 0], [0, 0, 0]]


def rank_that_validates_alone(rank, world_size):
    loss = RecallLoss(alpha=0.5, num_classes=3)
    logits, target = torch.eye(3, requires_grad=True), torch.tensor([0, 1, 2])
    if rank == 0:
        loss.eval()(logits, target)
        with torch.no_grad():
            loss.train()(logits, target)
    return loss.recall.tolist()


def test_outside_training_no_rank_waits_for_another(two_ranks):
    assert two_ranks.run(rank_that_validates_alone) == [[0, 0, 0], [0, 0, 0]]


class ModelWithLoss(nn.Module):
    """A layer and a loss with a running recall, as a mmengine model holds them."""

    def __init__(self):
        super().__init__()
        self.layer = model().float()
        self.loss = RecallLoss(alpha=0.1, num_classes=CLASSES)

    def forward(self, images, target):
        return self.loss(self.layer(images), target, ignore_index=255)


def train_with_optimizer(whole, network, images, target):
    """Ten steps; the losses and the running recall."""
    optimizer = torch.optim.SGD(whole.parameters(), lr=0.5)
    values = []
    for _ in range(10):
        optimizer.zero_grad()
        value = whole(images.float(), target)
        value.backward()
        optimizer.step()
        values.append(value.item())
    return values, network.loss.recall.tolist()


def ranks_shard(rank, world_size, kind):
    network = ModelWithLoss()
    if kind == 'FullyShardedDataParallel':
        half = fsdp.MixedPrecision(buffer_dtype=torch.bfloat16)
        whole = fsdp.FullyShardedDataParallel(network, mixed_precision=half, device_id=torch.device('cpu'))
    else:
        mesh = torch.distributed.init_device_mesh('cpu', (world_size,))
        whole = fsdp.fully_shard(network, mesh=mesh)
    images, target = whole_batch(world_size)
    part = slice(2 * rank, 2 * rank + 2)
    return train_with_optimizer(whole, network, images[part], target[part])


@pytest.mark.skipif(not hasattr(fsdp, 'fully_shard'), reason='FSDP of this PyTorch needs a GPU')
@pytest.mark.parametrize('kind', ['FullyShardedDataParallel', 'fully_shard'])
def test_sharded_ranks_with_buffers_in_bfloat16_equal_one_process_with_the_whole_batch(two_ranks, kind):
    network = ModelWithLoss()
    values, recall = train_with_optimizer(network, network, *whole_batch(2))
    (first, first_recall), (second, second_recall) = two_ranks.run(ranks_shard, kind)
    # FSDP averages the gradients, so each rank's loss is twice its share
    assert [(one + other) / 2 for one, other in zip(first, second, strict=True)] == pytest.approx(values)
    assert first_recall == second_recall == pytest.approx(recall)
    assert max(recall) > 0.2
