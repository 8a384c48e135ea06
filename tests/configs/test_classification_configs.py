"""Every classification config, on synthetic data in the layout of its data set."""

import re
from pathlib import Path

import pytest
import synthetic_data
import torch
from commands import run

pytest.importorskip('mmpretrain')

import cifar_archives
from mmengine.config import Config
from mmengine.evaluator import Evaluator
from mmengine.optim import build_optim_wrapper
from mmengine.registry import HOOKS, MODELS, PARAM_SCHEDULERS, DefaultScope
from mmengine.runner import Runner
from small_classifiers import small_config

from mmrecall.losses import ClassCounts

CONFIGS = Path(__file__).parents[2] / 'configs'
COMPLETE = sorted(path for folder in ('resnet', 'sdn') for path in (CONFIGS / folder).glob('*.py'))
BASELINES = ('class-balanced', 'focal', 'ldam-drw', 'balanced-softmax', 'logit-adjusted')
# beside the baselines: the published ones
OTHERS = {'resnet18w16': ('seesaw', 'range', 'lifted'), 'resnet152': ('seesaw', 'range', 'lifted')}
OTHERS |= {'resnet50': ('seesaw',), 'resnet32': ('ldam',)}
# network, what the papers train with recall, what else we do
COMPARISONS = {
    'resnet18w16_1xb128-{}-10e_cifar10-lt': ('0.9', '0.1', '0.01', '0.001'),
    'resnet18w16_1xb128-{}-10e_tiny-imagenet-lt-32x32': ('0.9', '0.1', '0.01', '0.001'),
    'resnet32_1xb128-{}-200e_cifar10-lt': ('0.1', '0.01', '0.001'),
    'resnet32_1xb128-{}-200e_cifar100-lt': ('0.1', '0.01', '0.001'),
    'resnet152_4xb32-{}-30e_places-lt': ('0.9',),
    'resnet50_4xb32-{}-90e_inat2018': ('0.001',),
}
# the first number of channels of a network without a width in its name
WIDTHS = {'mmrecall.CifarResNet': 16}


def name(path):
    """Of a config, as pytest shows it."""
    return path.relative_to(CONFIGS).as_posix()


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    """Folder in which ``data/`` holds a small copy of every data set."""
    folder = tmp_path_factory.mktemp('made')
    root = folder / 'data'
    synthetic_data.long_tail(root / 'cifar10-lt', ['CIFAR10_LT_train.txt', 'CIFAR10_LT_test.txt'], 10, size=32)
    synthetic_data.long_tail(
        root / 'tiny-imagenet-lt', ['TinyImageNet_LT_train.txt', 'TinyImageNet_LT_val.txt'], 200, size=64
    )
    (root / 'tiny-imagenet-lt' / 'classes.txt').write_text(''.join(f'n{n:08d}\tclass {n}\n' for n in range(200)))
    synthetic_data.long_tail(root / 'places365', [f'Places_LT_{split}.txt' for split in ('train', 'val', 'test')], 365)
    lists = [f'iNaturalist18_{split}.txt' for split in ('train', 'val')]
    # the first species alone: a list need not name every class
    synthetic_data.long_tail(root / 'inaturalist2018', lists, 20, folder='train_val2018/Plantae/{label}')
    synthetic_data.long_tail(root / 'digits-lt', ['train.txt', 'test.txt'], 10, size=8)
    cifar_archives.write_both(root)
    with cifar_archives.taken_for_official(root / 'cifar10', root / 'cifar100'):
        yield folder


@pytest.fixture
def mmpretrain_scope(data, monkeypatch):
    """What a runner does before it builds: types are mmpretrain's, and paths begin where the data is."""
    monkeypatch.chdir(data)
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        yield


@pytest.mark.parametrize('path', COMPLETE, ids=name)
def test_every_config_takes_a_step_and_is_evaluated(path, mmpretrain_scope):
    config = small_config(path, batch_size=4)
    assert config.default_scope == 'mmpretrain'
    num_classes = config.model.head.num_classes
    config.model.data_preprocessor = config.data_preprocessor
    model = MODELS.build(config.model)
    model.init_weights()
    for module in model.modules():
        if isinstance(module, ClassCounts):
            module.set(list(range(1, num_classes + 1)))
    for hook in config.get('custom_hooks', []):
        HOOKS.build(hook)
    optim_wrapper = build_optim_wrapper(model, config.optim_wrapper)
    schedulers = config.param_scheduler if isinstance(config.param_scheduler, list) else [config.param_scheduler]
    for scheduler in schedulers:
        scheduler = dict(scheduler)
        if scheduler.pop('convert_to_iter_based', False):
            scheduler.update(by_epoch=False)
        PARAM_SCHEDULERS.build(scheduler, default_args=dict(optimizer=optim_wrapper))
    gradients = {}
    for key, parameter in model.named_parameters():
        parameter.register_hook(lambda gradient, key=key: gradients.__setitem__(key, gradient))
    train = Runner.build_dataloader(config.train_dataloader)
    assert train.dataset.metainfo['classes'] is not None
    logged = model.train_step(next(iter(train)), optim_wrapper)
    assert logged['loss'].isfinite()
    assert set(gradients) == {key for key, _ in model.named_parameters()}
    assert all(gradient.isfinite().all() for gradient in gradients.values())
    assert any(gradient.any() for gradient in gradients.values())
    for loader, metric in (
        (config.val_dataloader, config.val_evaluator),
        (config.test_dataloader, config.test_evaluator),
    ):
        evaluate(model.eval(), Runner.build_dataloader(loader), metric)


def evaluate(model, loader, metric):
    """Score one batch."""
    evaluator = Evaluator(metric)
    evaluator.dataset_meta = loader.dataset.metainfo
    batch = next(iter(loader))
    evaluator.process(data_samples=model.val_step(batch), data_batch=batch)
    assert 0 <= evaluator.evaluate(len(batch['inputs']))['shot/top1'] <= 100


@pytest.mark.parametrize('network', ['resnet18w16', 'resnet32', 'resnet50', 'resnet152'])
def test_head_and_backbone_fit_at_full_width(network, mmpretrain_scope):
    path = next(path for path in COMPLETE if path.stem.startswith(f'{network}_'))
    config = Config.fromfile(path)
    model = MODELS.build(config.model).eval()
    with torch.no_grad():
        logits = model(torch.zeros(1, 3, 64, 64), mode='tensor')
    assert logits.shape == (1, config.model.head.num_classes)


@pytest.mark.parametrize('path', COMPLETE, ids=name)
def test_a_name_says_what_is_inside(path):
    config = Config.fromfile(path)
    # mmpretrain's rule: algorithm, network, ranks and batch, loss, epochs, data set
    algorithm, depth, width, ranks, batch, loss, epochs = re.fullmatch(
        r'(sdn_)?resnet(\d+)(?:w(\d+))?_(\d+)xb(\d+)-([a-z0-9.-]+)-(\d+)e_[a-z0-9-]+', path.stem
    ).groups()
    assert (algorithm == 'sdn_') == (config.model.head.type == 'mmrecall.SDNHead') == (path.parent.name == 'sdn')
    assert config.model.backbone.depth == int(depth)
    backbone = config.model.backbone
    assert backbone.get('base_channels', WIDTHS.get(backbone.type, 64)) == int(width or WIDTHS.get(backbone.type, 64))
    assert config.train_dataloader.batch_size == int(batch)
    # learning rates scale from it
    assert config.auto_scale_lr.base_batch_size == int(ranks) * int(batch)
    assert config.train_cfg.max_epochs == int(epochs)
    schedulers = config.param_scheduler if isinstance(config.param_scheduler, list) else [config.param_scheduler]
    assert schedulers[-1]['end'] == int(epochs)
    if loss.startswith('recall-ema'):
        assert config.model.head.alpha == float(loss.removeprefix('recall-ema'))
    for hook in config.get('custom_hooks', []):
        # as Cao et al., who begin at epoch 160 of 200 on CIFAR, and at 60 of 90 on iNaturalist
        assert hook.begin == (60 if path.stem.endswith('inat2018') else int(epochs) * 0.8)


@pytest.mark.parametrize('comparison', COMPARISONS)
def test_what_is_compared_differs_in_the_head_alone(comparison):
    losses = ('ce', *BASELINES, *OTHERS[comparison.partition('_')[0]])
    paths = [CONFIGS / 'resnet' / f'{comparison.format(loss)}.py' for loss in losses]
    sdn = ('ce', *(f'recall-ema{alpha}' for alpha in COMPARISONS[comparison]))
    paths += [CONFIGS / 'sdn' / f'sdn_{comparison.format(loss)}.py' for loss in sdn]
    heads, rest, sizes = [], [], set()
    schedules = Config.fromfile(paths[0]).to_dict()['param_scheduler']
    for path in paths:
        config = Config.fromfile(path).to_dict()
        # deferred re-weighting is part of LDAM-DRW
        assert bool(config.pop('custom_hooks', [])) == ('ldam-drw' in path.stem)
        schedule = config.pop('param_scheduler')
        # Cao et al. train in steps on iNaturalist
        assert (schedule == schedules) != (path.stem == 'resnet50_4xb32-ldam-drw-90e_inat2018')
        head = config['model'].pop('head')
        head.pop('topk', None)
        heads.append(head)
        rest.append(config)
        sizes.add((head['num_classes'], head['in_channels']))
    assert all(config == rest[0] for config in rest)
    assert not any(head in heads[:number] for number, head in enumerate(heads))
    assert len(sizes) == 1


@pytest.mark.parametrize('loss', BASELINES)
def test_a_baseline_is_the_same_on_every_data_set_but_for_its_authors_values_on_inaturalist(loss):
    # max_m: appendix B of Cao et al. (NeurIPS 2019); beta: tpu/run_inat2018.sh of Cui et al. (CVPR 2019)
    usual = {'ldam-drw': {'max_margin': 0.5}, 'class-balanced': {'beta': 0.9999}}
    inaturalist = {'ldam-drw': {'max_margin': 0.3}, 'class-balanced': {'beta': 0.999}}
    found = []
    for comparison in COMPARISONS:
        head = Config.fromfile(CONFIGS / 'resnet' / f'{comparison.format(loss)}.py').model.head.to_dict()
        head['loss'].pop('num_classes', None)
        expected = (inaturalist if comparison.endswith('inat2018') else usual).get(loss, {})
        built = {'max_margin': 0.5, **head['loss']}  # the default of LDAMLoss
        assert {key: built[key] for key in expected} == expected
        for key in expected:
            head['loss'].pop(key, None)
        found.append((head['type'], head['loss']))
    assert all(head == found[0] for head in found)


def test_ldam_drw_on_inaturalist_has_the_schedule_of_its_authors():
    config = Config.fromfile(CONFIGS / 'resnet' / 'resnet50_4xb32-ldam-drw-90e_inat2018.py')
    # appendix B of Cao et al.: 0.1, divided at epochs 30 and 60 of 90, as He et al. (CVPR 2016) train with 256 images
    assert config.optim_wrapper.optimizer.lr == 0.1 * config.auto_scale_lr.base_batch_size / 256
    assert (config.param_scheduler.type, config.param_scheduler.milestones) == ('MultiStepLR', [30, 60])
    assert config.param_scheduler.get('gamma', 0.1) == 0.1


def test_inaturalist_is_normalised_with_the_colours_of_its_images():
    # data/dataloader.py of Kang et al. (ICLR 2020), in units of 255
    mean, std = [0.466, 0.471, 0.380], [0.195, 0.194, 0.192]
    config = Config.fromfile(CONFIGS / 'resnet' / 'resnet50_4xb32-ce-90e_inat2018.py')
    assert config.data_preprocessor.mean == pytest.approx([255 * share for share in mean])
    assert config.data_preprocessor.std == pytest.approx([255 * share for share in std])
    assert config.data_preprocessor.to_rgb


@pytest.mark.parametrize('comparison', COMPARISONS)
def test_a_batch_has_128_images_on_all_ranks_together(comparison):
    ranks, batch = map(int, re.search(r'_(\d+)xb(\d+)-', comparison).groups())
    assert ranks * batch == 128


@pytest.mark.parametrize(
    'config',
    [
        'sdn/sdn_resnet18w16_1xb128-recall-ema0.9-10e_cifar10-lt.py',
        'resnet/resnet18w16_1xb128-ldam-drw-10e_tiny-imagenet-lt-32x32.py',
        'resnet/resnet32_1xb128-ldam-drw-200e_cifar10-lt-jpeg.py',
        'sdn/sdn_resnet152_4xb32-recall-ema0.9-30e_places-lt.py',
        'sdn/sdn_resnet50_4xb32-recall-ema0.001-90e_inat2018.py',
    ],
)
def test_a_config_of_each_data_set_goes_through_the_stock_tools(config, data, repository, tmp_path):
    made = small_config(CONFIGS / config, batch_size=128)
    for loader in (made.train_dataloader, made.val_dataloader, made.test_dataloader):
        loader.dataset.data_root = str(data / loader.dataset.data_root)
        if 'classes' in loader.dataset:
            loader.dataset.classes = str(data / loader.dataset.classes)
    for evaluator in (made.val_evaluator, made.test_evaluator):
        evaluator.class_counts = str(data / evaluator.class_counts)
    # by epoch, as the hooks of the configs count; the last one of each
    made.train_cfg.update(max_epochs=1, val_interval=1)
    for hook in made.get('custom_hooks', []):
        hook.begin = 0
    path = tmp_path / 'config.py'
    made.dump(path)
    train = ['python', repository / 'tools' / 'train.py', path, '--work-dir', tmp_path / 'work']
    status, output = run(*train, '--no-persistent-workers')
    assert status == 0, output[-3000:]
    assert 'shot/mean_class' in output
    checkpoint = tmp_path / 'work' / 'epoch_1.pth'
    status, output = run('python', repository / 'tools' / 'test.py', path, checkpoint)
    assert status == 0, output[-3000:]
    assert re.search(r'Epoch\(test\).*shot/top1: \d', output)
