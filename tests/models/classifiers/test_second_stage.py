"""What a second stage changes, and what it does not."""

import copy

import pytest
import torch

pytest.importorskip('mmpretrain')

from sdn_network import CHANNELS, CLASSES, images, samples
from second_stages import LINEAR, build_second, first_stage

CRT = dict(type='LinearClsHead')
LWS = dict(type='mmrecall.LWSHead')
TAU = dict(type='mmrecall.TauNormHead')
SDN = dict(type='mmrecall.SDNHead', num_classes=CLASSES, in_channels=CHANNELS)


def trained(model, steps=3):
    """Names of what some steps with weight decay changed."""
    before = copy.deepcopy(model.state_dict())
    model.train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5, momentum=0.9, weight_decay=0.1)
    for _ in range(steps):
        optimizer.zero_grad()
        model(images(), samples(), mode='loss')['loss'].backward()
        optimizer.step()
    return {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}


def test_crt_changes_the_new_classifier_alone(tmp_path):
    path, weights = first_stage(tmp_path)
    model = build_second(CRT, path)
    assert not torch.equal(model.head.fc.weight, weights['head.fc.weight'])
    assert trained(model) == {'head.fc.weight', 'head.fc.bias'}
    found = model.state_dict()
    frozen = [name for name in weights if not name.startswith('head.')]
    assert any('num_batches_tracked' in name for name in frozen)
    assert any('running_mean' in name for name in frozen)
    assert all(torch.equal(found[name], weights[name]) for name in frozen)


def test_lws_changes_the_scales_alone(tmp_path):
    path, weights = first_stage(tmp_path)
    model = build_second(LWS, path)
    assert trained(model) == {'head.scales'}
    for name in ('head.fc.weight', 'head.fc.bias'):
        assert torch.equal(model.state_dict()[name], weights[name])


def test_lws_begins_with_the_first_stages_predictions(tmp_path):
    path, weights = first_stage(tmp_path)
    model = build_second(LWS, path).eval()
    x = torch.randn(2, CHANNELS)
    expected = x @ weights['head.fc.weight'].T + weights['head.fc.bias']
    torch.testing.assert_close(model.head((x,)), expected)
    with torch.no_grad():
        model.head.scales.copy_(torch.tensor([1.0, 2.0, -3.0]))
    torch.testing.assert_close(model.head((x,)), expected * torch.tensor([1.0, 2.0, -3.0]))


def test_tau_0_is_the_classifier_without_its_bias(tmp_path):
    path, weights = first_stage(tmp_path)
    x = torch.randn(2, CHANNELS)
    head = build_second(dict(TAU, tau=0.0), path).head
    torch.testing.assert_close(head((x,)), x @ weights['head.fc.weight'].T)
    head = build_second(dict(TAU, tau=1.0), path).head
    unit = weights['head.fc.weight'] / weights['head.fc.weight'].norm(dim=1, keepdim=True)
    torch.testing.assert_close(head((x,)), x @ unit.T)


@pytest.mark.parametrize('head', [LWS, dict(TAU, tau=0.0)])
def test_the_classifier_of_a_decoupled_network_is_the_one_that_predicts(head, tmp_path):
    path, weights = first_stage(tmp_path, SDN)
    head = build_second(head, path).head
    assert torch.equal(head.fc.weight, weights['head.classifier_head.fc.weight'])


def test_a_cosine_first_stage_ranks_the_classes_as_it_did(tmp_path):
    path, weights = first_stage(tmp_path, dict(SDN, type='mmrecall.CosineClsHead'))
    changed(path, lambda weights: weights['head.fc.weight'].mul_(torch.tensor([[9.0], [1.0], [0.1]])))
    head = build_second(LWS, path).head
    x = torch.rand(20, CHANNELS)
    cosines = torch.nn.functional.cosine_similarity(x[:, None], weights['head.fc.weight'][None], dim=2)
    torch.testing.assert_close(head((x,)), cosines * x.norm(dim=1, keepdim=True))


def test_nothing_is_fetched_for_a_backbone_that_the_first_stage_fills(tmp_path):
    path, _ = first_stage(tmp_path)
    model = build_second(CRT, path)
    model.backbone.init_cfg = dict(type='Pretrained', checkpoint='torchvision://resnet152')
    model.init_weights()


def test_random_features_are_not_trained_on():
    model = build_second(CRT, None)
    with pytest.raises(ValueError, match=r'set model\.first_stage to the checkpoint'):
        model(images(), samples(), mode='loss')


def test_a_checkpoint_of_the_second_stage_needs_no_first(tmp_path):
    path, _ = first_stage(tmp_path)
    done = build_second(CRT, path)
    model = build_second(CRT, None)
    model.load_state_dict(done.state_dict())
    model(images(), samples(), mode='loss')


def test_a_head_without_anything_to_train_says_so(tmp_path):
    path, _ = first_stage(tmp_path)
    with pytest.raises(ValueError, match='TauNormHead has no parameters that are trained with gradients'):
        build_second(TAU, path)(images(), samples(), mode='loss')


def changed(path, change):
    """A checkpoint with something else in it."""
    weights = torch.load(path)['state_dict']
    change(weights)
    torch.save(dict(state_dict=weights), path)
    return path


def test_a_checkpoint_that_does_not_fit_is_named(tmp_path):
    path, _ = first_stage(tmp_path)
    with pytest.raises(FileNotFoundError, match=r'nothing\.pth is missing'):
        build_second(CRT, str(tmp_path / 'nothing.pth'))
    torch.save(dict(state_dict={'fc.weight': torch.ones(2)}), tmp_path / 'other.pth')
    with pytest.raises(ValueError, match=r'other\.pth has no weights of a backbone'):
        build_second(CRT, str(tmp_path / 'other.pth'))
    with pytest.raises(ValueError, match=r'head\.fc of .*first\.pth is of \(3, 64\).*of \(5, 64\)'):
        build_second(dict(LWS, num_classes=5), path)
    changed(path, lambda weights: weights.pop('backbone.layer1.0.conv1.weight'))
    with pytest.raises(
        ValueError, match=r'the backbone of .*first\.pth is not that of the config(?s:.)*layer1\.0\.conv1'
    ):
        build_second(CRT, path)


def test_a_first_stage_without_a_linear_classifier_is_named(tmp_path):
    path, _ = first_stage(tmp_path, dict(LINEAR, type='StackedLinearClsHead', mid_channels=[8]))
    build_second(CRT, path)
    with pytest.raises(
        ValueError, match=r'no linear classifier head\.fc or head\.classifier_head\.fc, only head\.layers'
    ):
        build_second(LWS, path)


@pytest.mark.parametrize('head', [LWS, dict(TAU, tau=0.5)])
def test_a_second_stage_is_no_first(head, tmp_path):
    path, _ = first_stage(tmp_path)
    torch.save(dict(state_dict=build_second(head, path).state_dict()), tmp_path / 'second.pth')
    build_second(CRT, str(tmp_path / 'second.pth'))
    with pytest.raises(ValueError, match=r'second\.pth is of a second stage already'):
        build_second(LWS, str(tmp_path / 'second.pth'))


def test_names_of_a_distributed_wrapper_are_understood(tmp_path):
    path, weights = first_stage(tmp_path)
    torch.save(dict(state_dict={f'module.{name}': value for name, value in weights.items()}), path)
    assert torch.equal(build_second(LWS, path).head.fc.weight, weights['head.fc.weight'])


def test_a_tau_of_the_config_is_not_replaced_by_that_of_a_checkpoint(tmp_path):
    path, _ = first_stage(tmp_path)
    done = build_second(dict(TAU, tau=1.0), path)
    model = build_second(dict(TAU, tau=0.25), path)
    model.load_state_dict(done.state_dict())
    assert model.head.tau == 0.25


def test_prediction_before_the_choice_of_tau_says_so(tmp_path):
    path, _ = first_stage(tmp_path)
    with pytest.raises(ValueError, match='no tau is chosen yet'):
        build_second(TAU, path)(images(), mode='predict')
