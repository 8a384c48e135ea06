import copy
from types import SimpleNamespace

import pytest
import torch
from small_runner import automatic, small_runner

from mmrecall.engine import DeferredReweightingHook
from mmrecall.losses import LDAMLoss, LovaszSoftmaxLoss, RecallLoss, SoftDiceLoss, WeightedCrossEntropyLoss

EPOCHS = dict(by_epoch=True, max_epochs=4)
ITERATIONS = dict(by_epoch=False, max_iters=5)


def seen(root, hook, train_cfg=EPOCHS, **options):
    """Whether the loss weighed, batch by batch; two batches an epoch."""
    runner = small_runner(root, automatic(), hooks=[hook], train_cfg=train_cfg, **options)
    runner.train()
    return runner.model.seen


def test_weights_begin_with_the_given_epoch(tmp_path):
    assert seen(tmp_path, DeferredReweightingHook(begin=2)) == [False] * 4 + [True] * 4


def test_weights_begin_with_the_given_iteration(tmp_path, monkeypatch):
    # the loop over iterations waits two seconds after every pass
    monkeypatch.setattr('mmengine.runner.loops.time.sleep', lambda seconds: None)
    hook = dict(type='mmrecall.DeferredReweightingHook', begin=3, by_epoch=False)
    assert seen(tmp_path, hook, ITERATIONS) == [False] * 3 + [True] * 2


def test_from_the_start_is_always(tmp_path):
    assert seen(tmp_path, DeferredReweightingHook(begin=0)) == [True] * 8


@pytest.mark.parametrize(('begin', 'expected'), [(2, [True] * 4), (3, [False] * 2 + [True] * 2)])
def test_a_resumed_training_goes_on_where_it_was(begin, expected, tmp_path):
    seen(tmp_path, DeferredReweightingHook(begin), dict(by_epoch=True, max_epochs=2))
    assert seen(tmp_path, DeferredReweightingHook(begin), resume=True) == expected


def test_ldam_defers_too(tmp_path):
    loss = LDAMLoss([5, 2, 1], num_classes=3, class_weight='effective_number')
    runner = small_runner(tmp_path, loss, hooks=[DeferredReweightingHook(begin=1)])
    runner.train()
    assert runner.model.seen == [False] * 2 + [True] * 2


def test_a_model_without_class_weights_is_refused(tmp_path):
    with pytest.raises(ValueError, match='found no loss with class weights to defer'):
        small_runner(tmp_path, RecallLoss(), hooks=[DeferredReweightingHook(begin=1)]).train()


def test_epochs_are_refused_where_iterations_are_counted(tmp_path):
    with pytest.raises(ValueError, match='begin=2 is an epoch, but this training counts iterations'):
        seen(tmp_path, DeferredReweightingHook(begin=2), ITERATIONS)


def test_a_negative_begin_is_refused():
    with pytest.raises(ValueError, match='got begin=-1'):
        DeferredReweightingHook(begin=-1)


@pytest.mark.parametrize('kind', [LDAMLoss, LovaszSoftmaxLoss, SoftDiceLoss, WeightedCrossEntropyLoss])
def test_a_compiled_loss_gets_its_weights_too(kind):
    loss = kind(class_counts=[50, 5, 2], class_weight='effective_number')
    torch._dynamo.reset()
    compiled = torch.compile(copy.deepcopy(loss), backend='aot_eager')
    logits, target = torch.randn(8, 3), torch.randint(3, (8,))
    hook = DeferredReweightingHook(begin=1)
    values = []
    for epoch in (0, 1):
        for module in (loss, compiled):
            hook.before_train_epoch(SimpleNamespace(model=module, epoch=epoch))
        torch.testing.assert_close(compiled(logits, target), loss(logits, target))
        values.append(loss(logits, target))
    assert values[0] != values[1]


@pytest.mark.parametrize('begin', [2, 160])
def test_a_training_that_ends_before_the_weights_begin_is_said(begin, tmp_path, caplog):
    with caplog.at_level('WARNING', logger='mmengine'):
        runner = small_runner(tmp_path, automatic(), hooks=[DeferredReweightingHook(begin=begin)])
        runner.logger.addHandler(caplog.handler)
        runner.train()
    assert f'begin={begin}, but the training ends after 2 epochs' in caplog.text
