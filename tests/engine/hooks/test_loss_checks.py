"""Messages of a Runner about losses and heads before it trains."""

import copy

import pytest
import torch
from mmengine.config import Config
from mmengine.model import BaseModel, BaseModule
from mmengine.registry import MODELS
from mmengine.runner import FlexibleRunner, Runner
from small_runner import Flowers
from torch import nn
from torch.utils.data import DataLoader

import mmrecall
from mmrecall.engine.hooks.loss_checks import (
    check_named_losses,
    check_names,
    complete_query_heads,
    losses_that_may_be_skipped,
)
from mmrecall.losses import RecallLoss, SoftDiceLoss, WeightedCrossEntropyLoss

RECALL = dict(type='mmrecall.RecallLoss')
SOFT_DICE = dict(type='mmrecall.SoftDiceLoss')


class Swallowing(BaseModule):
    """A head that takes any keyword, as mmdet's do."""

    def __init__(self, loss_cls=None, **kwargs):
        super().__init__()
        if loss_cls is not None:
            self.loss_cls = MODELS.build(loss_cls)


class Lazy(BaseModule):
    """A head that builds its loss later."""

    def __init__(self, loss_decode):
        super().__init__()
        self.later = dict(loss=loss_decode)


class Hidden(BaseModule):
    """A head whose loss is no submodule."""

    def __init__(self, loss_decode):
        super().__init__()
        self.losses = [MODELS.build(loss_decode)]


class Renaming(BaseModule):
    """A head with a loss of another name than its key, as mmpretrain's have."""

    def __init__(self, loss, number=1):
        super().__init__()
        self.loss_module = nn.ModuleList([MODELS.build(loss) for _ in range(number)])


class Net(BaseModel):
    """Heads beside a layer; the loss of the layer is cross entropy."""

    def __init__(self, **heads):
        super().__init__()
        self.layer = nn.Linear(4, 3)
        for name, head in heads.items():
            many = isinstance(head, list)
            setattr(self, name, nn.ModuleList(map(MODELS.build, head)) if many else MODELS.build(head))

    def forward(self, inputs, label, mode='tensor'):
        return dict(loss=nn.functional.cross_entropy(self.layer(inputs), label))


@pytest.fixture(autouse=True)
def parts(monkeypatch):
    """The heads above are registered for a test."""
    for cls in (Swallowing, Lazy, Hidden, Renaming, Net):
        monkeypatch.setitem(MODELS.module_dict, cls.__name__, cls)


def check(**heads):
    config = dict(type='Net', **heads)
    check_named_losses(config, MODELS.build(copy.deepcopy(config)))


def swallowing(loss_decode, **options):
    return dict(type='Swallowing', loss_decode=loss_decode, **options)


def runner_of(root, model, kind=Runner, **options):
    return kind(
        model=model,
        work_dir=str(root / 'work'),
        experiment_name=root.name,
        train_dataloader=DataLoader(Flowers(), batch_size=4),
        train_cfg=dict(by_epoch=True, max_epochs=1),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
        log_level='WARNING',
        **options,
    )


RUNNERS = [(Runner, {}), (FlexibleRunner, dict(strategy=dict(type='SingleDeviceStrategy')))]


@pytest.mark.parametrize(('kind', 'options'), RUNNERS)
def test_a_runner_does_not_train_without_a_loss_that_its_config_names(kind, options, tmp_path):
    model = dict(type='Net', decode_head=dict(type='Swallowing', loss_cls=SOFT_DICE, loss_decode=RECALL))
    runner = runner_of(tmp_path, copy.deepcopy(model), kind, cfg=Config(dict(model=model)), **options)
    message = (
        'got model.decode_head.loss_decode of type RecallLoss, but the Swallowing that was built of this config has no '
        'such loss and would train without it; this head takes its classification loss as loss_cls'
    )
    with pytest.raises(ValueError, match=f'^{message}$'):
        runner.train()


@pytest.mark.parametrize('cfg', [None, Config(dict()), Config(dict(model=dict(type='Net')))])
def test_a_runner_without_such_a_config_trains(cfg, tmp_path):
    runner_of(tmp_path, Net(), cfg=cfg).train()


@pytest.mark.parametrize(
    ('heads', 'key'),
    [
        (
            dict(head=dict(type='Swallowing', loss_decode=[SOFT_DICE, RECALL])),
            'head.loss_decode.0 of type SoftDiceLoss',
        ),
        (dict(head=dict(type='Swallowing', loss_decode=dict(type='RecallLoss'))), 'head.loss_decode'),
        (dict(head=dict(type='Swallowing', loss_decode=dict(type=RecallLoss))), 'head.loss_decode'),
        (dict(head=dict(type='Swallowing', nested=dict(deep=RECALL))), 'head.nested.deep'),
        # the same loss elsewhere is not that of this key
        (dict(head=dict(type='Swallowing', loss_cls=RECALL, loss_decode=RECALL)), 'head.loss_decode'),
        (
            dict(head=dict(type='Swallowing', loss_decode=RECALL), other=dict(type='Renaming', loss=RECALL)),
            'head.loss_d',
        ),
        (
            dict(heads=[dict(type='Renaming', loss=RECALL), dict(type='Swallowing', loss_decode=RECALL)]),
            'heads.1.loss_decode',
        ),
    ],
)
def test_a_swallowed_loss_is_named(heads, key):
    with pytest.raises(ValueError, match=f'got model.{key}'):
        check(**heads)


@pytest.mark.parametrize(
    'heads',
    [
        dict(head=dict(type='Swallowing', loss_cls=RECALL)),
        dict(head=dict(type='Renaming', loss=RECALL)),
        dict(head=dict(type='Renaming', loss=RECALL, number=3)),
        dict(heads=[dict(type='Renaming', loss=RECALL), dict(type='Renaming', loss=SOFT_DICE)]),
        dict(head=dict(type='Lazy', loss_decode=RECALL)),
        dict(head=dict(type='Hidden', loss_decode=RECALL)),
        # not a loss of this package
        dict(head=swallowing(dict(type='NoSuchLoss'))),
    ],
)
def test_a_loss_that_is_there_is_no_false_alarm(heads):
    check(**heads)


def test_two_losses_of_which_a_head_has_built_one_are_too_many():
    config = dict(type='Net', head=dict(type='Renaming', loss=RECALL, deep=dict(loss_decode=RECALL)))
    model = Net(head=dict(type='Renaming', loss=RECALL))
    message = 'got model.head.deep.loss_decode .* has no such loss beside that of model.head.loss and would'
    with pytest.raises(ValueError, match=message):
        check_named_losses(config, model)


def test_losses_of_which_one_inherits_from_the_other_are_told_apart():
    adjusted, balanced = (dict(type=f'mmrecall.{name}') for name in ('LogitAdjustedLoss', 'BalancedSoftmaxLoss'))
    head = nn.Module()
    head.one, head.two = mmrecall.BalancedSoftmaxLoss([1, 2]), mmrecall.LogitAdjustedLoss([1, 2])
    check_named_losses(dict(loss=adjusted, other=balanced), head)


@pytest.mark.parametrize(('kind', 'options'), RUNNERS)
def test_a_misspelt_name_is_refused_where_a_head_swallows_it(kind, options, tmp_path):
    model = dict(type='Net', decode_head=swallowing([dict(type='mmrecall.RecalLoss')]))
    runner = runner_of(tmp_path, copy.deepcopy(model), kind, cfg=Config(dict(model=model)), **options)
    message = "got model.decode_head.loss_decode.0.type='mmrecall.RecalLoss'; expected .*; set mmrecall.RecallLoss"
    with pytest.raises(ValueError, match=message):
        runner.train()


@pytest.mark.parametrize(
    'name', ['mmrecall.RecallLoss', 'mmrecall.losses.RecallLoss', 'mmrecall.losses.recall.RecallLoss', 'RecalLoss']
)
def test_names_of_classes_by_their_module_and_of_other_projects_are_no_false_alarm(name):
    check_names(dict(type='Net', head=swallowing(dict(type=name))))
    check_names(dict(type=Net, head=dict(type='mmrecall.ClassCountsHook')))


def test_a_name_that_another_project_has_in_its_scope_is_not_ours(monkeypatch):
    monkeypatch.setitem(MODELS.module_dict, 'RecallLoss', nn.CrossEntropyLoss)
    check(head=swallowing(dict(type='RecallLoss')))


def test_the_nested_losses_of_our_own_heads_are_found():
    pytest.importorskip('mmpretrain.models')
    ce = dict(type='CrossEntropyLoss')
    sizes = dict(num_classes=3, in_channels=4)
    check(head=dict(type='mmrecall.SDNHead', **sizes))
    check(head=dict(type='mmrecall.SDNHead', **sizes, feature_head=dict(loss=RECALL), classifier_head=dict(loss=ce)))
    feature_loss = dict(type='mmrecall.LiftedStructureLoss')
    check(head=dict(type='mmrecall.FeatureLossClsHead', **sizes, loss=RECALL, feature_loss=feature_loss))


class QueryHead(nn.Module):
    """Stand-in for mmdet's MaskFormerHead and Mask2FormerHead: reads ``loss_cls`` as they do."""

    def __init__(self, loss_cls, class_weight, num_classes=3):
        super().__init__()
        self.num_classes = num_classes
        self.cls_embed = nn.Linear(2, num_classes + 1)
        self.class_weight = class_weight
        self.loss_cls = loss_cls

    def loss(self, cls_scores, labels):
        class_weight = cls_scores.new_tensor(self.class_weight)
        weights = torch.ones(len(labels))
        return self.loss_cls(cls_scores, labels, weights, avg_factor=class_weight[labels].sum())


def query_model(loss, class_weight):
    model = nn.Module()
    model.decode_head = QueryHead(loss, class_weight)
    return model


SCORES = torch.tensor([[2.0, 0.0, 1.0, 0.5], [0.0, 1.0, 0.0, 3.0], [1.0, 1.0, 0.0, 0.0], [0.0, 0.0, 2.0, 1.0]])
LABELS = torch.tensor([0, 3, 1, 2])


def test_a_scheme_works_where_the_head_would_add_up_its_name():
    loss = WeightedCrossEntropyLoss('inverse_frequency', class_counts=[6, 3, 2], no_object_weight=0.1)
    model = query_model(loss, 'inverse_frequency')
    with pytest.raises((TypeError, ValueError)):
        model.decode_head.loss(SCORES, LABELS)
    complete_query_heads(model)
    # 1 / 6, 1 / 3 and 1 / 2 with a mean of one
    weight = torch.tensor([0.5, 1.0, 1.5, 0.1])
    expected = nn.functional.cross_entropy(SCORES, LABELS, weight)
    torch.testing.assert_close(model.decode_head.loss(SCORES, LABELS), expected)


def test_all_samples_are_all_queries():
    loss = RecallLoss(class_weight=[1.0, 1.0, 1.0, 0.1], normalizer='all', num_classes=4)
    model = query_model(loss, [1.0, 1.0, 1.0, 0.1])
    complete_query_heads(model)
    # only class 1 is missed: its first channel is as large
    expected = nn.functional.cross_entropy(SCORES[2:3], LABELS[2:3]) / 4
    torch.testing.assert_close(model.decode_head.loss(SCORES, LABELS), expected)


@pytest.mark.parametrize(
    ('loss', 'message'),
    [
        (WeightedCrossEntropyLoss('inverse_frequency', 'auto', num_classes=3), 'for 3 classes.*no_object_weight=0.1'),
        (WeightedCrossEntropyLoss(num_classes=4, no_object_weight=0.1), 'for 5 classes.*adds one.*those of 3 classes'),
        (SoftDiceLoss(class_weight=[1.0] * 3), r'for 3 classes; expected 4.*class_weight=\[1.0\] \* 3 \+ \[0.1\]'),
        (RecallLoss(num_classes=4, no_object_weight=0.1), 'for 5 classes.*adds one.*those of 3 classes'),
        (RecallLoss(num_classes=3), r'for 3 classes; expected 4.*class_weight=\[1.0\] \* 3 \+ \[0.1\]'),
        (mmrecall.LDAMLoss(class_counts=[1, 2, 3]), 'LDAMLoss; expected RecallLoss or Weighted.*"no object".*has none'),
    ],
)
def test_a_loss_that_does_not_fit_the_head_is_said_before_training(loss, message):
    with pytest.raises(ValueError, match=f'got model.decode_head.loss_cls of type .*{message}'):
        complete_query_heads(query_model(loss, None))


def multi_task_model(**options):
    models = pytest.importorskip('mmpretrain.models')
    parts = {
        name: dict(type='LinearClsHead', num_classes=3, in_channels=4, loss=loss)
        for name, loss in (('ours', dict(RECALL, **options)), ('stock', dict(type='CrossEntropyLoss')))
    }
    model = Net()
    with MODELS.switch_scope_and_registry('mmpretrain'):
        model.head = models.heads.MultiTaskHead(parts)
    return model


def test_on_several_ranks_a_loss_that_a_multi_task_head_may_skip_is_said(tmp_path, caplog, monkeypatch):
    loss_checks = pytest.importorskip('mmrecall.engine.hooks.loss_checks')
    runner = runner_of(tmp_path, multi_task_model())
    runner.logger.addHandler(caplog.handler)
    loss_checks.check_losses(runner)
    assert caplog.text == ''
    monkeypatch.setattr(loss_checks, 'get_world_size', lambda: 2)
    loss_checks.check_losses(runner)
    assert 'head.task_heads.ours.loss_module: a MultiTaskHead does not call' in caplog.text
    assert 'set sync=False' in caplog.text
    assert losses_that_may_be_skipped(multi_task_model(sync=False)) == []
