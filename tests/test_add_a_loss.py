"""The example of docs/add-a-loss.md works with everything that asks something of a loss."""

import re
import types

import pytest
import torch
from oracle import random_batch
from torch import nn

from mmrecall import losses
from mmrecall.analysis.benchmark.baselines import all_candidates
from mmrecall.functional import recall_weights, softmax_focal_loss
from mmrecall.functional.statistics import class_statistics

NAME = 'DifficultyBalancedLoss'


@pytest.fixture
def loss_class(repository, monkeypatch):
    """The class of the page, listed as if it were in the package."""
    (code,) = re.findall(r'```python\n(.*?)```', (repository / 'docs' / 'add-a-loss.md').read_text(), re.DOTALL)
    module = types.ModuleType('difficulty_balanced')
    exec(code, module.__dict__)
    cls = getattr(module, NAME)
    monkeypatch.setattr(losses, NAME, cls, raising=False)
    monkeypatch.setattr(losses, '__all__', [*losses.__all__, NAME])
    return cls


def test_tau_zero_is_cross_entropy_and_tau_one_the_recall_loss(loss_class):
    logits, target = random_batch()
    found = loss_class(tau=0.0)(logits, target, ignore_index=255)
    torch.testing.assert_close(found, softmax_focal_loss(logits, target, gamma=0.0, ignore_index=255))
    found = loss_class(tau=1.0)(logits, target, ignore_index=255)
    torch.testing.assert_close(found, losses.RecallLoss()(logits, target, ignore_index=255))


def test_its_example_prints_what_it_says(loss_class):
    logits = torch.tensor([[2.0, 0.0], [3.0, 1.0], [0.0, 1.0]])
    value = loss_class(tau=2.0)(logits, torch.tensor([0, 1, 1]))
    assert f'{value!r}\n' in loss_class.__doc__


def test_the_benchmark_measures_its_variants(loss_class):
    names = [candidate.name for candidate in all_candidates()]
    assert f'mmrecall.{NAME}' in names
    assert f'mmrecall.{NAME}(tau=2.0)' in names


def test_the_hooks_and_the_gradient_view_take_it(loss_class):
    pytest.importorskip('mmengine')
    from mmrecall.analysis.gradients.comparison import gradients_of_call
    from mmrecall.engine.hooks.class_weight import LoggedClasses, _quantities
    from mmrecall.engine.hooks.loss_calls import LossCalls, is_softmax_loss

    loss = loss_class(tau=2.0)
    calls = LossCalls(nn.ModuleDict(dict(loss=loss)), is_softmax_loss)
    logits, target = random_batch()
    logits[0, 1, 0, 0] = float('inf')
    target[0, 0, 0] = 2
    loss(logits.requires_grad_(), target, ignore_index=255)
    assert calls.blame(None) == [f'loss ({NAME}) is not finite in the loss of class 2 and the logits of class 1']
    statistics = class_statistics(*random_batch(), 255)
    logged = {name: values for name, _, values in _quantities(loss, LoggedClasses(statistics, torch.zeros(4)))}
    weights = recall_weights(statistics) ** 2
    torch.testing.assert_close(logged['class_weight'], weights / weights.sum())
    calls.forget()
    logits, target = random_batch()
    loss(logits.requires_grad_(), target, ignore_index=255)
    gradients = gradients_of_call([loss], next(iter(calls)))
    assert all((term >= 0).all() and term.sum() > 0 for term in gradients)
