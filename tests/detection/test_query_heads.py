"""Mask2Former and MaskFormer of mmseg, whose loss_cls is called by mmdet's code, on small networks."""

import copy
from pathlib import Path

import pytest
import torch
from mmengine.config import Config

from mmrecall.engine.hooks.loss_checks import check_named_losses, complete_query_heads

pytest.importorskip('mmdet.models')
mmseg = pytest.importorskip('mmseg')

CLASSES = 5
WEIGHTS = [1.0] * CLASSES + [0.1]
CONFIGS = {
    'Mask2FormerHead': 'mask2former/mask2former_r50_8xb2-90k_cityscapes-512x1024.py',
    'MaskFormerHead': 'maskformer/maskformer_r50-d32_8xb2-160k_ade20k-512x512.py',
}
every_head = pytest.mark.parametrize('head', CONFIGS)


def config_of(head, **options):
    """The stock config with a ResNet-18, few queries and five classes."""
    model = Config.fromfile(Path(mmseg.__file__).parent / '.mim' / 'configs' / CONFIGS[head]).model
    model.backbone.update(depth=18, init_cfg=None, norm_cfg=dict(type='BN'))
    model.data_preprocessor = None
    model.decode_head.update(in_channels=[64, 128, 256, 512], num_classes=CLASSES, num_queries=12)
    model.decode_head.loss_cls.class_weight = WEIGHTS
    if head == 'Mask2FormerHead':
        model.decode_head.train_cfg.num_points = 64
    for name, value in options.items():
        # not update, which would keep the options of the loss before
        model.decode_head[name] = value
    return model


def build(config):
    mmseg_registry = pytest.importorskip('mmseg.registry')
    pytest.importorskip('mmseg.models')
    torch.manual_seed(0)
    with mmseg_registry.MODELS.switch_scope_and_registry('mmseg') as registry:
        return registry.build(copy.deepcopy(config)).train()


def losses_of(config, counts=None):
    """The losses of one batch; the queries are matched the same way whatever loss_cls is."""
    model = build(config)
    check_named_losses(config, model)
    complete_query_heads(model)
    if counts is not None:
        model.decode_head.loss_cls.class_counts.set(counts)
    structures = pytest.importorskip('mmseg.structures')
    pixel_data = pytest.importorskip('mmengine.structures').PixelData
    samples = []
    for _ in range(2):
        labels = torch.randint(0, CLASSES, (1, 4, 4)).repeat_interleave(16, 1).repeat_interleave(16, 2)
        labels[:, :16] = 255
        sample = structures.SegDataSample(metainfo=dict(img_shape=(64, 64), pad_shape=(64, 64)))
        sample.gt_sem_seg = pixel_data(data=labels)
        samples.append(sample)
    losses = model.loss(torch.randn(2, 3, 64, 64), samples)
    sum(losses.values()).backward()
    assert model.decode_head.cls_embed.weight.grad.abs().sum() > 0
    return {name: value.item() for name, value in losses.items()}


@every_head
def test_a_list_of_weights_gives_the_losses_of_mmdets_cross_entropy(head):
    stock = config_of(head)
    ours = dict(type='mmrecall.WeightedCrossEntropyLoss', class_weight=WEIGHTS)
    ours['loss_weight'] = stock.decode_head.loss_cls.loss_weight
    expected = losses_of(stock)
    assert losses_of(config_of(head, loss_cls=ours)) == pytest.approx(expected, rel=1e-4)
    named = dict(ours, class_weight={0: 1.0}, no_object_weight=0.1, num_classes=CLASSES)
    assert losses_of(config_of(head, loss_cls=named)) == pytest.approx(expected, rel=1e-4)


@every_head
def test_a_scheme_of_counted_classes_gives_the_losses_of_its_weights(head):
    counts = [50, 20, 10, 4, 2]
    shares = [1 / count for count in counts]
    weights = [CLASSES * share / sum(shares) for share in shares]
    given = dict(type='mmrecall.WeightedCrossEntropyLoss', class_weight=[*weights, 0.1])
    scheme = dict(
        type='mmrecall.WeightedCrossEntropyLoss',
        class_weight='inverse_frequency',
        class_counts='auto',
        num_classes=CLASSES,
        no_object_weight=0.1,
    )
    expected = losses_of(config_of(head, loss_cls=given))
    assert losses_of(config_of(head, loss_cls=scheme), counts) == pytest.approx(expected, rel=1e-5)


@every_head
@pytest.mark.parametrize('number', [0, 1])
def test_the_configs_of_the_docs_train(head, number, repository):
    text = (repository / 'docs' / 'heads.md').read_text()
    blocks = [block.partition('```')[0] for block in text.split('```python\n')[1:]]
    loss = Config.fromstring(blocks[number].replace('19', str(CLASSES)), '.py').loss_cls
    assert loss.pop('_delete_')
    counts = [50, 20, 10, 4, 2] if 'class_counts' in loss else None
    assert losses_of(config_of(head, loss_cls=loss), counts)['decode.loss_cls'] > 0


@every_head
def test_the_recall_loss_weighs_missed_queries_and_no_object(head):
    """Of a fresh network, whose queries all predict one class, every other class is missed."""
    factors = losses_of(config_of(head, loss_cls=dict(type='mmrecall.RecallLoss', class_weight=WEIGHTS)))
    ones = losses_of(config_of(head, loss_cls=dict(type='mmrecall.RecallLoss', class_weight=[1.0] * 6)))
    name = 'decode.loss_cls'
    assert 0 < factors[name] < ones[name]
    running = dict(type='mmrecall.RecallLoss', alpha=0.5, num_classes=CLASSES + 1, class_weight=WEIGHTS)
    assert losses_of(config_of(head, loss_cls=running))[name] > 0


@every_head
def test_loss_decode_is_said(head):
    config = config_of(head, loss_decode=dict(type='mmrecall.RecallLoss'))
    with pytest.raises(ValueError, match=rf'model\.decode_head\.loss_decode.*{head}.*takes its .* loss as loss_cls'):
        check_named_losses(config, build(config))


@every_head
@pytest.mark.parametrize(
    'loss',
    [
        'SoftmaxFocalLoss',
        'LogitAdjustedLoss',
        'BalancedSoftmaxLoss',
        'BalancedLogitVariationLoss',
        'OHEMCrossEntropyLoss',
    ],
)
def test_a_loss_without_class_weights_says_which_have_them(head, loss):
    options = dict(class_counts=[1] * 6) if 'Logit' in loss or 'Balanced' in loss else {}
    config = config_of(head, loss_cls=dict(type=f'mmrecall.{loss}', class_weight=WEIGHTS, **options))
    with pytest.raises(
        TypeError, match=f"got 'class_weight', which is no option of {loss}.*Mask2Former.*WeightedCrossEntropyLoss"
    ):
        build(config)


@every_head
@pytest.mark.parametrize('loss', ['SoftDiceLoss', 'LovaszSoftmaxLoss'])
def test_a_region_loss_with_a_weight_of_no_object_trains(head, loss):
    options = dict(type=f'mmrecall.{loss}', class_weight=WEIGHTS)
    assert losses_of(config_of(head, loss_cls=options))['decode.loss_cls'] > 0
    options['class_weight'] = WEIGHTS[:-1]
    with pytest.raises(ValueError, match=r'for 5 classes; expected 6.*set class_weight=\[1\.0\] \* 5 \+ \[0\.1\]'):
        losses_of(config_of(head, loss_cls=options))


@every_head
def test_margins_say_that_no_object_has_no_count(head):
    loss = dict(type='mmrecall.LDAMLoss', class_counts=[1] * 6, class_weight=WEIGHTS)
    with pytest.raises(ValueError, match='LDAMLoss; expected RecallLoss or WeightedCrossEntropyLoss'):
        losses_of(config_of(head, loss_cls=loss))


def instance_losses(loss_cls):
    """The losses of mmdet's own Mask2Former, for instances, on one image with two of them."""
    mmdet = pytest.importorskip('mmdet')
    structures = pytest.importorskip('mmdet.structures')
    masks = pytest.importorskip('mmdet.structures.mask')
    instances = pytest.importorskip('mmengine.structures')
    config = Path(mmdet.__file__).parent / '.mim/configs/mask2former/mask2former_r50_8xb2-lsj-50e_coco.py'
    model = Config.fromfile(config).model
    model.backbone.update(depth=18, init_cfg=None, frozen_stages=-1)
    model.data_preprocessor = None
    model.panoptic_head.update(in_channels=[64, 128, 256, 512], num_things_classes=CLASSES, num_queries=12)
    model.panoptic_fusion_head.num_things_classes = CLASSES
    model.train_cfg.num_points = 64
    # not update, which would keep the options of the loss before
    model.panoptic_head['loss_cls'] = loss_cls
    torch.manual_seed(0)
    with pytest.importorskip('mmdet.registry').MODELS.switch_scope_and_registry('mmdet') as registry:
        model = registry.build(model).train()
    complete_query_heads(model)
    sample = structures.DetDataSample(metainfo=dict(img_shape=(64, 64), batch_input_shape=(64, 64)))
    bitmaps = torch.zeros(2, 64, 64, dtype=torch.uint8)
    bitmaps[0, :32], bitmaps[1, 40:] = 1, 1
    sample.gt_instances = instances.InstanceData(
        labels=torch.tensor([1, 3]), masks=masks.BitmapMasks(bitmaps.numpy(), 64, 64)
    )
    return {name: value.item() for name, value in model.loss(torch.randn(1, 3, 64, 64), [sample]).items()}


def test_mmdets_own_mask2former_takes_a_scheme_as_its_list_of_weights():
    stock = dict(type='CrossEntropyLoss', class_weight=WEIGHTS, loss_weight=2.0)
    scheme = dict(
        type='mmrecall.WeightedCrossEntropyLoss',
        class_weight='inverse_frequency',
        class_counts=[7] * CLASSES,
        no_object_weight=0.1,
        loss_weight=2.0,
    )
    assert instance_losses(scheme) == pytest.approx(instance_losses(stock), rel=1e-4)


def test_mmdets_own_mask2former_takes_a_fixed_weight_of_no_object():
    loss = dict(type='mmrecall.RecallLoss', class_weight=[1.0] * CLASSES, num_classes=CLASSES)
    fixed = instance_losses(dict(loss, no_object_weight=0.1))
    with pytest.raises(ValueError, match='for 5 classes; expected 6'):
        instance_losses(loss)
    assert 0 < fixed['loss_cls'] < instance_losses(dict(loss, no_object_weight=1.0))['loss_cls']
