"""The decoupled head in what surrounds it: runners, averaged models, compilers, ranks, scopes."""

import pytest
import synthetic_data
import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

pytest.importorskip('mmpretrain')

import mmpretrain.datasets
import mmpretrain.evaluation  # noqa: F401
from mmengine.hooks import Hook
from mmengine.registry import MODELS, DefaultScope
from mmengine.runner import Runner
from sdn_network import CHANNELS, CLASSES, COUNTS, LABELS, network_config, samples

import mmrecall
from mmrecall.models.heads import SDNHead

CE = dict(type='CrossEntropyLoss')


def runner(root, hooks=(), epochs=1, **options):
    """On a folder of images, two batches an epoch; all classes are in both, so that some recall is above 0."""
    if not (root / 'images').exists():
        synthetic_data.image_folder(root / 'images', classes=CLASSES)
    pipeline = [dict(type='LoadImageFromFile'), dict(type='PackInputs')]
    loader = dict(
        batch_size=6,
        num_workers=0,
        sampler=dict(type='DefaultSampler', shuffle=True, seed=0),
        dataset=dict(type='CustomDataset', data_root=str(root / 'images'), pipeline=pipeline),
    )
    return Runner(
        model=network_config(data_preprocessor=dict(mean=[127.0] * 3, std=[60.0] * 3)),
        default_scope='mmpretrain',
        work_dir=str(root / 'work'),
        experiment_name=f'{root.name}_{epochs}',
        train_dataloader=loader,
        train_cfg=dict(by_epoch=True, max_epochs=epochs),
        val_dataloader=loader,
        val_cfg=dict(),
        val_evaluator=dict(type='Accuracy'),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
        custom_hooks=list(hooks),
        log_level='WARNING',
        **options,
    )


def recall(model):
    return model.head.feature_head.loss_module.recall.tolist()


class Watch(Hook):
    """Sees with what a training begins."""

    def before_train(self, runner):
        self.weights = {name: value.clone() for name, value in runner.model.state_dict().items()}


@pytest.mark.parametrize('update_buffers', [False, True])
def test_an_averaged_network_trains_validates_and_resumes(update_buffers, tmp_path):
    average = dict(type='EMAHook', momentum=0.5, update_buffers=update_buffers)
    first = runner(tmp_path, [average])
    first.train()
    logged = {name: history.current() for name, history in first.message_hub.log_scalars.items()}
    assert logged['train/loss'] == pytest.approx(logged['train/loss_feature'] + logged['train/loss_classifier'])
    assert 0 <= logged['val/accuracy/top1'] <= 100
    trained = first.model.state_dict()
    counts, weight = 'head.classifier_head.loss_module.class_counts.counts', 'head.classifier_head.fc.weight'
    assert trained[counts].tolist() == [4, 4, 4]
    saved = torch.load(tmp_path / 'work' / 'epoch_1.pth', map_location='cpu', weights_only=False)
    assert not torch.equal(saved['state_dict'][weight], trained[weight])

    watch = Watch()
    resumed = runner(tmp_path, [average, watch], epochs=2, resume=True)
    resumed.train()
    assert recall(first.model) != [0, 0, 0]
    assert all(torch.equal(watch.weights[name], value) for name, value in trained.items())
    assert not torch.equal(resumed.model.state_dict()[weight], trained[weight])


class Small(nn.Module):
    """A backbone of one layer, which has no statistics of the batch."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(1)
        self.backbone = nn.Linear(4, 5)
        self.head = SDNHead(CLASSES, 5)
        self.head.classifier_head.loss_module.class_counts.set(COUNTS)
        self.double()

    def forward(self, inputs, data_samples):
        return self.head.loss((self.backbone(inputs),), data_samples)


def steps(model, inputs, labels):
    """Losses of three steps, gradients of the last, running recall."""
    values = []
    for _ in range(3):
        model.zero_grad()
        losses = model(inputs, samples(labels))
        sum(losses.values()).backward()
        values.append([value.item() for value in losses.values()])
        with torch.no_grad():
            for parameter in model.parameters():
                parameter -= 0.5 * parameter.grad
    gradients = torch.cat([parameter.grad.flatten() for parameter in model.parameters()]).tolist()
    state = next(value for name, value in model.state_dict().items() if name.endswith('recall'))
    return values, gradients, state.tolist()


def whole_batch():
    torch.manual_seed(2)
    return torch.randn(8, 4, dtype=torch.double), [0, 0, 0, 1, 1, 0, 2, 0]


def rank_steps(rank, world_size):
    inputs, labels = whole_batch()
    part = slice(rank, None, world_size)
    return steps(DistributedDataParallel(Small()), inputs[part], labels[part])


def test_compiled_it_gives_the_same_losses_gradients_and_recall():
    torch._dynamo.reset()
    values, gradients, state = steps(torch.compile(Small(), backend='aot_eager'), *whole_batch())
    expected, expected_gradients, expected_state = steps(Small(), *whole_batch())
    torch.testing.assert_close(values, expected)
    assert gradients == pytest.approx(expected_gradients)
    assert state == pytest.approx(expected_state)


def test_two_ranks_equal_one_process_with_the_whole_batch(two_ranks):
    answers = two_ranks.run(rank_steps)
    values, gradients, state = steps(Small(), *whole_batch())
    logged = torch.tensor([answer[0] for answer in answers]).mean(0)
    torch.testing.assert_close(logged, torch.tensor(values))
    for _, rank_gradients, rank_state in answers:
        assert rank_gradients == pytest.approx(gradients)
        assert rank_state == pytest.approx(state)


@pytest.mark.parametrize('own', [{}, dict(_scope_='mmrecall')])
@pytest.mark.parametrize('scope', [None, 'mmseg', 'mmpretrain', 'mmrecall'])
def test_bare_names_of_the_parts_are_mmpretrains_in_every_scope(scope, own, request):
    if scope == 'mmseg':
        pytest.importorskip('mmseg.models')
    DefaultScope._instance_dict.clear()
    if scope:
        DefaultScope.get_instance(request.node.name, scope_name=scope)
    parts = dict(
        feature_head=dict(type='StackedLinearClsHead', mid_channels=[4], act_cfg=dict(type='HSwish'), loss=CE),
        classifier_head=dict(loss=dict(type='BalancedSoftmaxLoss', class_counts=COUNTS)),
    )
    config = dict(num_classes=CLASSES, in_channels=CHANNELS, **parts)
    for type_ in ('mmrecall.SDNHead', 'SDNHead', SDNHead):
        head = MODELS.build(dict(type=type_, **config, **own))
        assert type(head.feature_head).__module__ == 'mmpretrain.models.heads.stacked_head'
        assert type(head.feature_head.loss_module).__module__.startswith('mmpretrain.models.losses')
        assert type(head.classifier_head.loss_module) is mmrecall.losses.BalancedSoftmaxLoss
    assert set(parts['classifier_head']) == {'loss'}
    losses = head.loss((torch.randn(4, CHANNELS),), samples(LABELS))
    assert set(losses) == {'loss_feature', 'loss_classifier'}
