"""Every second stage, on synthetic data in the layout of its data set."""

import ast
import re
from pathlib import Path

import pytest
import synthetic_data
import torch

pytest.importorskip('mmpretrain')

import cifar_archives
from mmengine.config import Config
from mmengine.registry import DATASETS, MODELS, DefaultScope
from mmengine.runner import Runner
from small_classifiers import small_config

CONFIGS = Path(__file__).parents[2] / 'configs'
ALL = sorted(path for folder in ('decoupling', 'oltr') for path in (CONFIGS / folder).glob('*.py'))
# with steps of an optimizer
TRAINED = ('crt', 'lws', 'oltr')


def method(path):
    return path.stem.partition('_')[0]


def first_stage_of(path):
    """Config whose checkpoint a second stage starts from."""
    return CONFIGS / 'resnet' / f'{Path(Config.fromfile(path).model.first_stage).parent.name}.py'


def stem(path):
    """Of a config, as pytest shows it."""
    return path.stem


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    """Folder in which ``data/`` holds a small copy of every data set."""
    folder = tmp_path_factory.mktemp('made')
    synthetic_data.every_long_tail(folder / 'data')
    cifar_archives.write_both(folder / 'data')
    with cifar_archives.taken_for_official(folder / 'data' / 'cifar10', folder / 'data' / 'cifar100'):
        yield folder


@pytest.fixture
def there(data, monkeypatch):
    """What a runner does before it builds: types are mmpretrain's, and paths begin where the data is."""
    monkeypatch.chdir(data)
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        yield


@pytest.mark.parametrize('path', ALL, ids=stem)
def test_a_name_says_what_is_inside(path):
    config = Config.fromfile(path)
    ranks, batch = map(int, re.search(r'_(\d+)xb(\d+)', path.stem).groups())
    assert ranks * batch == 128
    assert config.train_dataloader.batch_size == batch
    epochs = re.search(r'-(\d+)e_', path.stem)
    assert bool(epochs) == (method(path) in TRAINED)
    if epochs:
        assert config.train_cfg.max_epochs == int(epochs[1])
        schedulers = config.param_scheduler if isinstance(config.param_scheduler, list) else [config.param_scheduler]
        assert schedulers[-1]['end'] == int(epochs[1])


@pytest.mark.parametrize('path', ALL, ids=stem)
def test_a_second_stage_has_the_network_and_the_data_of_its_first(path):
    first, second = Config.fromfile(first_stage_of(path)), Config.fromfile(path)
    for part in ('backbone', 'neck'):
        assert second.model[part] == first.model[part]
    assert second.data_preprocessor == first.data_preprocessor
    for size in ('num_classes', 'in_channels'):
        assert second.model.head[size] == first.model.head[size]


def test_oltr_on_places_has_the_schedule_of_its_authors():
    config = Config.fromfile(CONFIGS / 'oltr' / 'oltr_resnet152_4xb32-30e_places-lt.py')
    # config/Places_LT/stage_2_meta_embedding.py of Liu et al.: 128 images, 0.01, 0.0001 for the attention, steps of 10
    assert config.auto_scale_lr.base_batch_size == 128
    assert config.optim_wrapper.optimizer.lr == 0.01
    assert config.optim_wrapper.paramwise_cfg.custom_keys == dict(head=dict(lr_mult=1.0), attention=dict(lr_mult=0.01))
    assert (config.param_scheduler.type, config.param_scheduler.milestones) == ('MultiStepLR', [10, 20])


@pytest.mark.parametrize('path', ALL, ids=stem)
def test_the_two_commands_follow_each_other(path):
    first = first_stage_of(path)
    configs = re.findall(r'configs/\S+\.py', ast.get_docstring(ast.parse(path.read_text(encoding='utf-8'))))
    assert configs == [f'configs/resnet/{first.name}', f'configs/{path.parent.name}/{path.name}']
    epochs = Config.fromfile(first).train_cfg.max_epochs
    # where the stock tool puts the checkpoint of the first command
    assert Config.fromfile(path).model.first_stage == f'work_dirs/{first.stem}/epoch_{epochs}.pth'


def small(path):
    """The config with small images and few channels, for one epoch."""
    config = small_config(path, batch_size=8)
    if config.model.backbone.depth > 50:
        config.model.backbone.depth = 50
        if 'feature_size' in config.model:
            config.model.feature_size = 1
    config.default_hooks.logger.interval = 1000
    config.log_level = 'WARNING'
    return config


@pytest.mark.parametrize('path', ALL, ids=stem)
def test_every_config_learns_from_its_first_stage_and_is_tested(path, there, tmp_path):
    first = small(first_stage_of(path)).model
    model = MODELS.build(first)
    torch.save(dict(state_dict=model.state_dict()), tmp_path / 'first.pth')
    config = small(path)
    config.model.first_stage = str(tmp_path / 'first.pth')
    config.work_dir = str(tmp_path / 'work')
    if method(path) in TRAINED:
        config.train_cfg.update(max_epochs=1)
    runner = Runner.from_cfg(config)
    runner.train()
    trained = runner.model.state_dict()
    features = {name: value for name, value in model.state_dict().items() if not name.startswith('head.')}
    if runner.model.frozen:
        assert all(torch.equal(trained[name], value) for name, value in features.items())
    assert 0 <= runner.test()['shot/top1'] <= 100


@pytest.mark.parametrize('path', [path for path in ALL if method(path) == 'tau-norm'], ids=stem)
def test_tau_is_chosen_on_images_that_are_neither_trained_on_nor_tested(path, there):
    config, first = small(path), small(first_stage_of(path))

    def images(loader):
        dataset = DATASETS.build(loader.dataset)
        infos = [dataset.get_data_info(index) for index in range(len(dataset))]
        return {info['img'].tobytes() if 'img' in info else info['img_path'] for info in infos}

    chosen_on = images(config.train_dataloader)
    assert chosen_on
    assert not chosen_on & images(config.test_dataloader)
    assert not chosen_on & images(first.train_dataloader)
