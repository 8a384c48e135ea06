import logging
import os
from collections import deque
from pathlib import Path

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.optim import OptimWrapper
from mmengine.runner import Runner
from mmengine.runner.checkpoint import find_latest_checkpoint
from small_runner import Flowers, Model, small_runner
from torch import nn
from torch.utils.data import DataLoader

from mmrecall.engine import NonFiniteLossHook
from mmrecall.engine.hooks.loss_calls import LossCalls, is_softmax_loss
from mmrecall.losses import LovaszSoftmaxLoss, RecallLoss, SoftDiceLoss, WeightedCrossEntropyLoss

NAN, INF = float('nan'), float('inf')


class Spoiled(nn.Module):
    """A loss of which some batches, told by their numbers, are changed by a function of logits and label."""

    def __init__(self, loss, change, batches):
        super().__init__()
        self.inner = loss
        self.change = change
        self.batches = batches
        self.seen = 0

    def forward(self, logits, label):
        self.seen += 1
        if self.seen in self.batches:
            logits, label = self.change(logits, label)
        return self.inner(logits, label)


class WithoutBadSteps(OptimWrapper):
    """Leaves out a step whose gradients are not finite, as a loss scaler does."""

    def step(self, **kwargs):
        parameters = [one for group in self.optimizer.param_groups for one in group['params']]
        if all(one.grad.isfinite().all() for one in parameters if one.requires_grad):
            super().step(**kwargs)


def channel(number, value):
    """One sample's logit of one class."""

    def change(logits, label):
        noise = torch.zeros_like(logits)
        noise[0, number] = value
        return logits + noise, label

    return change


def every(value):
    return lambda logits, label: (logits + value, label)


def runner_of(root, loss, patience=1, skips=False, model=None, **options):
    runner = small_runner(root, loss, hooks=[NonFiniteLossHook(patience)], **options)
    runner.model = model or runner.model
    if skips:
        runner.optim_wrapper = WithoutBadSteps(torch.optim.SGD(runner.model.parameters(), lr=0.1))
    return runner


def stopped(runner):
    with pytest.raises(FloatingPointError) as error:
        runner.train()
    return str(error.value)


def test_a_nan_logit_ends_the_training_with_iteration_loss_value_and_class(tmp_path):
    # the third batch, the first of the second epoch; its first sample is of class a
    message = stopped(runner_of(tmp_path, Spoiled(RecallLoss(), channel(1, NAN), {3}), skips=True))
    assert message.splitlines() == [
        'Training stopped at iteration 3 (epoch 2); the loss has not been finite for 1 iteration(s):',
        '  loss is nan',
        '  loss_module.inner (RecallLoss) is not finite in the loss of class a and the logits of class b',
        f'Resume from {tmp_path}/work/epoch_1.pth with a lower learning rate, or with clip_grad in the optim_wrapper',
    ]


def test_the_message_is_in_the_log_file(tmp_path):
    message = stopped(runner_of(tmp_path, Spoiled(RecallLoss(), channel(1, NAN), {3})))
    (log,) = (tmp_path / 'work').glob('*/*.log')
    assert message in log.read_text()


def test_without_names_of_classes_their_numbers_are_told(tmp_path):
    loss = Spoiled(RecallLoss(), channel(2, -INF), {1})
    message = stopped(runner_of(tmp_path, loss, skips=True, dataset=Flowers([2] * 4, classes=None)))
    assert 'the loss of class 2 and the logits of class 2' in message
    assert 'loss is inf' in message


# a lowest logit is a probability of 0, which is an error where it is the label's, and in a cross entropy
@pytest.mark.parametrize(
    ('loss', 'value', 'label'),
    [
        (RecallLoss(alpha=0.5, num_classes=3), NAN, 0),
        (RecallLoss(alpha=0.5, num_classes=3), INF, 0),
        (RecallLoss(alpha=0.5, num_classes=3), -INF, 2),
        (SoftDiceLoss(), NAN, 0),
        (SoftDiceLoss(), INF, 0),
        (LovaszSoftmaxLoss(per_image=True), NAN, 0),
        (LovaszSoftmaxLoss(per_image=True), INF, 0),
    ],
)
def test_logits_that_are_not_finite_are_those_of_a_class(tmp_path, loss, value, label):
    runner = runner_of(tmp_path, Spoiled(loss, channel(2, value), {1}), skips=True, dataset=Flowers([label] * 4))
    found = stopped(runner).splitlines()[2]
    assert found.startswith(f'  loss_module.inner ({type(loss).__name__}) is not finite in the loss of ')
    assert found.endswith('and the logits of class c')


def test_an_infinite_class_weight_is_found_though_the_logits_are_finite(tmp_path):
    loss = WeightedCrossEntropyLoss(class_weight=[1.0, 1e38, 1.0], loss_weight=1e10, normalizer='valid')
    message = stopped(runner_of(tmp_path, loss, skips=True, dataset=Flowers([0, 1, 1, 2])))
    assert 'loss is inf' in message
    assert message.splitlines()[2] == '  loss_module (WeightedCrossEntropyLoss) is not finite in the loss of class b'


def test_an_infinite_loss_weight_is_found_in_every_class_of_the_batch(tmp_path):
    loss = RecallLoss()
    loss.loss_weight = INF
    message = stopped(runner_of(tmp_path, loss, skips=True, dataset=Flowers([0, -100, 2, 2])))
    assert message.splitlines()[2] == '  loss_module (RecallLoss) is not finite in the loss of class a, c'


class SoftLabels(nn.Module):
    """Half of every sample is of class b."""

    def __init__(self):
        super().__init__()
        self.loss = RecallLoss()

    def forward(self, logits, label):
        soft = nn.functional.one_hot(label, 3) / 2 + torch.tensor([0, 0.5, 0])
        return self.loss(logits + torch.where(label == 2, NAN, 0.0)[:, None], soft)


def test_soft_labels_blame_every_class_of_the_sample(tmp_path):
    message = stopped(runner_of(tmp_path, SoftLabels(), skips=True, dataset=Flowers([0, 0, 0, 2])))
    assert 'the loss of class b, c and the logits of all 3 classes' in message


class Stock(nn.Module):
    """A loss of PyTorch."""

    def forward(self, logits, label):
        return nn.functional.cross_entropy(logits * NAN, label)


def test_of_a_stock_loss_the_term_is_named(tmp_path):
    message = stopped(runner_of(tmp_path, Stock(), skips=True))
    assert message.splitlines()[1:] == [
        '  loss is nan',
        'There is no checkpoint yet; lower the learning rate, or set clip_grad in the optim_wrapper',
    ]


class TwoTerms(Model):
    """Logs its terms by name, as the heads of mmseg do."""

    def forward(self, inputs, label, mode='tensor'):
        logits = self.layer(inputs)
        return {'decode.loss_recall': self.loss_module(logits, label), 'aux.loss_ce': Stock()(logits, label)}


def test_only_the_term_that_is_not_finite_is_named(tmp_path):
    runner = runner_of(tmp_path, None, skips=True, model=TwoTerms(RecallLoss()))
    assert stopped(runner).splitlines()[1:-1] == ['  loss is nan', '  aux.loss_ce is nan']


def test_an_iteration_based_training_is_stopped_too(tmp_path):
    loop = dict(type='IterBasedTrainLoop', max_iters=8, val_interval=100)
    message = stopped(runner_of(tmp_path, Spoiled(RecallLoss(), every(NAN), {2}), skips=True, train_cfg=loop))
    assert message.startswith('Training stopped at iteration 2; the loss has not been finite for 1 iteration(s):')


def epochs(number):
    return dict(by_epoch=True, max_epochs=number)


def test_one_iteration_less_than_patience_goes_on(tmp_path):
    loss = Spoiled(RecallLoss(), every(NAN), {2, 3, 5, 6})
    runner = runner_of(tmp_path, loss, patience=3, skips=True, train_cfg=epochs(4))
    runner.train()
    assert loss.seen == 8
    assert runner.model.layer.weight.isfinite().all()


def test_as_many_iterations_as_patience_end_it_and_each_is_told(tmp_path, caplog):
    loss = Spoiled(RecallLoss(), channel(1, NAN), {2, 4, 5, 6})
    runner = runner_of(tmp_path, loss, patience=3, skips=True, train_cfg=epochs(4))
    runner.logger.addHandler(caplog.handler)
    message = stopped(runner)
    assert message.startswith('Training stopped at iteration 6 (epoch 3); the loss has not been finite for 3 iter')
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    told = [one for one in warnings if one.startswith('The loss of iteration')]
    assert [one.split()[4] for one in told] == ['2', '4', '5']
    assert all(
        '3 such iterations in a row end the training:\n  loss is nan\n  loss_module.inner' in one for one in told
    )


def test_weights_that_are_not_finite_end_it_whatever_the_patience_and_no_checkpoint_holds_them(tmp_path):
    hooks = dict(checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=1, max_keep_ckpts=1))
    loss = Spoiled(RecallLoss(), channel(1, NAN), {3})
    message = stopped(runner_of(tmp_path, loss, patience=10, default_hooks=hooks))
    assert message.startswith('Training stopped at iteration 3 (epoch 2); neither the loss nor the weights are finite:')
    assert '  2 of 2 weights and statistics are not finite: layer.weight, layer.bias' in message
    last = find_latest_checkpoint(str(tmp_path / 'work'))
    assert Path(last).name == 'iter_2.pth'
    assert f'Resume from {last} ' in message
    weights = torch.load(last, weights_only=False)['state_dict']
    assert all(tensor.isfinite().all() for tensor in weights.values())


class Root(nn.Module):
    """Finite at 0, where its gradient is not."""

    def __init__(self):
        super().__init__()
        self.loss = RecallLoss()

    def forward(self, logits, label):
        return self.loss(logits, label) + (logits.sum() * 0).abs().sqrt()


def test_a_gradient_that_is_not_finite_ends_it_at_once_though_the_loss_is(tmp_path):
    message = stopped(runner_of(tmp_path, Root(), patience=10))
    assert message.startswith(
        'Training stopped at iteration 1 (epoch 1); the weights are not finite, though the loss is: a gradient was not'
    )


def test_accumulated_gradients_end_it_at_the_step_that_takes_them(tmp_path):
    hooks = dict(checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=1))
    runner = runner_of(tmp_path, Spoiled(RecallLoss(), every(NAN), {3}), patience=10, default_hooks=hooks)
    runner.optim_wrapper = dict(optimizer=dict(type='SGD', lr=0.1), accumulative_counts=2)
    message = stopped(runner)
    assert message.startswith('Training stopped at iteration 4 (epoch 2); the weights are not finite')
    last = torch.load(find_latest_checkpoint(str(tmp_path / 'work')), weights_only=False)
    assert last['meta']['iter'] == 3
    assert last['state_dict']['layer.weight'].isfinite().all()


class Normalised(Model):
    """Has a batch norm, whose statistics no loss scaler saves, and a mask."""

    def __init__(self, loss):
        super().__init__(loss)
        self.norm = nn.BatchNorm1d(4)
        self.register_buffer('mask', torch.tensor([0.0, -INF]))
        self.frozen = nn.Parameter(torch.tensor([0.0, -INF]), requires_grad=False)
        self.batches = deque([1.0, 1.0, INF, 1.0])

    def forward(self, inputs, label, mode='tensor'):
        return super().forward(self.norm(inputs * self.batches.popleft()), label, mode)


def test_statistics_of_a_batch_norm_that_no_scaler_saves_end_it_and_a_mask_does_not(tmp_path):
    message = stopped(runner_of(tmp_path, None, patience=10, skips=True, model=Normalised(RecallLoss())))
    assert 'iteration 3' in message
    assert '2 of 6 weights and statistics are not finite: norm.running_mean, norm.running_var' in message


@pytest.mark.parametrize(('value', 'dtype'), [(6e4, torch.float16), (1e30, torch.float32)])
def test_weights_whose_sum_of_squares_overflows_are_finite(tmp_path, value, dtype):
    runner = runner_of(tmp_path, RecallLoss())
    runner.model.register_parameter('large', nn.Parameter(torch.full((16,), value, dtype=dtype)))
    runner.model.register_buffer('empty', torch.zeros(0))
    runner.train()
    assert runner.iter == 4


class Remembered(Hook):
    """Notes what the hook before it still holds."""

    def __init__(self):
        self.calls = []

    def after_train_iter(self, runner, *_, **__):
        self.calls.append(len(watching(runner)._calls))


def watching(runner):
    (hook,) = (hook for hook in runner.hooks if isinstance(hook, NonFiniteLossHook))
    return hook._calls


def test_nothing_is_remembered_after_an_iteration_or_a_training(tmp_path):
    loss, remembered = RecallLoss(), Remembered()
    runner = runner_of(tmp_path, loss)
    runner.register_hook(remembered)
    runner.train()
    assert remembered.calls == [0, 0, 0, 0]
    loss(torch.zeros(2, 3, requires_grad=True), torch.tensor([0, 1]))
    assert watching(runner)._calls == []


def test_only_calls_that_train_are_remembered_and_their_graph_is_not():
    loss = RecallLoss()
    calls = LossCalls(nn.Sequential(loss), is_softmax_loss)
    logits = torch.zeros(2, 3, requires_grad=True)
    with torch.no_grad():
        loss(logits, torch.tensor([0, 1]))
    loss.eval()(logits, torch.tensor([0, 1]))
    loss.train()(2 * logits, target=torch.tensor([0, 1]))
    (call,) = calls._calls
    assert call.arguments()['logits'].grad_fn is None
    assert call.value.grad_fn is None


def test_the_diagnosis_moves_no_running_recall(tmp_path):
    loss = RecallLoss(alpha=0.5, num_classes=3)
    loss.loss_weight = INF
    spoiled = Spoiled(loss, lambda logits, label: (nn.functional.one_hot(label, 3) + 0 * logits, label), {1})
    stopped(runner_of(tmp_path, spoiled, skips=True, dataset=Flowers([0] * 4)))
    # moved once, by the batch
    assert loss.recall.tolist() == [0.5, 0, 0]


@pytest.mark.parametrize('patience', [0, -1])
def test_patience_is_at_least_one_iteration(patience):
    with pytest.raises(ValueError, match=f'got patience={patience}'):
        NonFiniteLossHook(patience)


def test_a_compiled_model_is_watched_too(tmp_path):
    runner = runner_of(tmp_path, Spoiled(RecallLoss(), channel(1, NAN), {2}), skips=True)
    torch._dynamo.reset()
    runner.model.forward = torch.compile(runner.model.forward, backend='aot_eager')
    message = stopped(runner)
    assert 'loss_module.inner (RecallLoss) is not finite in the loss of class' in message
    assert message.splitlines()[2].endswith('and the logits of class b')


def run_on_a_rank(rank, world_size, root, bad_ranks, patience, skips):
    loss = Spoiled(RecallLoss(), channel(1, NAN), {2, 3} if rank in bad_ranks else ())
    # as a launcher does
    os.environ['LOCAL_RANK'] = str(rank)
    runner = Runner(
        model=Model(loss),
        work_dir=root,
        experiment_name=f'{Path(root).name}_{rank}',
        launcher='pytorch',
        cfg=dict(model_wrapper_cfg=dict(type='MMDistributedDataParallel', device_ids=None, broadcast_buffers=False)),
        train_dataloader=DataLoader(Flowers([0] * 8), batch_size=4),
        train_cfg=dict(by_epoch=True, max_epochs=2),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
        custom_hooks=[NonFiniteLossHook(patience)],
        log_level='CRITICAL',
    )
    if skips:
        runner.optim_wrapper = WithoutBadSteps(torch.optim.SGD(runner.model.parameters(), lr=0.1))
    try:
        runner.train()
    except FloatingPointError as error:
        return str(error).splitlines()
    return runner.iter


def test_what_one_rank_meets_stops_all_together_and_each_tells_of_it(two_ranks, tmp_path):
    first, second = two_ranks.run(run_on_a_rank, str(tmp_path), [1], 2, True)
    assert first == second
    assert first[0].startswith('Training stopped at iteration 3 (epoch 2); the loss has not been finite for 2 iter')
    assert first[1:3] == [
        '  rank 1: loss is nan',
        '  rank 1: loss_module.inner (RecallLoss) is not finite in the loss of class a and the logits of class b',
    ]
    assert len(first) == 4


def test_ranks_whose_averaged_gradient_is_not_finite_stop_at_that_iteration(two_ranks, tmp_path):
    first, second = two_ranks.run(run_on_a_rank, str(tmp_path), [0], 10, False)
    assert first == second
    assert first[0].startswith('Training stopped at iteration 2 (epoch 1); neither the loss nor the weights are')
    assert [line[:9] for line in first[1:-1]] == ['  rank 0:'] * 3 + ['  rank 1:']


def test_ranks_that_meet_it_for_fewer_iterations_go_on(two_ranks, tmp_path):
    assert two_ranks.run(run_on_a_rank, str(tmp_path), [0, 1], 3, True) == [4, 4]
