"""Heads of mmseg whose losses take logits before they are interpolated, against the same heads without the hook."""

import copy
import json
import pickle
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.parallel import DistributedDataParallel

pytest.importorskip('mmseg.models')

from mmengine.config import ConfigDict
from mmengine.registry import MODELS
from mmengine.runner import Runner
from mmengine.structures import PixelData
from mmseg.models.decode_heads import FCNHead
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.registry import MODELS as MMSEG_MODELS
from mmseg.structures import SegDataSample
from torch.utils.data import Dataset

from mmrecall.analysis.gradients.comparison import _same_batch, gradients_of_call
from mmrecall.engine import LowResolutionLossHook
from mmrecall.engine.hooks.loss_calls import LossCalls, is_softmax_loss
from mmrecall.losses import RecallLoss, SoftDiceLoss
from mmrecall.models.low_resolution_head import LowResolutionHead

CLASSES = ('sky', 'road', 'pole', 'car', 'tree')
C = len(CLASSES)
SIZE = (40, 56)
STRIDES = (4, 8, 16, 32)
CHANNELS = [4, 6, 8, 10]
BN = dict(type='BN')

RECALL = dict(type='mmrecall.RecallLoss')
LDAM = dict(type='mmrecall.LDAMLoss', class_counts=[50, 40, 30, 20, 10])
WEIGHTED = dict(type='mmrecall.WeightedCrossEntropyLoss', class_weight=[1.0, 2.0, 3.0, 4.0, 5.0])
BALANCED = dict(type='mmrecall.BalancedSoftmaxLoss', class_counts=[50, 40, 30, 20, 10])
STOCK = dict(type='CrossEntropyLoss')
DICE = dict(type='mmrecall.SoftDiceLoss')
VARIATION = dict(type='mmrecall.BalancedLogitVariationLoss', class_counts=[50, 40, 30, 20, 10], sigma=1e12)
# two of them are added up under one name
SEVERAL = [LDAM, dict(RECALL, loss_name='loss_a', loss_weight=0.7), dict(WEIGHTED, loss_name='loss_a'), BALANCED]

ALL = dict(in_channels=CHANNELS, in_index=[0, 1, 2, 3])
HEADS = {
    'FCNHead': {},
    'ASPPHead': dict(dilations=(1, 2)),
    'DepthwiseSeparableASPPHead': dict(dilations=(1, 2), c1_in_channels=4, c1_channels=4),
    'PSPHead': dict(pool_scales=(1, 2)),
    'UPerHead': dict(ALL, pool_scales=(1, 2)),
    'SegformerHead': ALL,
    'LightHamHead': dict(
        in_channels=CHANNELS[1:],
        in_index=[1, 2, 3],
        ham_channels=8,
        norm_cfg=dict(type='GN', num_groups=1),
        ham_kwargs=dict(MD_R=4),
    ),
    'SETRUPHead': dict(num_convs=3, up_scale=2, kernel_size=3),
    'EncHead': dict(in_channels=CHANNELS[2:], in_index=[2, 3], num_codes=4),
    'DAHead': dict(pam_channels=4),
    'HeadWithMore': {},
}


@MMSEG_MODELS.register_module(force=True)
class HeadWithMore(FCNHead):
    """A head of a user, with a term of its own and the old form of super()."""

    def loss_by_feat(self, seg_logits, batch_data_samples):
        terms = super(HeadWithMore, self).loss_by_feat(seg_logits, batch_data_samples)  # noqa: UP008
        return {**terms, 'loss_norm': seg_logits.square().mean()}


@MMSEG_MODELS.register_module(force=True)
class HeadOfItsOwn(FCNHead):
    """A head of a user that computes its losses from something else."""

    def loss_by_feat(self, seg_logits, batch_data_samples):
        return BaseDecodeHead.loss_by_feat(self, 2 * seg_logits, batch_data_samples)


@pytest.fixture
def _double():
    """Everything in float64, so that no prediction depends on how the interpolation rounds."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def head_of(losses, kind='FCNHead', **options):
    head = dict(
        type=kind, in_channels=CHANNELS[3], in_index=3, channels=8, num_classes=C, norm_cfg=BN, loss_decode=losses
    )
    return ConfigDict(head | options)


def built(config):
    torch.manual_seed(1)
    return MODELS.build(ConfigDict(config, _scope_='mmseg')).train()


def segmentor(decode_head, auxiliary_head=None, kind='EncoderDecoder', **options):
    """A narrow ResNet of output stride 8, whose last two stages have 32 and 64 channels."""
    backbone = dict(
        type='ResNetV1c', depth=18, base_channels=8, stem_channels=8, norm_cfg=BN, strides=(1, 2, 1, 1),
        dilations=(1, 1, 1, 1), norm_eval=False,
    )  # fmt: skip
    config = dict(type=kind, backbone=backbone, decode_head=decode_head, test_cfg=dict(mode='whole'), **options)
    return built(config if auxiliary_head is None else config | dict(auxiliary_head=auxiliary_head))


def samples(number=2, ignored=0.2):
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, C, (number, 1, *SIZE), generator=generator)
    labels[torch.rand(labels.shape, generator=generator) < ignored] = 255
    return [SegDataSample(gt_sem_seg=PixelData(data=label)) for label in labels]


def knet(losses):
    """Two stages of K-Net, whose kernels and loss are those of a head in it."""
    update = dict(
        type='KernelUpdateHead', num_classes=C, num_ffn_fcs=2, num_heads=2, num_mask_fcs=1, feedforward_channels=16,
        in_channels=8, out_channels=8, dropout=0.0, conv_kernel_size=1, ffn_act_cfg=dict(type='ReLU', inplace=True),
        feat_transform_cfg=dict(conv_cfg=dict(type='Conv2d'), act_cfg=None),
        kernel_updator_cfg=dict(
            type='KernelUpdator', in_channels=8, feat_channels=8, out_channels=8,
            act_cfg=dict(type='ReLU', inplace=True), norm_cfg=dict(type='LN'),
        ),
    )  # fmt: skip
    generate = head_of(losses, in_channels=64, align_corners=False)
    return dict(type='IterativeDecodeHead', num_stages=1, kernel_update_head=[update], kernel_generate_head=generate)


class Log(list):
    """A logger that is a list of messages."""

    info = warning = list.append


def change(model):
    """The model after the hook's `before_train`, and what the log says."""
    runner = SimpleNamespace(model=model, logger=Log())
    LowResolutionLossHook().before_train(runner)
    return runner


def outcome(model, *batch):
    """Terms of the loss, gradient of their sum, and whether each call of a loss had logits smaller than the labels."""
    small = []
    handles = [
        loss.register_forward_pre_hook(lambda _, args: small.append(args[0].shape[2:] != args[1].shape[1:]))
        for loss in model.modules()
        if is_softmax_loss(loss)
    ]
    torch.manual_seed(2)  # of the dropout, and of the bases of Hamburger
    terms = model.loss(*batch)
    for handle in handles:
        handle.remove()
    parameters = [one for one in model.parameters() if one.requires_grad]
    total = sum(value for name, value in terms.items() if 'loss' in name)
    gradients = torch.autograd.grad(total, parameters, allow_unused=True)
    return terms, gradients, small


def assert_same(one, other):
    for terms in zip(one[0].items(), other[0].items(), strict=True):
        (name, value), (other_name, other_value) = terms
        assert (name, value.shape, value.dtype) == (other_name, other_value.shape, other_value.dtype)
        torch.testing.assert_close(value, other_value, rtol=1e-6 if 'acc' in name else 1e-10, atol=0)
    for gradient, other_gradient in zip(one[1], other[1], strict=True):
        torch.testing.assert_close(gradient, other_gradient, rtol=1e-9, atol=1e-12)


@pytest.mark.usefixtures('_double')
@pytest.mark.parametrize('align_corners', [False, True])
@pytest.mark.parametrize('kind', HEADS)
def test_losses_accuracy_and_gradients_of_a_head_are_those_without_the_hook(kind, align_corners):
    head = built(head_of(SEVERAL, kind, align_corners=align_corners, **HEADS[kind]))
    sizes = [[-(-size // stride) for size in SIZE] for stride in STRIDES]
    features = [torch.randn(2, channels, *size) for channels, size in zip(CHANNELS, sizes, strict=True)]
    before = outcome(copy.deepcopy(head), features, samples(), {})
    change(head)
    after = outcome(head, features, samples(), {})
    assert_same(before, after)
    assert not any(before[2])
    assert all(after[2])
    assert len(after[2]) == len(SEVERAL) * (3 if kind == 'DAHead' else 1)


@pytest.mark.usefixtures('_double')
def test_auxiliary_heads_cascades_and_heads_in_heads_are_changed_too():
    fcn = head_of(RECALL, in_channels=64, num_convs=1)
    models = [
        segmentor(fcn, [head_of(WEIGHTED, in_channels=32, in_index=2), head_of(BALANCED, in_channels=16, in_index=1)]),
        segmentor(
            [fcn, head_of(SEVERAL, 'OCRHead', in_channels=64, ocr_channels=4)],
            head_of(LDAM, in_channels=32, in_index=2),
            kind='CascadeEncoderDecoder',
            num_stages=2,
        ),
        segmentor(knet(SEVERAL)),
    ]
    for model in models:
        images = torch.randn(2, 3, *SIZE)
        before = outcome(copy.deepcopy(model), images, samples())
        change(model)
        after = outcome(model, images, samples())
        assert_same(before, after)
        assert all(after[2])


def test_a_batch_without_a_valid_pixel_has_the_accuracy_and_loss_of_mmseg():
    head = built(head_of(RECALL))
    batch = ([torch.randn(2, c, 5, 7) for c in CHANNELS], samples(ignored=1.0), {})
    before = outcome(copy.deepcopy(head), *batch)
    change(head)
    assert_same(before, outcome(head, *batch))
    assert before[0]['acc_seg'] == 100


def test_without_an_ignore_index_the_accuracy_is_of_all_pixels():
    head = built(head_of(dict(RECALL, ignore_index=255), ignore_index=None))
    batch = ([torch.randn(2, c, 5, 7) for c in CHANNELS], samples(), {})
    before = outcome(copy.deepcopy(head), *batch)
    change(head)
    torch.testing.assert_close(outcome(head, *batch)[0]['acc_seg'], before[0]['acc_seg'])


@pytest.mark.parametrize(
    ('options', 'reason'),
    [
        (dict(losses=STOCK), 'CrossEntropyLoss needs a map of their size'),
        (dict(losses=[RECALL, DICE, DICE]), 'SoftDiceLoss needs a map of their size'),
        (dict(losses=[RECALL, VARIATION]), 'BalancedLogitVariationLoss needs a map of their size'),
        (dict(losses=RECALL, kind='HeadOfItsOwn'), 'HeadOfItsOwn has a loss_by_feat of its own'),
        (
            dict(losses=RECALL, sampler=dict(type='OHEMPixelSampler', thresh=0.7, min_kept=10)),
            'OHEMPixelSampler chooses among the pixels of the labels',
        ),
        (
            dict(losses=dict(STOCK, use_sigmoid=True), num_classes=2, out_channels=1, threshold=0.3),
            'it has one output channel, whose loss is a sigmoid',
        ),
    ],
)
def test_a_head_that_cannot_goes_the_old_way_and_the_log_names_it_once(options, reason):
    model = segmentor(head_of(in_channels=64, **options), head_of(RECALL, in_channels=32, in_index=2))
    kind = type(model.decode_head)
    log = change(model).logger
    assert log == [
        f'decode_head interpolates its logits before the loss: {reason}',
        'Losses are taken from low-resolution logits, without a map of full size, in: auxiliary_head',
    ]
    assert type(model.decode_head) is kind
    assert isinstance(model.auxiliary_head, LowResolutionHead)


def test_a_model_without_decode_head_is_left_alone_with_a_warning():
    assert change(nn.Linear(2, 2)).logger == [
        'LowResolutionLossHook changes nothing: the model has no decode head of mmseg'
    ]


def test_a_copy_and_a_pickle_have_the_class_of_before():
    head = built(head_of(RECALL))
    change(head)
    assert (type(head).__name__, type(head).__module__) == ('FCNHead', FCNHead.__module__)
    for other in (copy.deepcopy(head), pickle.loads(pickle.dumps(head))):
        assert type(other) is FCNHead
        assert other.state_dict().keys() == head.state_dict().keys()
        assert all(torch.equal(one, same) for one, same in zip(other.parameters(), head.parameters(), strict=True))


def test_a_second_training_changes_the_head_again_even_if_an_error_ended_the_first():
    model = segmentor(head_of(RECALL, in_channels=64))
    change(model)
    runner = change(model)
    assert type(model.decode_head).__mro__.count(LowResolutionHead) == 1
    LowResolutionLossHook().after_train(runner)
    assert type(model.decode_head) is FCNHead


def calls_of(loss, logits, target, **options):
    model = nn.ModuleDict(dict(head=loss))
    calls = LossCalls(model, is_softmax_loss)
    loss(logits.requires_grad_(), target, ignore_index=255, **options)
    return calls


LOGITS = torch.randn(2, C, 5, 7, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
TARGET = torch.stack([sample.gt_sem_seg.data[0] for sample in samples()])
LARGE = F.interpolate(LOGITS, SIZE, mode='bilinear', align_corners=True)


class LossOfAUser(RecallLoss):
    """A loss that hands over what it does not know."""

    def forward(self, logits, target, **options):
        return super().forward(logits, target, **options)


@pytest.mark.parametrize('loss', [RecallLoss(), SoftDiceLoss(), LossOfAUser()])
def test_the_batch_of_a_call_has_logits_of_the_size_of_the_labels(loss):
    (call,) = calls_of(loss, LOGITS.clone(), TARGET, upsample='bilinear', align_corners=True)
    logits, target, ignore_index = call.batch()
    torch.testing.assert_close(logits, LARGE)
    assert (target.shape, ignore_index) == (TARGET.shape, 255)
    assert call.takes_class_indices
    assert call.given[0].shape == LOGITS.shape


def test_the_gradients_by_class_of_a_call_are_those_of_its_interpolated_logits():
    others = [RecallLoss(), MODELS.build(dict(STOCK, _scope_='mmseg', avg_non_ignore=True))]
    (small,) = calls_of(RecallLoss(), LOGITS.clone(), TARGET, upsample='bilinear', align_corners=True)
    (large,) = calls_of(RecallLoss(), LARGE.clone(), TARGET)
    for gradient, expected in zip(gradients_of_call(others, small), gradients_of_call(others, large), strict=True):
        torch.testing.assert_close(gradient, expected)
    assert _same_batch(small, small)
    assert not _same_batch(small, large)


@pytest.mark.parametrize('loss', [RecallLoss(), LossOfAUser()])
def test_blame_names_the_same_classes_as_for_interpolated_logits(loss):
    logits = LOGITS.clone()
    logits[0, 2, 0, 0] = float('nan')
    large = F.interpolate(logits, SIZE, mode='bilinear', align_corners=True)
    found = calls_of(loss, logits, TARGET, upsample='bilinear', align_corners=True).blame(CLASSES)
    assert found == calls_of(loss, large, TARGET).blame(CLASSES)
    assert found[0].endswith('and the logits of class pole')


class Streets(Dataset):
    """Random images and labels, the same in every run."""

    metainfo = dict(classes=CLASSES)

    def __len__(self):
        return 4

    def __getitem__(self, index):
        images = torch.randn(4, 3, *SIZE, generator=torch.Generator().manual_seed(1), dtype=torch.float32)
        return dict(inputs=images[index], data_samples=samples(4)[index])


def trained(root, *hooks, **options):
    """A model after three iterations, and the scalars that were logged in each."""
    preprocessor = dict(type='SegDataPreProcessor', size=SIZE)
    losses = [RECALL | dict(alpha=0.5, num_classes=C), WEIGHTED]
    model = segmentor(
        head_of(losses, in_channels=64, align_corners=True, num_convs=1),
        head_of(BALANCED, in_channels=32, in_index=2, num_convs=1),
        data_preprocessor=preprocessor,
    )
    runner = Runner(
        model=model,
        work_dir=str(root),
        experiment_name=f'{root.parent.name}-{root.name}',
        train_dataloader=dict(dataset=Streets(), batch_size=2, sampler=dict(type='InfiniteSampler', shuffle=False)),
        train_cfg=dict(type='IterBasedTrainLoop', max_iters=3),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.05), **options),
        custom_hooks=[dict(type='mmrecall.ClassWeightHook', interval=1), dict(type='mmrecall.NonFiniteLossHook')]
        + [dict(type=f'mmrecall.{name}') for name in hooks],
        default_hooks=dict(logger=dict(type='LoggerHook', interval=1), checkpoint=None),
        randomness=dict(seed=0),
        log_level='ERROR',
    )
    runner.train()
    (file,) = root.rglob('scalars.json')
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    return model, [
        {key: value for key, value in line.items() if 'time' not in key and key != 'memory'} for line in lines
    ]


@pytest.mark.parametrize('options', [{}, dict(accumulative_counts=2)])
def test_a_training_logs_the_scalars_that_it_logs_without_the_hook_and_ends_with_its_heads(tmp_path, options):
    before, expected = trained(tmp_path / 'before', **options)
    calls = []
    handle = nn.modules.module.register_module_forward_pre_hook(
        lambda loss, args: calls.append(args[0].shape[2:]) if is_softmax_loss(loss) else None
    )
    after, found = trained(tmp_path / 'after', 'LowResolutionLossHook', **options)
    handle.remove()
    assert calls == [(5, 7)] * 9
    assert sum('class_recall' in key for line in found for key in line) == 3 * 3 * C
    assert len(found) == len(expected)
    for line, other in zip(found, expected, strict=True):
        assert line == pytest.approx(other, rel=1e-3, abs=1e-5)
    for name, tensor in before.state_dict().items():
        torch.testing.assert_close(after.state_dict()[name], tensor, rtol=1e-3, atol=1e-5)
    assert type(after.decode_head) is type(after.auxiliary_head) is FCNHead
    torch.save(after, tmp_path / 'model.pth')


def rank_step(rank, world_size):
    """Losses and gradient of three of four images on the first rank, of the last on the second, or of all on one."""
    # A batch norm has statistics of its rank alone.
    head = head_of([RECALL, LDAM], in_channels=3, in_index=0, norm_cfg=None, dropout_ratio=0.0)
    model = HeadAlone(built(head).double())
    part = slice(None) if world_size == 1 else slice(0, 3) if rank == 0 else slice(3, 4)
    features = torch.randn(4, 3, 5, 7, generator=torch.Generator().manual_seed(1), dtype=torch.float64)[part]
    wrapped = model if world_size == 1 else DistributedDataParallel(model)
    change(wrapped)
    terms = wrapped(features, samples(4)[part])
    sum(value for name, value in terms.items() if 'loss' in name).backward()
    gradient = torch.cat([one.grad.flatten() for one in model.parameters()])
    assert isinstance(model.head, LowResolutionHead)
    return {name: value.item() for name, value in terms.items()}, gradient.tolist()


class HeadAlone(nn.Module):
    """A model of nothing but a head."""

    def __init__(self, head):
        super().__init__()
        self.head = head

    def forward(self, features, data_samples):
        return self.head.loss([features], data_samples, {})


def test_two_ranks_have_the_gradient_and_losses_of_one_process(two_ranks):
    losses, gradient = rank_step(0, 1)
    (first, gradient_of_first), (second, gradient_of_second) = two_ranks.run(rank_step)
    assert gradient_of_first == gradient_of_second == pytest.approx(gradient, rel=1e-9, abs=1e-12)
    for name in ('loss_recall', 'loss_ldam'):
        assert (first[name] + second[name]) / 2 == pytest.approx(losses[name], rel=1e-10)
    # mmseg's accuracy is that of the images of a rank
    assert first['acc_seg'] != second['acc_seg']
