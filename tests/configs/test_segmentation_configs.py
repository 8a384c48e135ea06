"""Every segmentation config, on synthetic data in the layout of its data set."""

import re
from pathlib import Path

import pytest
import synthetic_data
import torch

pytest.importorskip('mmseg')

from mmengine.config import Config
from mmengine.evaluator import Evaluator
from mmengine.optim import build_optim_wrapper
from mmengine.registry import MODELS, PARAM_SCHEDULERS, DefaultScope
from mmengine.runner import Runner

from mmrecall.losses import ClassCounts

CONFIGS = Path(__file__).parents[2] / 'configs'
COMPLETE = sorted(path for folder in ('deeplabv3', 'segformer', 'segnext') for path in (CONFIGS / folder).glob('*.py'))
LOSSES = ('ce', 'weighted-ce', 'balanced-ce', 'softiou', 'lovasz', 'ohem', 'focal', 'recall')
SETTINGS = ('1xb6-{}-90k_cityscapes-769x769', '1xb6-{}-100k_synthia-384x768', '1xb6-{}-20k_camvid-360x480')
COMPARISONS = [f'deeplabv3_{net}-d16_{setting}.py' for net in ('r18', 'r101') for setting in SETTINGS]
COMPARISONS.append('deeplabv3_r18-d16_1xb6-{}-3k_camvid-360x480.py')
COMPARISONS.append('deeplabv3_r18w32-d16_1xb8-{}-1k_camvid-180x240.py')
# one config of each
NETWORKS = {re.match(r'(.+)_\d+xb', path.stem)[1]: path for path in COMPLETE}
# images and sizes in the configs are all made smaller by this
FACTOR = 16


def name(path):
    """Of a config, as pytest shows it."""
    return path.relative_to(CONFIGS).as_posix()


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    """Folder in which ``data/`` holds a small copy of every data set."""
    folder = tmp_path_factory.mktemp('made')
    synthetic_data.camvid(folder / 'data' / 'CamVid', frames=2, size=(360 // FACTOR, 480 // FACTOR))
    synthetic_data.cityscapes(folder / 'data' / 'cityscapes', frames=2, size=(1024 // FACTOR, 2048 // FACTOR))
    synthetic_data.synthia(folder / 'data' / 'SYNTHIA', frames=2, size=(760 // FACTOR, 1280 // FACTOR))
    synthetic_data.synthia(folder / 'data' / 'street_scenes', frames=2, size=(128 // FACTOR, 256 // FACTOR))
    return folder


@pytest.fixture
def mmseg_scope(data, monkeypatch):
    """What a runner does before it builds: types are mmseg's, and paths begin where the data is."""
    monkeypatch.chdir(data)
    with DefaultScope.overwrite_default_scope('mmseg'):
        yield


@pytest.mark.parametrize('path', COMPLETE, ids=name)
def test_the_loss_of_the_base_is_in_the_head_alone(path):
    # taken out of the base with pop, or mmengine would keep the variable beside the model
    assert 'loss' not in Config.fromfile(path)


def smaller(size):
    """A size, or a list of them, divided."""
    return size // FACTOR if isinstance(size, int) else type(size)(smaller(part) for part in size)


def shrink_sizes(config):
    """Sizes of images in pipelines, model and test."""
    config.model.data_preprocessor.size = smaller(config.model.data_preprocessor.size)
    loaders = [config.train_dataloader, config.val_dataloader, config.test_dataloader]
    for part in [*(step for loader in loaders for step in loader.dataset.pipeline), config.model.test_cfg]:
        for key in {'scale', 'scales', 'crop_size', 'stride'} & set(part):
            part[key] = smaller(part[key])


def shrink_model(model):
    """A few channels from scratch, and the normalisation that needs no group of ranks."""
    backbone, head = model.backbone, model.decode_head
    backbone.init_cfg = None
    head.channels = 8
    if backbone.type == 'ResNet':
        backbone.update(stem_channels=8, base_channels=8)
        head.in_channels = 256 if backbone.depth > 34 else 64
    elif backbone.type == 'MixVisionTransformer':
        backbone.embed_dims = 8
        head.in_channels = [8 * heads for heads in backbone.num_heads]
    else:
        assert backbone.type == 'MSCAN'
        backbone.embed_dims = [8, 16, 24, 32]
        head.update(in_channels=[16, 24, 32], ham_channels=32, channels=32)
    for part in (backbone, head):
        if part.get('norm_cfg', {}).get('type') == 'SyncBN':
            part.norm_cfg.type = 'BN'


def small(path):
    """The config at a size that takes a second."""
    config = Config.fromfile(path)
    shrink_sizes(config)
    shrink_model(config.model)
    for loader in (config.train_dataloader, config.val_dataloader, config.test_dataloader):
        loader.update(num_workers=0, persistent_workers=False)
        # packing two paths collects the garbage of the whole process, a third of a second
        loader.dataset.serialize_data = False
        if 'min_pixels' in loader.sampler:
            loader.sampler.min_pixels = max(loader.sampler.min_pixels // FACTOR**2, 1)
    return config


@pytest.mark.parametrize('path', COMPLETE, ids=name)
def test_every_config_takes_a_step_and_is_evaluated(path, mmseg_scope):
    config = small(path)
    assert config.default_scope == 'mmseg'
    model = MODELS.build(config.model)
    model.init_weights()
    for module in model.modules():
        if isinstance(module, ClassCounts):
            module.set(list(range(1, config.model.decode_head.num_classes + 1)))
    optim_wrapper = build_optim_wrapper(model, config.optim_wrapper)
    for scheduler in config.get('param_scheduler', []):
        PARAM_SCHEDULERS.build(scheduler, default_args=dict(optimizer=optim_wrapper))
    gradients = {}
    for key, parameter in model.named_parameters():
        parameter.register_hook(lambda gradient, key=key: gradients.__setitem__(key, gradient))
    train = Runner.build_dataloader(config.train_dataloader)
    logged = model.train_step(next(iter(train)), optim_wrapper)
    assert logged['loss'].isfinite()
    assert set(gradients) == {key for key, _ in model.named_parameters()}
    assert all(gradient.isfinite().all() for gradient in gradients.values())
    assert any(gradient.any() for gradient in gradients.values())
    for loader, metric in (
        (config.val_dataloader, config.val_evaluator),
        (config.test_dataloader, config.test_evaluator),
    ):
        evaluate(model.eval(), Runner.build_dataloader(loader), metric, config.model.decode_head.num_classes)


@pytest.mark.parametrize('network', NETWORKS)
def test_head_and_backbone_fit_at_full_width(network, mmseg_scope):
    config = Config.fromfile(NETWORKS[network])
    model = MODELS.build(config.model).eval()
    with torch.no_grad():
        logits = model(torch.zeros(1, 3, 64, 64), mode='tensor')
    assert logits.shape[:2] == (1, config.model.decode_head.num_classes)


def evaluate(model, loader, metric, num_classes):
    """Score one frame."""
    assert len(loader.dataset.metainfo['classes']) == num_classes
    evaluator = Evaluator(metric)
    evaluator.dataset_meta = loader.dataset.metainfo
    batch = next(iter(loader))
    evaluator.process(data_samples=model.val_step(batch), data_batch=batch)
    assert 0 <= evaluator.evaluate(1)['mIoU'] <= 100


@pytest.mark.parametrize('path', COMPLETE, ids=name)
def test_a_name_says_what_is_inside(path):
    config = Config.fromfile(path)
    # mmseg's rule: ranks, batch, loss, iterations; height before width
    batch, count, unit, height, width = re.fullmatch(
        r'.*_\d+xb(\d+)-[a-z0-9.-]+-(\d+)([ik])_[a-z-]+-(\d+)x(\d+)', path.stem
    ).groups()
    assert config.train_dataloader.batch_size == int(batch)
    assert config.train_cfg.max_iters == int(count) * (1000 if unit == 'k' else 1)
    assert config.model.data_preprocessor.size == (int(height), int(width))
    depth = re.search(r'_r(\d+)', path.stem)
    assert depth is None or config.model.backbone.depth == int(depth[1])


@pytest.mark.parametrize('comparison', COMPARISONS)
def test_the_losses_of_a_comparison_are_one_line_apart(comparison):
    losses, rest = [], []
    for loss in LOSSES:
        config = Config.fromfile(CONFIGS / 'deeplabv3' / comparison.format(loss)).to_dict()
        losses.append(config['model']['decode_head'].pop('loss_decode'))
        # where it comes from
        config.pop('loss', None)
        rest.append(config)
    assert all(config == rest[0] for config in rest)
    assert not any(loss in losses[:number] for number, loss in enumerate(losses))


@pytest.mark.parametrize(
    ('config', 'image', 'label'),
    [
        ('deeplabv3_r18-d16_1xb6-ce-90k_cityscapes-769x769.py', (64, 128), (64, 128)),
        ('deeplabv3_r18-d16_1xb6-ce-90k_cityscapes-resized-769x769.py', (48, 48), (64, 128)),
        ('deeplabv3_r18-d16_1xb6-ce-100k_synthia-384x768.py', (24, 48), (47, 80)),
        ('deeplabv3_r18w32-d16_1xb8-ce-1k_camvid-180x240.py', (11, 15), (22, 30)),
    ],
)
@pytest.mark.parametrize('split', ['val', 'test'])
def test_labels_of_the_test_keep_their_size(config, image, label, split, mmseg_scope):
    frame = next(iter(Runner.build_dataloader(small(CONFIGS / 'deeplabv3' / config)[f'{split}_dataloader'])))
    assert frame['inputs'][0].shape[1:] == image
    assert frame['data_samples'][0].gt_sem_seg.shape == label
