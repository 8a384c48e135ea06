"""BBN against two plain networks, one a branch."""

import copy

import pytest
import torch

pytest.importorskip('mmpretrain')

from bbn_network import PLAIN, bbn_config, build, one_branch
from mmengine.registry import MODELS
from mmengine.runner import load_checkpoint
from sdn_network import CHANNELS, images, network_config, samples
from torch.nn.parallel import DistributedDataParallel

from mmrecall.models.first_stage import FirstStage

BLOCK = 'backbone.layer4.1.'
LABELS = [0, 2, 1, 1, 2, 0, 0, 1]


def by_hand(model, inputs, labels, progress):
    """The loss as the paper writes it, image by image: uniform ones are 0, 2, …, reversed ones 1, 3, …."""
    conventional, rebalancing = (one_branch(model, branch) for branch in ('conventional', 'rebalancing'))
    weight, bias = model.head.fc.weight, model.head.fc.bias
    alpha, losses = 1 - progress**2, []
    for first in range(0, len(inputs), 2):
        f_c = conventional.extract_feat(inputs[first : first + 1])[-1][0]
        f_r = rebalancing.extract_feat(inputs[first + 1 : first + 2])[-1][0]
        # W_c and W_r of the paper; the 2 is of the authors' code
        logits = 2 * alpha * weight[:, :CHANNELS] @ f_c + 2 * (1 - alpha) * weight[:, CHANNELS:] @ f_r + bias
        log_probabilities = logits.log_softmax(0)
        losses.append(-alpha * log_probabilities[labels[first]] - (1 - alpha) * log_probabilities[labels[first + 1]])
    return torch.stack(losses).mean()


@pytest.mark.parametrize('progress', [0.0, 0.3, 0.75, 1.0])
def test_the_loss_is_that_of_two_networks_with_one_trunk(progress):
    model, inputs = build(bbn_config()).train(), images(8)
    model.head.set_progress(progress)
    found = model(inputs, samples(LABELS), mode='loss')
    assert set(found) == {'loss'}
    torch.testing.assert_close(found['loss'], by_hand(model, inputs, LABELS, progress))


def test_a_prediction_is_of_both_branches_for_every_image():
    model, inputs = build(bbn_config()).eval(), images(3)
    features = [one_branch(model, branch).extract_feat(inputs)[-1] for branch in ('conventional', 'rebalancing')]
    logits = torch.cat(features, dim=1) @ model.head.fc.weight.T + model.head.fc.bias
    torch.testing.assert_close(model(inputs), logits)
    predicted = model(inputs, samples(LABELS[:3]), mode='predict')
    torch.testing.assert_close(torch.stack([one.pred_score for one in predicted]), logits.softmax(1))
    assert [int(one.pred_label) for one in predicted] == logits.argmax(1).tolist()


def test_each_block_is_trained_by_the_images_of_its_sampling_alone():
    model, inputs = build(bbn_config()).train(), images(6).requires_grad_()
    features = model.extract_feat(inputs)[-1]
    assert features.shape == (6, CHANNELS)
    blocks = [list(getattr(model.backbone.layer4[-1], name).parameters()) for name in ('conventional', 'rebalancing')]
    for half, own, other in ((features[:3], *blocks), (features[3:], *blocks[::-1])):
        gradients = torch.autograd.grad(half.sum(), [*own, *other], retain_graph=True, allow_unused=True)
        assert all(gradient.any() for gradient in gradients[: len(own)])
        assert not any(gradient is not None and gradient.any() for gradient in gradients[len(own) :])
        (of_inputs,) = torch.autograd.grad(half.sum(), inputs, retain_graph=True)
        touched = of_inputs.flatten(1).any(dim=1).tolist()
        assert touched == ([True] * 3 + [False] * 3 if own is blocks[0] else [False] * 3 + [True] * 3)


def test_the_trunk_is_trained_by_both():
    model = build(bbn_config()).train()
    model.head.set_progress(0.5)
    model(images(4), samples(LABELS[:4]), mode='loss')['loss'].backward()
    assert all(parameter.grad.any() for parameter in model.parameters())


def plain_checkpoint(root):
    model = build({**network_config(), 'head': PLAIN})
    path = root / 'plain.pth'
    torch.save(dict(state_dict=model.state_dict()), path)
    return str(path), model.state_dict()


def same_as_plain(model, weights):
    """Whether all of the backbone is that of a plain checkpoint, its last block twice."""
    found = model.state_dict()
    backbone = {name: value for name, value in weights.items() if name.startswith('backbone.')}
    expected = {name: value for name, value in backbone.items() if not name.startswith(BLOCK)}
    for branch in ('conventional', 'rebalancing'):
        expected |= {
            name.replace(BLOCK, f'{BLOCK}{branch}.'): value
            for name, value in backbone.items()
            if name.startswith(BLOCK)
        }
    assert set(expected) == {name for name in found if name.startswith('backbone.')}
    return all(torch.equal(found[name], value) for name, value in expected.items())


def test_a_plain_checkpoint_goes_into_both_branches(tmp_path):
    path, weights = plain_checkpoint(tmp_path)
    model = build(bbn_config())
    assert not same_as_plain(model, weights)
    # what load_from does
    load_checkpoint(model, path)
    assert same_as_plain(model, weights)


def test_pretrained_weights_go_into_both_branches(tmp_path):
    path, weights = plain_checkpoint(tmp_path)
    init_cfg = dict(type='Pretrained', checkpoint=path, prefix='backbone.')
    model = MODELS.build({**bbn_config(backbone=dict(init_cfg=init_cfg)), '_scope_': 'mmpretrain'})
    model.init_weights()
    assert same_as_plain(model, weights)


@pytest.mark.parametrize('assign', [False, True])
def test_torch_loads_a_plain_backbone_strictly_and_does_not_tie_the_branches(assign):
    plain = build({**network_config(), 'head': PLAIN}).backbone
    backbone, before = build(bbn_config()).backbone, copy.deepcopy(plain.state_dict())
    backbone.load_state_dict(plain.state_dict(), assign=assign)
    block = backbone.layer4[-1]
    with torch.no_grad():
        block.conventional.conv1.weight.zero_()
    assert torch.equal(block.rebalancing.conv1.weight, before['layer4.1.conv1.weight'])
    assert torch.equal(plain.layer4[1].conv1.weight, before['layer4.1.conv1.weight'])


def test_its_own_checkpoint_keeps_the_branches_apart(tmp_path):
    model, other = build(bbn_config()), build(bbn_config())
    torch.save(dict(state_dict=model.state_dict()), tmp_path / 'own.pth')
    load_checkpoint(other, str(tmp_path / 'own.pth'), strict=True)
    assert all(torch.equal(value, other.state_dict()[name]) for name, value in model.state_dict().items())
    assert not torch.equal(
        *(other.state_dict()[f'{BLOCK}{branch}.conv1.weight'] for branch in ('conventional', 'rebalancing'))
    )


def test_a_plain_checkpoint_that_lacks_a_weight_of_the_block_is_refused_by_a_strict_load():
    weights = build({**network_config(), 'head': PLAIN}).backbone.state_dict()
    del weights['layer4.1.conv2.weight']
    with pytest.raises(RuntimeError, match=r'layer4\.1\.rebalancing\.conv2\.weight'):
        build(bbn_config()).backbone.load_state_dict(weights)


@pytest.mark.parametrize('init_cfg', [dict(type='Kaiming', layer='Conv2d'), None])
def test_branches_begin_with_different_weights(init_cfg):
    block = build(bbn_config(backbone=dict(init_cfg=init_cfg))).backbone.layer4[-1]
    assert not torch.equal(block.conventional.conv1.weight, block.rebalancing.conv1.weight)


NARROW = dict(stem_channels=8, base_channels=8)
BACKBONES = [
    (dict(type='ResNet', depth=50, **NARROW), 256),
    (dict(type='ResNetV1d', depth=18, **NARROW), 64),
    (dict(type='ResNet_CIFAR', depth=18, **NARROW), 64),
    (dict(type='SEResNet', depth=50, base_channels=16, stem_channels=8), 512),
    (dict(type='RegNet', arch='regnetx_400mf'), 384),
]


@pytest.mark.parametrize(
    ('backbone', 'channels'),
    BACKBONES,
    ids=lambda value: str(dict(value).get('type')) if isinstance(value, dict) else '',
)
def test_kin_of_resnet_have_branches_too(backbone, channels):
    model = MODELS.build({**bbn_config(), 'backbone': backbone, '_scope_': 'mmpretrain'})
    with torch.no_grad():
        width = model.train().extract_feat(images(4))[-1].shape[1]
        assert channels in (None, width)
        assert model.eval().extract_feat(images(3))[-1].shape == (3, 2 * width)


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (dict(backbone=dict(type='MobileNetV2')), 'backbone of type MobileNetV2, which has no res_layers'),
        (
            dict(backbone=dict(type='ResNet', depth=18, out_indices=(2, 3))),
            r'out_indices of the ResNet is \(2, 3\).*\(3,\)',
        ),
        (
            dict(backbone=dict(type='ResNet', depth=18, out_indices=(2,))),
            r'out_indices of the ResNet is \(2,\).*\(3,\)',
        ),
        (dict(train_cfg=dict(augments=[dict(type='Mixup', alpha=0.2)])), 'cannot train with batch augmentation'),
    ],
)
def test_what_cannot_have_branches_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        MODELS.build({**bbn_config(), **changes, '_scope_': 'mmpretrain'})


def test_an_odd_batch_is_refused():
    model = build(bbn_config()).train()
    model.head.set_progress(0.5)
    with pytest.raises(ValueError, match=r'a batch has 3 images.*BilateralSampler.*batch_size'):
        model(images(3), samples(LABELS[:3]), mode='loss')


def test_frozen_branches_are_refused():
    config = bbn_config()
    config['backbone']['frozen_stages'] = 4
    with pytest.raises(ValueError, match='freezes the branches of BBN in the last stage; set it to at most 3'):
        build(config)


def test_a_checkpoint_of_bbn_is_no_first_stage(tmp_path):
    torch.save(dict(state_dict=build(bbn_config()).state_dict()), tmp_path / 'bbn.pth')
    with pytest.raises(ValueError, match='is of BBN, whose classifier takes the features of two branches'):
        FirstStage.read(str(tmp_path / 'bbn.pth'))


def gradients(model, inputs, labels):
    model.train().zero_grad()
    getattr(model, 'module', model).head.set_progress(0.6)
    model(inputs, samples(labels), mode='loss')['loss'].backward()
    return torch.cat([parameter.grad.flatten() for parameter in model.parameters()])


def gradients_on_rank(rank, world_size):
    torch.manual_seed(3)
    model, inputs = build(bbn_config()), images(8)
    mine = [2 * pair + side for pair in range(rank, 4, world_size) for side in (0, 1)]
    parallel = DistributedDataParallel(model, broadcast_buffers=False)
    return gradients(parallel, inputs[mine], [LABELS[index] for index in mine]).tolist()


def test_two_ranks_have_the_gradients_of_one_with_all_their_images(two_ranks):
    first, second = two_ranks.run(gradients_on_rank)
    assert first == second
    torch.manual_seed(3)
    model, inputs = build(bbn_config()), images(8)
    torch.testing.assert_close(torch.tensor(first), gradients(model, inputs, LABELS), rtol=1e-4, atol=1e-5)
