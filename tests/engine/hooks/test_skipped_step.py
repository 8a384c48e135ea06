from functools import partial
from itertools import pairwise

import pytest
import torch
from mmengine.optim import AmpOptimWrapper, OptimWrapper, OptimWrapperDict
from mmengine.optim.optimizer import amp_optimizer_wrapper
from small_runner import Flowers, Model, small_runner
from torch import nn

from mmrecall.engine import SkippedStepHook
from mmrecall.losses import RecallLoss

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU')


class StandIn:
    """What GradScaler does, for PyTorch before 2.3, which has none for a CPU."""

    def __init__(self):
        self._scale = 65536.0

    def get_scale(self):
        return self._scale

    def scale(self, loss):
        return loss * self._scale

    def step(self, optimizer):
        gradients = [one.grad for group in optimizer.param_groups for one in group['params']]
        self._skip = not all(gradient.isfinite().all() for gradient in gradients)
        if not self._skip:
            for gradient in gradients:
                gradient /= self._scale
            optimizer.step()

    def update(self, new_scale=None):
        self._scale = new_scale or self._scale * (0.5 if self._skip else 1)

    def state_dict(self):
        return dict(scale=self._scale)


def cpu_scaler(device=None, **options):
    return torch.amp.GradScaler('cpu', **options) if hasattr(torch.amp, 'GradScaler') else StandIn()


@pytest.fixture
def amp_on_a_cpu(monkeypatch):
    """`AmpOptimWrapper` as it is, but for its look for an accelerator and the device of its scaler."""
    monkeypatch.setattr(amp_optimizer_wrapper, 'is_cuda_available', lambda: True)
    monkeypatch.setattr(amp_optimizer_wrapper, 'GradScaler', cpu_scaler)
    return partial(AmpOptimWrapper, dtype='bfloat16')


class Samples(Flowers):
    """Whose features tell the class, most of the time."""

    def __init__(self):
        super().__init__([0, 1, 2, 0])
        generator = torch.Generator().manual_seed(0)
        self.features = torch.eye(4)[self.labels] + 0.5 * torch.randn(4, 4, generator=generator)

    def __getitem__(self, index):
        return dict(inputs=self.features[index], label=self.labels[index])


class Overflowing(Model):
    """Notes weights and recall before every batch; in some, told by their numbers, a gradient overflows."""

    def __init__(self, batches):
        super().__init__(RecallLoss(alpha=0.5, num_classes=3))
        self.batches = batches
        self.states = []
        nn.init.eye_(self.layer.weight)
        nn.init.zeros_(self.layer.bias)
        self.layer.weight.register_hook(self.overflow)

    def overflow(self, gradient):
        return gradient * float('inf') if len(self.states) in self.batches else gradient

    def state(self):
        return self.layer.weight.tolist(), self.loss_module.recall.tolist()

    def forward(self, inputs, label, mode='tensor'):
        self.states.append(self.state())
        return super().forward(inputs, label, mode)


def train(root, batches, wrap, num_batches=5, device='cpu', **options):
    """Weights and recalls before each batch, and at the end."""
    model = Overflowing(batches).to(device)
    # an epoch is one batch
    loop = dict(by_epoch=True, max_epochs=num_batches)
    runner = small_runner(root, model.loss_module, dataset=Samples(), train_cfg=loop)
    runner.model = model
    runner.optim_wrapper = wrap(model, **options)
    runner.train()
    weights, recalls = zip(*model.states, model.state(), strict=True)
    return weights, recalls


def sgd(wrapper):
    return lambda model, **options: wrapper(
        optimizer=torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9), **options
    )


def moved(states):
    """Numbers, from 1, of the batches after which the state is another."""
    return [number for number, (one, other) in enumerate(pairwise(states), 1) if one != other]


def test_a_skipped_step_leaves_the_running_recall_as_it_was(tmp_path, amp_on_a_cpu):
    weights, recalls = train(tmp_path, {2, 3}, sgd(amp_on_a_cpu))
    assert moved(weights) == [1, 4, 5]
    assert moved(recalls) == [1, 4, 5]


def test_a_step_is_seen_also_after_something_was_compiled(tmp_path, amp_on_a_cpu):
    torch.compile(torch.relu, backend='eager')(torch.ones(1))
    _, recalls = train(tmp_path, {2, 3}, sgd(amp_on_a_cpu))
    assert moved(recalls) == [1, 4, 5]


def test_without_the_hook_it_would_move(tmp_path, amp_on_a_cpu, monkeypatch):
    monkeypatch.setattr(SkippedStepHook, 'after_train_iter', lambda *_, **__: None)
    weights, recalls = train(tmp_path, {2, 3}, sgd(amp_on_a_cpu))
    assert moved(weights) == [1, 4, 5]
    assert moved(recalls) == [1, 2, 3, 4, 5]


def test_a_skipped_step_under_a_static_scale_is_seen_too(tmp_path, amp_on_a_cpu):
    _, recalls = train(tmp_path, {2}, sgd(amp_on_a_cpu), loss_scale=512.0)
    assert moved(recalls) == [1, 3, 4, 5]


def test_all_batches_of_an_accumulated_step_that_is_skipped_are_undone(tmp_path, amp_on_a_cpu):
    weights, recalls = train(tmp_path, {3}, sgd(amp_on_a_cpu), accumulative_counts=2)
    # steps after 2, 4 (skipped) and 5, the last; in between the recall moves
    assert moved(weights) == [2, 5]
    assert recalls[2] != recalls[3]
    assert recalls[4] == recalls[2]
    assert moved(recalls[4:]) == [1]


def test_the_checkpoint_of_a_skipped_step_has_the_recall_of_the_step_before(tmp_path, amp_on_a_cpu):
    _, recalls = train(tmp_path, {5}, sgd(amp_on_a_cpu))
    state = torch.load(tmp_path / 'work' / 'epoch_5.pth', weights_only=False)['state_dict']
    assert state['loss_module.recall'].tolist() == recalls[4]
    assert recalls[4] != recalls[3]


def two_optimizers(wrapper, other):
    def wrap(model):
        return OptimWrapperDict(
            weight=wrapper(optimizer=torch.optim.SGD([model.layer.weight], lr=0.1)),
            bias=other(optimizer=torch.optim.SGD([model.layer.bias], lr=0.1)),
        )

    return wrap


@pytest.fixture
def both_are_stepped(monkeypatch):
    def train_step(self, data, optim_wrapper):
        loss = self(**data)['loss']
        for wrapper in optim_wrapper.values():
            wrapper.zero_grad()
        scaler = optim_wrapper['weight'].loss_scaler
        scaler.scale(loss).backward()
        for wrapper in optim_wrapper.values():
            wrapper._inner_count += 1
            wrapper.step()
        return dict(loss=loss)

    monkeypatch.setattr(Overflowing, 'train_step', train_step)


@pytest.mark.usefixtures('both_are_stepped')
def test_of_several_optimizers_one_that_steps_keeps_the_recall(tmp_path, amp_on_a_cpu):
    _, recalls = train(tmp_path, {2}, two_optimizers(amp_on_a_cpu, OptimWrapper))
    assert moved(recalls) == [1, 2, 3, 4, 5]


@pytest.mark.usefixtures('both_are_stepped')
def test_several_optimizers_that_all_skip_undo_it(tmp_path, amp_on_a_cpu):
    # the second scaler finds what the first one scaled, and overflows as well
    def both(model):
        wrapper = two_optimizers(amp_on_a_cpu, amp_on_a_cpu)(model)
        model.layer.bias.register_hook(model.overflow)
        wrapper['bias'].loss_scaler = wrapper['weight'].loss_scaler
        return wrapper

    _, recalls = train(tmp_path, {2}, both)
    assert moved(recalls) == [1, 3, 4, 5]


def test_a_fused_optimizer_that_skips_by_itself_is_seen(tmp_path, amp_on_a_cpu):
    class Fused(torch.optim.SGD):
        _step_supports_amp_scaling = True

        @torch.no_grad()
        def step(self, closure=None):
            if not self.found_inf:
                for parameter in self.param_groups[0]['params']:
                    parameter.sub_(parameter.grad * self.grad_scale.reciprocal(), alpha=0.1)

    if not hasattr(torch.amp, 'GradScaler'):
        pytest.skip('no GradScaler for a CPU before PyTorch 2.3')
    weights, recalls = train(tmp_path, {2, 3}, lambda model: amp_on_a_cpu(optimizer=Fused(model.parameters(), lr=0.1)))
    assert moved(weights) == [1, 4, 5]
    assert moved(recalls) == [1, 4, 5]


def test_without_a_loss_scaler_the_hook_watches_nothing(tmp_path):
    runner = small_runner(tmp_path, RecallLoss(alpha=0.5, num_classes=3))
    (hook,) = (hook for hook in runner.hooks if isinstance(hook, SkippedStepHook))
    runner.train()
    assert (hook._before, hook._watched) == ([], [])


def test_after_a_training_the_optimizer_is_watched_no_more(tmp_path, amp_on_a_cpu):
    steps = []

    def wrapper_of(model):
        wrapper = sgd(amp_on_a_cpu)(model)
        steps.append((wrapper.optimizer, wrapper.optimizer.step))
        return wrapper

    train(tmp_path, (), wrapper_of)
    ((optimizer, step),) = steps
    assert optimizer.step == step


@needs_gpu
@pytest.mark.gpu
@pytest.mark.parametrize('dtype', ['float16', 'bfloat16'])
def test_on_a_gpu_twenty_steps_in_half_precision_give_the_running_recall_of_float32(tmp_path, dtype):
    options = dict(num_batches=20, device='cuda')
    weights, expected = train(tmp_path / 'single', (), sgd(OptimWrapper), **options)
    half_weights, found = train(tmp_path / 'half', (), sgd(partial(AmpOptimWrapper, dtype=dtype)), **options)
    assert moved(half_weights) == moved(weights) == list(range(1, 21))
    assert found[-1] == pytest.approx(expected[-1], abs=0.01)


@needs_gpu
@pytest.mark.gpu
@pytest.mark.parametrize('loss_scale', ['dynamic', 512.0])
def test_on_a_gpu_a_step_that_the_real_scaler_skips_leaves_the_recall_as_it_was(tmp_path, loss_scale):
    wrap = sgd(partial(AmpOptimWrapper, dtype='float16', loss_scale=loss_scale))
    weights, recalls = train(tmp_path, {2, 3}, wrap, device='cuda')
    assert moved(weights) == [1, 4, 5]
    assert moved(recalls) == [1, 4, 5]


@pytest.mark.parametrize(('classes', 'kept'), [(('a', 'b', 'c'), True), (('road', 'pole', 'bus'), False)])
def test_a_loaded_recall_of_other_classes_starts_anew_at_zero(tmp_path, caplog, classes, kept):
    first = small_runner(tmp_path / 'first', RecallLoss(alpha=0.5, num_classes=3))
    first.train()
    first.save_checkpoint(str(tmp_path), 'first.pth')
    loss = RecallLoss(alpha=0.5, num_classes=3)
    data = Flowers(classes=classes)
    second = small_runner(tmp_path / 'second', loss, dataset=data, load_from=str(tmp_path / 'first.pth'))
    second.logger.addHandler(caplog.handler)
    started = []
    loss.register_forward_pre_hook(lambda *_: started.append(loss.recall.clone()))
    second.train()
    expected = first.model.loss_module.recall if kept else torch.zeros(3)
    torch.testing.assert_close(started[0], expected)
    assert first.model.loss_module.recall.any()
    assert ('starts again at 0' in caplog.text) is not kept
