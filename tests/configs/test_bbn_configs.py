"""BBN on every data set, on synthetic data in the layout of its data set."""

import re
from pathlib import Path

import pytest
import synthetic_data
import torch

pytest.importorskip('mmpretrain')

import cifar_archives
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from mmpretrain import ImageClassificationInferencer
from small_classifiers import small_config

CONFIGS = Path(__file__).parents[2] / 'configs'
ALL = sorted((CONFIGS / 'bbn').glob('*.py'))


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
def test_a_batch_has_128_images_of_each_sampling_and_the_name_tells_it(path):
    ranks, batch, epochs = map(int, re.search(r'_(\d+)xb(\d+)-(\d+)e_', path.stem).groups())
    config = Config.fromfile(path)
    assert ranks * batch == config.auto_scale_lr.base_batch_size == 2 * 128
    assert config.train_dataloader.batch_size == batch
    assert config.train_cfg.max_epochs == epochs
    schedulers = config.param_scheduler if isinstance(config.param_scheduler, list) else [config.param_scheduler]
    assert schedulers[-1]['end'] == epochs


@pytest.mark.parametrize('path', ALL, ids=stem)
def test_the_network_is_that_of_the_plain_config(path):
    _, network, _, data = path.stem.split('_')
    (plain,) = (CONFIGS / 'resnet').glob(f'{network}_*-ce-[0-9]*_{data}.py')
    base, config = Config.fromfile(plain), Config.fromfile(path)
    for part in ('backbone', 'neck'):
        assert config.model[part] == base.model[part]
    for size in ('num_classes', 'in_channels'):
        assert config.model.head[size] == base.model.head[size]
    assert config.train_dataloader.dataset == base.train_dataloader.dataset


def test_inaturalist_has_the_schedule_of_the_authors():
    config = Config.fromfile(CONFIGS / 'bbn' / 'bbn_resnet50_4xb64-180e_inat2018.py')
    optimizer = config.optim_wrapper.optimizer
    assert (optimizer.lr, optimizer.weight_decay, optimizer.nesterov) == (0.05, 1e-4, True)
    assert (config.param_scheduler.type, config.param_scheduler.milestones) == ('MultiStepLR', [120, 160])


def test_inaturalist_is_normalised_as_the_authors_do():
    config = Config.fromfile(CONFIGS / 'bbn' / 'bbn_resnet50_4xb64-180e_inat2018.py')
    # lib/data_transform/transform_wrapper.py, in units of 255
    assert config.data_preprocessor.mean == pytest.approx([255 * 0.485, 255 * 0.456, 255 * 0.406])
    assert config.data_preprocessor.std == pytest.approx([255 * 0.229, 255 * 0.224, 255 * 0.225])


def small(path):
    """The config with small images and few channels, for one epoch."""
    config = small_config(path, batch_size=16)
    config.model.backbone.depth = min(config.model.backbone.depth, 50)
    config.train_cfg.update(max_epochs=1, val_interval=1)
    config.log_level = 'WARNING'
    return config


@pytest.mark.parametrize('path', ALL, ids=stem)
def test_every_config_trains_and_is_tested_and_predicts(path, there, tmp_path):
    config = small(path)
    config.work_dir = str(tmp_path / 'work')
    runner = Runner.from_cfg(config)
    runner.train()
    assert 0 <= runner.test()['shot/top1'] <= 100
    info = runner.test_dataloader.dataset.get_data_info(0)
    image = info['img'] if 'img' in info else info['img_path']
    checkpoint = str(tmp_path / 'work' / 'epoch_1.pth')
    predicted = ImageClassificationInferencer(small(path), pretrained=checkpoint, device='cpu')(image)
    tested = runner.model.test_step(next(iter(runner.test_dataloader)))[0]
    torch.testing.assert_close(torch.tensor(predicted[0]['pred_scores']), tested.pred_score)
