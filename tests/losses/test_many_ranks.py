"""Every loss on many ranks: what one process computes with the whole batch, by one small all-reduce a step."""

from contextlib import ExitStack, contextmanager
from unittest import mock

import pytest
import torch
import torch.distributed as dist
from every_loss import CLASSES, LOSSES, REGION, WITHOUT_SOFT_LABELS, make, normalizers, registered
from oracle import random_batch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

FEATURES = 3
TASKS = ('segmentation', 'classification')
# images of every rank, their size, and the share of their labels that is ignored
RANKS = ((3, (4, 5), 0.1), (1, (6, 3), 0.6), (2, (2, 7), 0.3), (2, (5, 5), 0.0))
KINDS = ('uneven', 'one rank ignored', 'one rank empty')
# chooses or sorts among the samples of a rank
BY_RANK = ('top k', 'lovasz', 'weighted lovasz')


def scenarios(name):
    """(kind of batch, soft labels, options of the loss)."""
    found = [(kind, False, {}) for kind in KINDS]
    found.append(('uneven', False, dict(reduction='sum')))
    found += [('uneven', False, dict(normalizer=normalizer)) for normalizer in normalizers(name)]
    return found if name in (*WITHOUT_SOFT_LABELS, 'top k') else [*found, ('uneven', True, {})]


def parts(task, kind, soft, world_size):
    """(features, labels) of every rank."""
    return [part(task, kind, soft, rank) for rank in range(world_size)]


def part(task, kind, soft, rank):
    number, size, ignored = RANKS[rank]
    shape = (number, FEATURES, *size) if task == 'segmentation' else (5 * number, FEATURES)
    features, _ = random_batch(shape, seed=rank)
    _, target = random_batch((shape[0], CLASSES, *shape[2:]), ignored=ignored, seed=10 + rank)
    if rank == 0:
        target[target == 2] = 1
    if rank == 1 and kind == 'one rank ignored':
        target.fill_(255)
    if rank == 1 and kind == 'one rank empty':
        features, target = features[:0], target[:0]
    return features, soft_labels(target) if soft else target


def soft_labels(target):
    """Nine tenths of the mass at the label, the rest beside it; none where it is ignored."""
    onehot = nn.functional.one_hot(target.clamp(max=CLASSES), CLASSES + 1)[..., :CLASSES].movedim(-1, 1).double()
    return 0.9 * onehot + 0.1 * onehot.roll(1, dims=1)


def one_batch(name, batches):
    """The batches of all ranks as one: pixels in a row, or images that are padded with ignored pixels."""
    if batches[0][0].ndim == 2:
        return [torch.cat(tensors) for tensors in zip(*batches, strict=True)]
    if name == 'lovasz per image':
        return [torch.cat([pad(one, 0 if which == 0 else 255) for one in tensors])
                for which, tensors in enumerate(zip(*batches, strict=True))]  # fmt: skip
    return [torch.cat([row_of_pixels(one) for one in tensors], dim=-1) for tensors in zip(*batches, strict=True)]


def pad(images, value):
    return nn.functional.pad(images, (0, 8 - images.shape[-1], 0, 8 - images.shape[-2]), value=value)


def row_of_pixels(images):
    """(N, C, H, W) as (1, C, 1, N x H x W), (N, H, W) as (1, 1, N x H x W)."""
    if images.ndim == 3:
        return images.reshape(1, 1, -1)
    return images.movedim(1, 0).reshape(1, images.shape[1], 1, -1)


def network(task):
    torch.manual_seed(1)
    return (nn.Conv2d(FEATURES, CLASSES, 1) if task == 'segmentation' else nn.Linear(FEATURES, CLASSES)).double()


def value_of(loss, model, batch):
    """As mmpretrain's heads call it, with the number of samples, or mmseg's, without."""
    features, target = batch
    caller = dict(avg_factor=len(features)) if features.ndim == 2 else {}
    return loss(model(features), target, ignore_index=255, **caller)


def value_by_rank(name, options, model, batches):
    """What the docstrings of those that look at the samples of one rank promise for all."""
    labelled = [batch for batch in batches if (batch[1] != 255).any()]
    total = sum(value_of(make(name, reduction='sum'), model, batch) for batch in labelled)
    if options.get('reduction') == 'sum':
        return total
    if name == 'top k':
        return total / sum(int(0.7 * (target != 255).sum() + 1e-6) for _, target in labelled)
    return sum(value_of(make(name), model, batch) for batch in labelled) / len(labelled)


def train(model, loss, value):
    """Two steps; the losses, the last gradient and the state of the loss."""
    values = []
    for _ in range(2):
        model.zero_grad()
        one = value()
        one.backward()
        values.append(one.item())
        with torch.no_grad():
            for parameter in model.parameters():
                parameter -= 0.3 * parameter.grad
    gradient = torch.cat([parameter.grad.flatten() for parameter in model.parameters()]).tolist()
    return values, gradient, state_of(loss)


def state_of(loss):
    return [number for buffer in loss.state_dict().values() for number in buffer.tolist()]


def rank_trains(rank, world_size, name, task, kind, soft, options):
    model, loss = DistributedDataParallel(network(task)), make(name, **options)
    batch = part(task, kind, soft, rank)
    return train(model, loss, lambda: value_of(loss, model, batch))


def rank_trains_all(rank, world_size, name, task):
    return [rank_trains(rank, world_size, name, task, *scenario) for scenario in scenarios(name)]


def one_process_trains(name, task, kind, soft, options, world_size):
    model, loss, batches = network(task), make(name, **options), parts(task, kind, soft, world_size)
    if name in BY_RANK:
        return train(model, loss, lambda: value_by_rank(name, options, model, batches))
    whole = one_batch(name, batches)
    return train(model, loss, lambda: value_of(loss, model, whole))


def mean_over_ranks(answers):
    return torch.tensor([values for values, _, _ in answers]).mean(0).tolist()


def test_every_registered_loss_is_tried_on_many_ranks():
    assert registered() == {cls for cls, _ in LOSSES.values()}


@pytest.mark.parametrize('ranks', ['two_ranks', 'four_ranks'])
@pytest.mark.parametrize('task', TASKS)
@pytest.mark.parametrize('name', LOSSES)
def test_many_ranks_equal_one_process_with_the_whole_batch(name, task, ranks, request):
    ranks = request.getfixturevalue(ranks)
    answers_of_ranks = ranks.run(rank_trains_all, name, task)
    for scenario, *answers in zip(scenarios(name), *answers_of_ranks, strict=True):
        values, gradient, state = one_process_trains(name, task, *scenario, ranks.world_size)
        assert mean_over_ranks(answers) == pytest.approx(values), scenario
        for _, rank_gradient, rank_state in answers:
            assert rank_gradient == pytest.approx(gradient), scenario
            assert rank_state == pytest.approx(state), scenario


def rank_trains_without_the_all_reduce(rank, world_size, *arguments):
    with mock.patch.object(dist, 'all_reduce'):
        return rank_trains(rank, world_size, *arguments)


@pytest.mark.parametrize('task', TASKS)
@pytest.mark.parametrize('name', LOSSES)
def test_without_the_all_reduce_the_ranks_are_not_one_process(name, task, two_ranks):
    answers = two_ranks.run(rank_trains_without_the_all_reduce, name, task, 'uneven', False, {})
    values, gradient, _ = one_process_trains(name, task, 'uneven', False, {}, 2)
    assert mean_over_ranks(answers) != pytest.approx(values, rel=1e-5)
    assert answers[0][1] != pytest.approx(gradient, rel=1e-5)


def rank_without_reduction(rank, world_size, name, task):
    return value_of(make(name, reduction='none'), network(task), part(task, 'uneven', False, rank)).tolist()


@pytest.mark.parametrize('task', TASKS)
@pytest.mark.parametrize('name', LOSSES)
def test_without_reduction_a_rank_has_its_own_rows_and_the_classes_of_all(name, task, two_ranks):
    answers = [torch.tensor(answer) for answer in two_ranks.run(rank_without_reduction, name, task)]
    batches = parts(task, 'uneven', False, 2)
    if name in BY_RANK:
        expected = [value_of(make(name, reduction='none'), network(task), batch) for batch in batches]
    else:
        whole = value_of(make(name, reduction='none').train(), network(task), one_batch(name, batches)).detach()
        expected = [whole, whole] if name in REGION else split(whole, answers)
    for answer, rows in zip(answers, expected, strict=True):
        torch.testing.assert_close(answer, rows.detach().to(answer))


def split(whole, answers):
    sizes = [answer.numel() for answer in answers]
    return [rows.reshape(answer.shape) for rows, answer in zip(whole.flatten().split(sizes), answers, strict=True)]


# of torch.distributed, whatever moves data between ranks
COLLECTIVES = [
    name
    for name in dir(dist)
    if name.startswith(('all_', 'barrier', 'broadcast', 'gather', 'irecv', 'isend', 'monitored_', 'recv', 'reduce',
                        'scatter', 'send', 'batch_isend'))
]  # fmt: skip


@contextmanager
def recorded_collectives():
    """(name, numbers) of each one in their order."""
    log = []

    def recorded(name):
        collective = getattr(dist, name)

        def record(tensor, *arguments, **options):
            log.append((name, tensor.numel()))
            return collective(tensor, *arguments, **options)

        return record

    with ExitStack() as stack:
        for name in COLLECTIVES:
            stack.enter_context(mock.patch.object(dist, name, recorded(name)))
        yield log


def rank_records(rank, world_size, name):
    """What crosses ranks in a refused step, the first, a good one, one with a bad label, and outside training."""
    loss, logits = make(name), torch.randn(3, CLASSES, requires_grad=True)
    refused, bad = (torch.tensor([0, 1]), torch.tensor([0, 1, 99])) if rank == 1 else 2 * [torch.tensor([0, 1, 2])]
    messages = []
    with recorded_collectives() as log:
        for target in (refused, torch.tensor([0, 1, 2]), bad, torch.tensor([3, 255, 2])):
            try:
                loss(logits, target, ignore_index=255)
            except ValueError as error:
                log.append('raised')
                messages.append(str(error))
        with torch.no_grad():
            loss(logits, torch.tensor([0, 1, 2]))
        loss.eval()(logits, torch.tensor([0, 1, 2]))
    return log, messages


@pytest.mark.parametrize('name', LOSSES)
def test_a_step_is_one_all_reduce_of_at_most_three_numbers_a_class_and_four(name, two_ranks):
    (log, messages), (second_log, second_messages) = two_ranks.run(rank_records, name)
    step = log[0]
    assert log == second_log == [step, 'raised', step, step, 'raised', step]
    assert step[0] == 'all_reduce'
    assert step[1] <= 3 * CLASSES + 4
    assert '1 other rank(s) refused' in messages[0]
    assert '(2,)' in second_messages[0]
    assert '1 label(s) on another rank' in messages[1]
    assert 'from 99 to 99' in second_messages[1]


def test_the_record_knows_the_collectives_by_name():
    assert {'all_reduce', 'all_gather_object', 'broadcast', 'barrier', 'reduce_scatter'} <= set(COLLECTIVES)


def rank_fails(rank, world_size, name):
    """Anything that goes wrong on one rank before the all-reduce, as running out of memory."""
    loss, logits, target = make(name), torch.eye(CLASSES, requires_grad=True), torch.arange(CLASSES)
    loss(logits, target)
    state = state_of(loss)
    failure = mock.patch.object(loss, 'update', side_effect=RuntimeError('out of memory'))
    try:
        with failure if rank == 1 else ExitStack():
            loss(logits, target)
        message = ''
    except (RuntimeError, ValueError) as error:
        message = str(error)
    unmoved = state == state_of(loss)
    # and the ranks are still in step
    return message, unmoved, bool(loss(logits, target).isfinite())


@pytest.mark.parametrize('name', LOSSES)
def test_a_rank_that_fails_before_the_all_reduce_leaves_no_other_waiting(name, two_ranks):
    first, second = two_ranks.run(rank_fails, name)
    assert first == (
        'got arguments of this loss that 1 other rank(s) refused; see the errors of those ranks',
        True,
        True,
    )
    assert second == ('out of memory', True, True)


def rank_begins_with_other_logits(rank, world_size, name, shape):
    """Return the error of a first step in which rank 1 has logits of another shape, and whether the next step works."""
    loss, logits, target = make(name, num_classes=None), torch.eye(CLASSES, requires_grad=True), torch.arange(CLASSES)
    try:
        loss(torch.zeros(shape, requires_grad=True) if rank == 1 else logits, target)
        message = ''
    except ValueError as error:
        message = str(error)
    return message, bool(loss(logits, target).isfinite())


@pytest.mark.parametrize('shape', [(CLASSES,), (CLASSES, 1)])
@pytest.mark.parametrize('name', [name for name, (cls, _) in LOSSES.items() if not cls.num_counts])
def test_losses_without_counts_refuse_together_whatever_the_first_logits_are(name, shape, two_ranks):
    (first, first_goes_on), (second, second_goes_on) = two_ranks.run(rank_begins_with_other_logits, name, shape)
    assert first == 'got arguments of this loss that 1 other rank(s) refused; see the errors of those ranks'
    assert str(shape) in second
    assert first_goes_on
    assert second_goes_on
