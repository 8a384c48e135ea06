import json
from collections import deque
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mmengine.visualization import Visualizer
from small_runner import small_runner
from torch import nn

from mmrecall.engine import ClassWeightHook
from mmrecall.functional.hard_samples import sum_focal_weights
from mmrecall.losses import (
    BalancedLogitVariationLoss,
    BalancedSoftmaxLoss,
    LDAMLoss,
    OHEMCrossEntropyLoss,
    RecallLoss,
    SoftDiceLoss,
    SoftmaxFocalLoss,
    WeightedCrossEntropyLoss,
)

LOGITS = torch.tensor([[2.0, 0.0, 0.0], [3.0, 1.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 5.0], [1.0, 0.0, 0.0]])
TARGET = torch.tensor([0, 1, 1, 255, 0])
# of class 0 both are right, of class 1 one of two


class Head(nn.Module):
    """Where a loss stands in a model of mmseg."""

    def __init__(self, losses):
        super().__init__()
        self.layer = nn.Linear(1, 1)
        self.loss_decode = losses


def fake_runner(root, loss, classes=('sky', 'pole', 'car'), iteration=49):
    model = nn.Module()
    model.decode_head = Head(loss)
    return SimpleNamespace(
        model=model,
        iter=iteration,
        train_dataloader=SimpleNamespace(dataset=SimpleNamespace(metainfo=dict(classes=classes))),
        visualizer=Visualizer(vis_backends=[dict(type='LocalVisBackend')], save_dir=str(root)),
    )


def lines_of(root):
    return [json.loads(line) for file in root.rglob('scalars.json') for line in file.read_text().splitlines()]


def logged(root, loss, batches=((LOGITS, TARGET),), hook=None, **options):
    """What one iteration leaves in the log, by key; the loss is called for each batch."""
    runner, hook = fake_runner(root, loss, **options), hook or ClassWeightHook()
    hook.before_train(runner)
    hook.before_train_iter(runner, 0)
    for module in loss if isinstance(loss, nn.ModuleList) else [loss]:
        for logits, target in batches:
            module(logits.clone().requires_grad_(), target, ignore_index=255)
    hook.after_train_iter(runner, 0)
    hook.after_train(runner)
    lines = lines_of(root)
    return lines[0] if lines else {}


def of(log, quantity, module='decode_head.loss_decode'):
    prefix = f'{quantity}/{module}/'
    return {key.removeprefix(prefix): value for key, value in log.items() if key.startswith(prefix)}


def test_recall_and_share_are_those_of_the_batch_and_an_absent_class_is_left_out(tmp_path):
    log = logged(tmp_path, RecallLoss())
    assert of(log, 'class_recall') == {'sky': 1.0, 'pole': 0.5}
    assert of(log, 'class_share') == {'sky': 0.5, 'pole': 0.5}
    assert of(log, 'class_weight') == {'sky': 0.0, 'pole': 1.0}
    assert log['step'] == 50
    assert len(log) == 7


def test_a_running_recall_and_its_weight_are_logged_as_the_loss_used_them(tmp_path):
    loss = RecallLoss(alpha=0.25, num_classes=3)
    log = logged(tmp_path, loss)
    assert of(log, 'class_recall') == {'sky': 1.0, 'pole': 0.5}
    assert of(log, 'class_running_recall') == {'sky': 0.25, 'pole': 0.125}
    assert of(log, 'class_weight') == pytest.approx({'sky': 0.75 / 1.625, 'pole': 0.875 / 1.625}, rel=1e-5)
    assert loss.recall.tolist() == [0.25, 0.125, 0.0]


def test_a_sigmoid_of_one_channel_has_the_two_classes_of_the_data(tmp_path):
    one_channel = LOGITS[:, 1:2] - LOGITS[:, :1]
    loss = RecallLoss(use_sigmoid=True, alpha=0.5, num_classes=1)
    log = logged(tmp_path, loss, [(one_channel, TARGET)], classes=('sky', 'pole'))
    assert of(log, 'class_recall') == {'sky': 1.0, 'pole': 0.5}
    assert of(log, 'class_share') == {'sky': 0.5, 'pole': 0.5}
    assert of(log, 'class_running_recall') == {'sky': 0.5, 'pole': 0.25}
    assert of(log, 'class_weight') == pytest.approx({'sky': 0.4, 'pole': 0.6})


@pytest.mark.parametrize('loss', [RecallLoss, WeightedCrossEntropyLoss, SoftmaxFocalLoss])
def test_a_sigmoid_of_several_channels_has_two_classes_for_each(tmp_path, loss):
    target = torch.tensor([[1, 0, 0], [1, 1, 0], [0, 1, 0], [255, 0, 0], [1, 0, 0]])
    log = logged(tmp_path, loss(use_sigmoid=True), [(LOGITS, target)])
    expected = {'sky=0': 1.0, 'sky=1': 1.0, 'pole=0': 1.0, 'pole=1': 1.0, 'car=0': 0.8}
    assert of(log, 'class_recall') == expected
    weights = 'hypothetical_recall_weight' if loss is WeightedCrossEntropyLoss else 'class_weight'
    if loss is SoftmaxFocalLoss:
        # of label 0 the p is that of a sigmoid of -z
        mean = {f'{one}={label}': [] for one in ('sky', 'pole', 'car') for label in (0, 1)}
        for row, labels in zip(LOGITS.tolist(), target.tolist(), strict=True):
            for name, score, label in zip(('sky', 'pole', 'car'), row, labels, strict=True):
                if label != 255:
                    mean[f'{name}={label}'].append((1 / (1 + np.exp(score if label else -score))) ** 2)
        mean = {name: np.mean(found) for name, found in mean.items() if found}
        assert of(log, weights) == pytest.approx(
            {name: one / sum(mean.values()) for name, one in mean.items()}, rel=1e-4
        )
    else:
        assert of(log, weights) == {name: float(name == 'car=0') for name in expected}


def test_static_weights_are_in_shares_of_the_classes_present(tmp_path):
    log = logged(tmp_path, WeightedCrossEntropyLoss([1.0, 3.0, 5.0]))
    assert of(log, 'class_weight') == {'sky': 0.25, 'pole': 0.75}


def test_weights_of_a_region_loss_are_the_shares_of_the_classes_in_its_mean(tmp_path):
    weighted = SoftDiceLoss(class_weight=[1.0, 3.0, 5.0], reduction='none')
    found = of(logged(tmp_path / 'weighted', weighted), 'class_weight')
    assert found == {'sky': 0.25, 'pole': 0.75}
    of_classes = SoftDiceLoss(reduction='none')(LOGITS, TARGET, ignore_index=255)
    mean = found['sky'] * of_classes[0] + found['pole'] * of_classes[1]
    torch.testing.assert_close(weighted(LOGITS, TARGET, ignore_index=255, reduction_override='mean'), mean)
    assert not of(logged(tmp_path / 'without', SoftDiceLoss()), 'class_weight')


def test_deferred_weights_are_those_in_use(tmp_path):
    loss = LDAMLoss([60, 30, 10], class_weight='inverse_frequency')
    loss.reweighting = False
    assert of(logged(tmp_path / 'before', loss), 'class_weight') == {'sky': 0.5, 'pole': 0.5}
    loss.reweighting = True
    after = of(logged(tmp_path / 'after', loss), 'class_weight')
    assert after == pytest.approx({'sky': 1 / 3, 'pole': 2 / 3}, rel=1e-5)


def test_focal_weight_is_the_mean_over_the_samples_of_the_class(tmp_path):
    weights = of(logged(tmp_path, SoftmaxFocalLoss(gamma=2.0)), 'class_weight')
    by_sample = np.array([(1 - LOGITS[n].double().softmax(0)[TARGET[n]].item()) ** 2 for n in (0, 4, 1, 2)])
    sky, pole = by_sample[:2].mean(), by_sample[2:].mean()
    assert weights == pytest.approx({'sky': sky / (sky + pole), 'pole': pole / (sky + pole)}, rel=1e-5)


@pytest.mark.parametrize(
    'make',
    [
        lambda: WeightedCrossEntropyLoss(),
        lambda: BalancedSoftmaxLoss([60, 30, 10]),
        lambda: BalancedLogitVariationLoss([60, 30, 10]),
        lambda: pytest.importorskip('mmseg.models').CrossEntropyLoss(avg_non_ignore=True),
        lambda: nn.CrossEntropyLoss(ignore_index=255),
    ],
    ids=['ours', 'balanced softmax', 'logit variation', 'mmseg', 'torch'],
)
def test_a_cross_entropy_without_weights_logs_those_that_would_apply(make, tmp_path):
    loss = make()
    if isinstance(loss, nn.CrossEntropyLoss):
        forward = loss.forward
        loss.forward = lambda logits, target, ignore_index: forward(logits, target)
    log = logged(tmp_path, loss)
    by_sample = np.array([1 - LOGITS[n].double().softmax(0)[TARGET[n]].item() for n in (0, 4, 1, 2)])
    sky, pole = by_sample[:2].mean(), by_sample[2:].mean()
    assert of(log, 'hypothetical_recall_weight') == {'sky': 0.0, 'pole': 1.0}
    assert of(log, 'hypothetical_focal_weight') == pytest.approx(
        {'sky': sky / (sky + pole), 'pole': pole / (sky + pole)}
    )
    assert not of(log, 'class_weight')


def test_a_stock_cross_entropy_with_weights_logs_those(tmp_path):
    loss = pytest.importorskip('mmpretrain.models').CrossEntropyLoss(class_weight=[1.0, 3.0, 5.0])
    inputs, labels = LOGITS[[0, 1]].clone().requires_grad_(), TARGET[[0, 1]]
    runner, hook = fake_runner(tmp_path, loss), ClassWeightHook()
    hook.before_train(runner)
    hook.before_train_iter(runner, 0)
    loss(inputs, labels, avg_factor=2)
    hook.after_train_iter(runner, 0)
    hook.after_train(runner)
    (line,) = lines_of(tmp_path)
    assert of(line, 'class_weight') == {'sky': 0.25, 'pole': 0.75}


def test_a_loss_without_class_weights_logs_recall_alone(tmp_path):
    log = logged(tmp_path, OHEMCrossEntropyLoss())
    assert {key.split('/')[0] for key in log} == {'class_recall', 'class_share', 'step'}


def test_weights_that_are_all_zero_are_left_out(tmp_path):
    log = logged(tmp_path, RecallLoss(), batches=[(LOGITS[:1], TARGET[:1])])
    assert of(log, 'class_recall') == {'sky': 1.0}
    assert not of(log, 'class_weight')


def test_several_losses_and_calls_are_logged_by_name_and_added_up(tmp_path):
    losses = nn.ModuleList([RecallLoss(), SoftmaxFocalLoss()])
    log = logged(tmp_path, losses, batches=[(LOGITS[:2], TARGET[:2]), (LOGITS[2:], TARGET[2:])])
    for number in (0, 1):
        assert of(log, 'class_recall', f'decode_head.loss_decode.{number}') == {'sky': 1.0, 'pole': 0.5}


@pytest.mark.parametrize('classes', [None, ('sky',), ('sky', 'sky', 'car')], ids=['none', 'another number', 'doubled'])
def test_classes_without_a_name_each_are_numbers(classes, tmp_path):
    assert of(logged(tmp_path, RecallLoss(), classes=classes), 'class_recall') == {'0': 1.0, '1': 0.5}


def test_a_name_with_slashes_and_quotes_stays_whole(tmp_path):
    classes = ('sky', 'pole/"<b>"', 'car')
    assert of(logged(tmp_path, RecallLoss(), classes=classes), 'class_recall') == {'sky': 1.0, 'pole/"<b>"': 0.5}


@pytest.mark.parametrize('iteration', [0, 48, 50])
def test_an_iteration_off_the_interval_leaves_nothing_and_keeps_nothing(iteration, tmp_path):
    loss, hook = RecallLoss(), ClassWeightHook()
    runner = fake_runner(tmp_path, loss, iteration=iteration)
    hook.before_train(runner)
    hook.before_train_iter(runner, 0)
    loss(LOGITS.clone().requires_grad_(), TARGET, ignore_index=255)
    assert not list(hook._calls)
    hook.after_train_iter(runner, 0)
    assert lines_of(tmp_path) == []


def test_an_iteration_that_is_logged_keeps_nothing_for_the_next(tmp_path):
    loss, hook = RecallLoss(), ClassWeightHook()
    runner = fake_runner(tmp_path, loss)
    hook.before_train(runner)
    hook.before_train_iter(runner, 0)
    loss(LOGITS.clone().requires_grad_(), TARGET, ignore_index=255)
    assert len(list(hook._calls)) == 1
    hook.after_train_iter(runner, 0)
    assert not list(hook._calls)


def test_nothing_watches_the_losses_after_the_training(tmp_path):
    loss = RecallLoss()
    logged(tmp_path, loss)
    assert not loss._forward_hooks


def test_interval_zero_is_refused():
    with pytest.raises(ValueError, match='got interval=0'):
        ClassWeightHook(interval=0)


def trained(root, *hooks):
    torch.manual_seed(0)
    loss = RecallLoss(alpha=0.5, num_classes=3)
    runner = small_runner(root, loss, hooks=hooks, randomness=dict(seed=0))
    runner.train()
    return runner


def test_a_real_runner_logs_at_the_interval_and_trains_as_without(tmp_path):
    runner = trained(tmp_path / 'with', dict(type='mmrecall.ClassWeightHook', interval=2))
    plain = trained(tmp_path / 'without')
    lines = [line for line in lines_of(tmp_path / 'with') if any('class_' in key for key in line)]
    assert [line['step'] for line in lines] == [2, 4]
    assert set(of(lines[1], 'class_share', 'loss_module')) == {'b', 'c', 'a'}
    for name, weight in runner.model.state_dict().items():
        assert weight.equal(plain.model.state_dict()[name]), name


@pytest.mark.parametrize(
    'make',
    [nn.CrossEntropyLoss, lambda: pytest.importorskip('mmpretrain.models').CrossEntropyLoss(), RecallLoss],
    ids=['torch', 'mmpretrain', 'ours'],
)
def test_a_compiled_model_is_logged_as_an_eager_one(make, tmp_path):
    found = []
    for name in ('eager', 'compiled'):
        torch.manual_seed(0)
        # mmengine has one visualizer for all runs of one name in one second
        root = tmp_path / f'{tmp_path.name}-{name}'
        hook = dict(type='mmrecall.ClassWeightHook', interval=2)
        runner = small_runner(root, make(), hooks=[hook], randomness=dict(seed=0))
        if name == 'compiled':
            torch._dynamo.reset()
            # a list that grows would be compiled anew in every iteration
            runner.model.seen = deque(maxlen=0)
            runner.model.forward = torch.compile(runner.model.forward, backend='aot_eager')
        runner.train()
        assert not runner.model.loss_module._forward_hooks
        lines = [line for line in lines_of(root) if any('class_' in key for key in line)]
        assert [line['step'] for line in lines] == [2, 4]
        found.append(
            [of(line, quantity, 'loss_module') for line in lines for quantity in ('class_recall', 'class_share')]
        )
    assert found[0] == found[1]
    assert set(found[0][1]) == {'a', 'b', 'c'}


def log_on_a_rank(rank, world_size, root):
    loss = WeightedCrossEntropyLoss()
    runner, hook = fake_runner(Path(root), loss), ClassWeightHook()
    hook.before_train(runner)
    hook.before_train_iter(runner, 0)
    own = slice(2) if rank == 0 else slice(2, None)
    loss(LOGITS[own].clone().requires_grad_(), TARGET[own], ignore_index=255)
    hook.after_train_iter(runner, 0)
    hook.after_train(runner)


def test_two_ranks_log_once_and_of_both(two_ranks, tmp_path):
    two_ranks.run(log_on_a_rank, str(tmp_path))
    lines = lines_of(tmp_path)
    assert len(lines) == 1
    assert of(lines[0], 'class_recall') == {'sky': 1.0, 'pole': 0.5}
    assert of(lines[0], 'hypothetical_recall_weight') == {'sky': 0.0, 'pole': 1.0}


def log_without_the_first_rank(rank, world_size, root):
    loss = nn.CrossEntropyLoss(ignore_index=255)
    runner, hook = fake_runner(Path(root), loss), ClassWeightHook()
    hook.before_train(runner)
    hook.before_train_iter(runner, 0)
    if rank == 1:
        loss(LOGITS.clone().requires_grad_(), TARGET)
    hook.after_train_iter(runner, 0)
    hook.after_train(runner)


def test_a_rank_that_did_not_call_the_loss_keeps_nobody_waiting(two_ranks, tmp_path):
    two_ranks.run(log_without_the_first_rank, str(tmp_path))
    lines = lines_of(tmp_path)
    assert of(lines[0], 'class_recall') == {'sky': 1.0, 'pole': 0.5}


@settings(deadline=None, max_examples=50)
@given(st.integers(2, 5), st.integers(0, 12), st.floats(0, 3), st.integers(0, 2**31))
def test_focal_weights_are_those_of_a_loop_for_hard_and_soft_labels(num_classes, num_samples, gamma, seed):
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(num_samples, num_classes, 2, generator=generator, dtype=torch.float64)
    target = torch.randint(-1, num_classes, (num_samples, 2), generator=generator)
    expected = np.zeros(num_classes)
    for sample in range(num_samples):
        for place in range(2):
            label = target[sample, place].item()
            if label >= 0:
                expected[label] += (1 - logits[sample, :, place].softmax(0)[label].item()) ** gamma
    np.testing.assert_allclose(sum_focal_weights(logits, target, gamma, -1).numpy(), expected, rtol=1e-6, atol=1e-9)
    soft = nn.functional.one_hot(target.clamp(min=0), num_classes).movedim(-1, 1).double() * (target >= 0).unsqueeze(1)
    np.testing.assert_allclose(sum_focal_weights(logits, soft, gamma, -1).numpy(), expected, rtol=1e-6, atol=1e-9)
