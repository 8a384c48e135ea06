"""ResNet-32 and its kin, compared with the description in section 4.2 of the ResNet paper."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

pytest.importorskip('mmpretrain')

from mmengine.registry import MODELS

from mmrecall.models.backbones import CifarResNet

DEPTHS = (20, 32, 44, 56, 110)


def weights_of_the_paper(depth, classes):
    """Number of weights: 3x3 convolutions without bias, a scale and a shift per channel after each, a linear layer."""
    convolutions = [(3, 16)]
    before = 16
    for channels in (16, 32, 64):
        for _ in range((depth - 2) // 6):
            convolutions += [(before, channels), (channels, channels)]
            before = channels
    assert len(convolutions) + 1 == depth
    return sum(9 * one * other + 2 * other for one, other in convolutions) + (64 + 1) * classes


def classifier(classes):
    return MODELS.build(
        dict(
            type='ImageClassifier',
            _scope_='mmpretrain',
            backbone=dict(type='mmrecall.CifarResNet', depth=32),
            neck=dict(type='GlobalAveragePooling'),
            head=dict(type='LinearClsHead', num_classes=classes, in_channels=64),
        )
    )


@pytest.mark.parametrize(('classes', 'published'), [(10, 464154), (100, 470004)])
def test_resnet_32_has_0_46_million_weights(classes, published):
    found = sum(parameter.numel() for parameter in classifier(classes).parameters())
    assert found == weights_of_the_paper(32, classes) == published
    assert 0.455e6 < found < 0.475e6


@pytest.mark.parametrize('depth', DEPTHS)
def test_a_network_of_6n_plus_2_layers_has_n_blocks_a_stage(depth):
    made = CifarResNet(depth)
    assert [len(getattr(made, stage)) for stage in made.res_layers] == [(depth - 2) // 6] * 3
    assert sum(p.numel() for p in made.parameters()) == weights_of_the_paper(depth, 0)


def test_the_stages_have_16_32_and_64_channels_and_halve_the_map():
    made = CifarResNet(32)
    shapes = []
    for stage in made.res_layers:
        getattr(made, stage).register_forward_hook(lambda module, inputs, output: shapes.append(tuple(output.shape)))
    (last,) = made(torch.randn(2, 3, 32, 32))
    assert shapes == [(2, 16, 32, 32), (2, 32, 16, 16), (2, 64, 8, 8)]
    assert last.shape == (2, 64, 8, 8)


class Reference(nn.Module):
    """The network as the paper describes it, in one list of convolutions."""

    def __init__(self, depth):
        super().__init__()
        sizes = [(3, 16, 1)]
        for channels, stride in ((16, 1), (32, 2), (64, 2)):
            for block in range((depth - 2) // 6):
                sizes += [(sizes[-1][1], channels, stride if block == 0 else 1), (channels, channels, 1)]
        self.convolutions = nn.ModuleList(nn.Conv2d(i, o, 3, s, 1, bias=False) for i, o, s in sizes)
        self.norms = nn.ModuleList(nn.BatchNorm2d(o) for _, o, _ in sizes)

    def forward(self, x):
        layers = iter(zip(self.convolutions, self.norms, strict=True))
        convolution, norm = next(layers)
        x = F.relu(norm(convolution(x)))
        for (first, first_norm), (second, second_norm) in zip(layers, layers, strict=True):
            y = second_norm(second(F.relu(first_norm(first(x)))))
            # identity, or a subsampled one with zeros in the channels that are added
            shortcut = torch.zeros_like(y)
            shortcut[:, : x.shape[1]] = x[:, :, :: first.stride[0], :: first.stride[1]]
            x = F.relu(y + shortcut)
        return x


@pytest.mark.parametrize('depth', [20, 32])
@pytest.mark.parametrize('training', [True, False], ids=['training', 'evaluation'])
def test_it_computes_what_the_paper_describes(depth, training):
    ours, reference = CifarResNet(depth).double(), Reference(depth).double()
    pairs = []
    for kind, copies in ((nn.Conv2d, reference.convolutions), (nn.BatchNorm2d, reference.norms)):
        layers = [module for module in ours.modules() if isinstance(module, kind)]
        pairs += zip(layers, copies, strict=True)
    for layer, copy in pairs:
        for value in layer.state_dict().values():
            if value.dim() == 1:
                value.copy_(torch.rand_like(value) + 0.5)
        copy.load_state_dict(layer.state_dict())
    ours.train(training)
    reference.train(training)
    x = torch.randn(4, 3, 32, 32, dtype=torch.float64)
    (found,), expected = ours(x), reference(x)
    torch.testing.assert_close(found, expected)
    for output in (found, expected):
        output.square().mean().backward()
    for layer, copy in pairs:
        torch.testing.assert_close(layer.weight.grad, copy.weight.grad)


def test_weights_are_drawn_with_a_variance_of_2_over_fan_in():
    made = CifarResNet(32)
    made.init_weights()
    for module in made.modules():
        if isinstance(module, nn.Conv2d):
            fan_in = module.weight[0].numel()
            assert module.weight.var().item() == pytest.approx(2 / fan_in, rel=0.25)
        if isinstance(module, nn.BatchNorm2d):
            assert module.weight.eq(1).all()
            assert module.bias.eq(0).all()


def test_images_of_odd_sizes_pass():
    assert CifarResNet(20, base_channels=4)(torch.randn(2, 3, 33, 27))[0].shape == (2, 16, 9, 7)


def test_another_depth_is_refused():
    with pytest.raises(ValueError, match='got depth=34; expected one of 20, 32, 44, 56, 110'):
        CifarResNet(34)


@pytest.mark.parametrize('spelling', ['CifarResNet', 'mmrecall.CifarResNet'])
def test_both_spellings_of_the_type_build_it(spelling):
    assert isinstance(MODELS.build(dict(type=spelling, depth=20)), CifarResNet)


def test_stages_can_be_frozen():
    made = CifarResNet(20, frozen_stages=2)
    made.train()
    trained = {name.partition('.')[0] for name, parameter in made.named_parameters() if parameter.requires_grad}
    assert trained == {'layer3'}
