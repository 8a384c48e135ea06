"""The linear classifier with a loss on its features, alone and in a training."""

import os
from pathlib import Path

import pytest
import torch
from torch.nn.parallel import DistributedDataParallel

pytest.importorskip('mmpretrain')

from mmengine.registry import MODELS
from mmengine.runner import Runner
from mmpretrain.models.heads import LinearClsHead
from sdn_network import CHANNELS, CLASSES, images, network_config, samples
from second_stages import PIPELINE, build_second
from second_stages import images as image_folder

from mmrecall.functional import lifted_structure_loss, range_loss
from mmrecall.losses import LiftedStructureLoss
from mmrecall.models.heads import FeatureLossClsHead

LOSSES = dict(
    range=dict(type='mmrecall.RangeLoss', loss_weight=0.01),
    lifted=dict(type='mmrecall.LiftedStructureLoss', loss_weight=0.1),
)


def head_config(name):
    return dict(
        type='mmrecall.FeatureLossClsHead', num_classes=CLASSES, in_channels=CHANNELS, feature_loss=LOSSES[name]
    )


def model(name):
    torch.manual_seed(0)
    network = MODELS.build({**network_config(), 'head': head_config(name), '_scope_': 'mmpretrain'})
    network.init_weights()
    return network


def test_the_losses_are_the_stock_one_and_that_of_the_features():
    head = FeatureLossClsHead(
        3, 4, feature_loss=dict(type='mmrecall.LiftedStructureLoss', loss_weight=0.5), cal_acc=True
    )
    stock = LinearClsHead(3, 4, cal_acc=True)
    stock.load_state_dict(head.state_dict())
    features, labels = torch.randn(6, 4), torch.tensor([0, 0, 1, 1, 2, 2])
    found, expected = head.loss((features,), samples(labels)), stock.loss((features,), samples(labels))
    # mmengine logs the sum of all terms as `loss`
    assert set(found) == {*expected, 'loss_cls', 'loss_feature'} - {'loss'}
    assert torch.equal(found['loss_cls'], expected['loss'])
    assert torch.equal(found['loss_feature'], 0.5 * lifted_structure_loss(features, labels))
    assert torch.equal(head((features,)), stock((features,)))


def test_the_last_features_are_meant():
    head = FeatureLossClsHead(3, 4, feature_loss=dict(type='mmrecall.RangeLoss'))
    features, labels = torch.randn(4, 4), torch.tensor([0, 0, 1, 1])
    found = head.loss((torch.randn(4, 9), features), samples(labels))
    assert torch.equal(found['loss_feature'], range_loss(features, labels))


@pytest.mark.parametrize('name', LOSSES)
def test_the_loss_of_the_features_reaches_the_backbone_and_not_the_classifier(name):
    network = model(name).train()
    network.head.loss_module.loss_weight = 0.0
    sum(network(images(), samples(), mode='loss').values()).backward()
    assert all(parameter.grad.any() for key, parameter in network.named_parameters() if 'conv' in key)
    assert not network.head.fc.weight.grad.any()


def test_its_checkpoint_is_that_of_a_linear_classifier_and_a_first_stage(tmp_path):
    network = model('range')
    linear = dict(type='LinearClsHead', num_classes=CLASSES, in_channels=CHANNELS)
    stock = MODELS.build({**network_config(), 'head': linear, '_scope_': 'mmpretrain'})
    stock.load_state_dict(network.state_dict())
    torch.save(dict(state_dict=network.state_dict()), tmp_path / 'first.pth')
    second = build_second(dict(type='mmrecall.LWSHead'), str(tmp_path / 'first.pth')).eval()
    x = torch.randn(2, CHANNELS)
    torch.testing.assert_close(second.head((x,)), network.head((x,)))


def test_a_feature_loss_in_place_of_a_logit_loss_says_which_head_it_belongs_to():
    head = LinearClsHead(num_classes=2, in_channels=3, loss=dict(type='mmrecall.RangeLoss'))
    with pytest.raises(TypeError, match=r'in a call of RangeLoss.*mmrecall\.FeatureLossClsHead'):
        head.loss((torch.zeros(2, 3),), samples([0, 1]))


def test_mixed_images_are_refused():
    head = FeatureLossClsHead(CLASSES, CHANNELS, feature_loss=LiftedStructureLoss())
    mixed = samples([0, 1])
    mixed[1].set_gt_score(torch.tensor([0.5, 0.5, 0.0]))
    with pytest.raises(ValueError, match='LiftedStructureLoss compares images of whole classes; train without Mixup'):
        head.loss((torch.zeros(2, CHANNELS),), mixed)


def runner(root, name, work, resume=False, **options):
    """Two epochs of three batches in another order each, with random flips; a checkpoint after every second batch."""
    os.environ.setdefault('LOCAL_RANK', os.environ.get('RANK', '0'))
    pipeline = [PIPELINE[0], dict(type='RandomFlip', prob=0.5, direction='horizontal'), PIPELINE[1]]
    loader = dict(
        batch_size=4,
        num_workers=0,
        sampler=dict(type='DefaultSampler', shuffle=True),
        dataset=dict(type='CustomDataset', data_root=str(image_folder(root)), pipeline=pipeline),
    )
    return Runner(
        model=network_config(head=head_config(name), data_preprocessor=dict(mean=[127.0] * 3, std=[60.0] * 3)),
        default_scope='mmpretrain',
        work_dir=str(root / work),
        experiment_name=f'{root.name}_{work}_{resume}',
        train_dataloader=loader,
        train_cfg=dict(by_epoch=True, max_epochs=2),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.01, momentum=0.9)),
        default_hooks=dict(
            checkpoint=dict(type='mmrecall.AtomicCheckpointHook', by_epoch=False, interval=2, max_keep_ckpts=-1)
        ),
        custom_hooks=[dict(type='mmrecall.ExactResumeHook')],
        randomness=dict(seed=1),
        log_level='WARNING',
        resume=resume,
        **options,
    )


def final_weights(training):
    training.train()
    assert training.message_hub.get_scalar('train/loss_feature').current() > 0
    return training.model.state_dict()


@pytest.mark.parametrize('name', LOSSES)
def test_a_training_that_is_resumed_in_mid_epoch_is_bit_equal(name, tmp_path):
    whole = final_weights(runner(tmp_path, name, 'whole'))
    saved = (tmp_path / 'whole' / 'iter_2.pth').read_bytes()
    work = tmp_path / 'resumed'
    work.mkdir()
    (work / 'iter_2.pth').write_bytes(saved)
    (work / 'last_checkpoint').write_text(str(work / 'iter_2.pth'))
    resumed = final_weights(runner(tmp_path, name, 'resumed', resume=True))
    assert list(whole) == list(resumed)
    assert all(torch.equal(value, resumed[key]) for key, value in whole.items())


def weights_on_a_rank(rank, world_size, root, name):
    wrapper = dict(type='MMDistributedDataParallel', device_ids=None)
    weights = final_weights(runner(Path(root), name, 'ranks', launcher='pytorch', cfg=dict(model_wrapper_cfg=wrapper)))
    return {key: value.double().sum().item() for key, value in weights.items() if 'running' not in key}


@pytest.mark.parametrize('name', LOSSES)
def test_a_training_on_two_ranks_keeps_them_alike(name, two_ranks, tmp_path):
    image_folder(tmp_path)
    first, second = two_ranks.run(weights_on_a_rank, str(tmp_path), name)
    assert first == second


def rank_trains(rank, world_size, name):
    """The losses of a part of the batch, and the gradient of the first layer's weights."""
    network = without_other_terms(name)
    batch, labels = whole_batch()
    part = slice(0, 1) if rank == 0 else slice(1, None)
    # named, because it must live until the gradients are averaged
    wrapped = DistributedDataParallel(network)
    losses = wrapped(batch[part], samples(labels[part]), mode='loss')
    sum(losses.values()).backward()
    return losses['loss_feature'].item(), network.backbone.conv1.weight.grad.flatten().tolist()


def without_other_terms(name):
    """What is of a rank alone: statistics of the batch, and the stock loss."""
    network = model(name).double()
    network.head.loss_module.loss_weight = 0.0
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.eval()
    return network


def whole_batch():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(5, 3, 32, 32, generator=generator, dtype=torch.float64), [0, 0, 1, 2, 0]


@pytest.mark.parametrize('name', LOSSES)
def test_a_model_on_two_ranks_has_the_gradient_of_one_process(name, two_ranks):
    answers = two_ranks.run(rank_trains, name)
    network = without_other_terms(name)
    batch, labels = whole_batch()
    losses = network(batch, samples(labels), mode='loss')
    sum(losses.values()).backward()
    for value, gradient in answers:
        assert value == pytest.approx(losses['loss_feature'].item())
        assert gradient == pytest.approx(network.backbone.conv1.weight.grad.flatten().tolist())
