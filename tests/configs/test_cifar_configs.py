"""ResNet-32 on CIFAR-10-LT and CIFAR-100-LT, as the papers train it."""

from pathlib import Path

import pytest

pytest.importorskip('mmpretrain')

import cifar_archives
from mmengine.config import Config
from mmengine.registry import PARAM_SCHEDULERS
from mmengine.runner import Runner
from small_classifiers import small_config
from torch import nn, optim

from mmrecall.datasets import CIFAR10LT, CIFAR100LT, long_tailed_counts

CONFIGS = Path(__file__).parents[2] / 'configs'
ALL = sorted(CONFIGS.glob('*/*resnet32_*.py'))
JPEG = [path for path in ALL if path.stem.endswith('-jpeg')]
# trained and tested in test_bbn_configs.py and test_second_stage_configs.py
TRAINED_ELSEWHERE = ('bbn', 'decoupling', 'oltr')


def stem(path):
    """Of a config, as pytest shows it."""
    return path.stem


def learning_rates(config):
    """Of every epoch, by the schedulers of a config."""
    optimizer = optim.SGD(nn.Linear(1, 1).parameters(), lr=config.optim_wrapper.optimizer.lr)
    schedulers = [
        PARAM_SCHEDULERS.build(dict(one), default_args=dict(optimizer=optimizer)) for one in config.param_scheduler
    ]
    found = []
    for _ in range(config.train_cfg.max_epochs):
        found.append(optimizer.param_groups[0]['lr'])
        optimizer.step()
        for scheduler in schedulers:
            scheduler.step()
    return found


@pytest.mark.parametrize('path', [path for path in ALL if '-200e_' in path.stem and 'bbn' not in path.stem], ids=stem)
def test_the_learning_rate_is_that_of_cao_et_al(path):
    # adjust_learning_rate of cifar_train.py, whose epochs count from 1
    expected = []
    for epoch in range(1, 201):
        if epoch <= 5:
            expected.append(0.1 * epoch / 5)
        elif epoch > 180:
            expected.append(0.1 * 0.0001)
        else:
            expected.append(0.1 * 0.01 if epoch > 160 else 0.1)
    config = Config.fromfile(path)
    found = learning_rates(config)
    assert found == pytest.approx(expected)
    assert [found[epoch] for epoch in (0, 4, 5, 159, 160, 179, 180)] == pytest.approx(
        [0.02, 0.1, 0.1, 0.1, 0.001, 0.001, 0.00001]
    )
    optimizer = config.optim_wrapper.optimizer
    assert (optimizer.type, optimizer.momentum, optimizer.weight_decay) == ('SGD', 0.9, 2e-4)
    assert not optimizer.get('nesterov')


@pytest.mark.parametrize(
    ('config', 'milestones', 'gamma', 'weight_decay'),
    [
        # configs/cifar10.yaml of BBN
        ('bbn/bbn_resnet32_1xb256-200e_cifar10-lt', (120, 160), 0.01, 2e-4),
        ('bbn/bbn_resnet32_1xb256-200e_cifar100-lt', (120, 160), 0.01, 2e-4),
        # configs/cao_cifar/two_stage/classifier_balance of BagofTricks-LT
        ('decoupling/crt_resnet32_1xb128-30e_cifar10-lt', (10, 20), 0.1, 5e-4),
        ('decoupling/lws_resnet32_1xb128-30e_cifar100-lt', (10, 20), 0.1, 5e-4),
    ],
)
def test_bbn_and_the_second_stages_have_the_schedule_of_their_sources(config, milestones, gamma, weight_decay):
    config = Config.fromfile(CONFIGS / f'{config}.py')
    # WarmupMultiStepLR of both: from a third of the learning rate in epoch 0 to all of it in epoch 5
    expected = [
        0.1 * min(1, 1 / 3 * (1 - epoch / 5) + epoch / 5) * gamma ** sum(epoch >= one for one in milestones)
        for epoch in range(config.train_cfg.max_epochs)
    ]
    assert learning_rates(config) == pytest.approx(expected)
    optimizer = config.optim_wrapper.optimizer
    assert (optimizer.momentum, optimizer.weight_decay, optimizer.nesterov) == (0.9, weight_decay, True)


@pytest.mark.parametrize('path', ALL, ids=stem)
def test_images_are_cropped_flipped_and_normalised_as_the_papers_do(path):
    config = Config.fromfile(path)
    # cifar_train.py of Cao et al., for both data sets, in units of 255
    assert config.data_preprocessor.mean == pytest.approx([255 * share for share in (0.4914, 0.4822, 0.4465)])
    assert config.data_preprocessor.std == pytest.approx([255 * share for share in (0.2023, 0.1994, 0.2010)])
    # files are read as BGR, archives hold RGB
    assert config.data_preprocessor.to_rgb == (path in JPEG)
    steps = {step.type: step for step in config.train_pipeline}
    assert (steps['RandomCrop'].crop_size, steps['RandomCrop'].padding) == (32, 4)
    assert (steps['RandomFlip'].prob, steps['RandomFlip'].direction) == (0.5, 'horizontal')


@pytest.mark.parametrize('path', sorted(set(ALL) - set(JPEG)), ids=stem)
def test_the_groups_of_the_metric_are_those_of_the_training_images(path):
    config = Config.fromfile(path)
    classes, largest, kind = (100, 500, CIFAR100LT) if 'cifar100' in path.stem else (10, 5000, CIFAR10LT)
    assert config.model.head.num_classes == config.data_preprocessor.num_classes == classes
    first_stage = Config.fromfile(CONFIGS / 'resnet' / f'resnet32_1xb128-ce-200e_cifar{classes}-lt.py')
    dataset = first_stage.train_dataloader.dataset
    assert dataset.type == f'mmrecall.{kind.__name__}'
    assert (dataset.imbalance_factor, dataset.imbalance_type, dataset.seed) == (100, 'exponential', 0)
    for evaluator in (config.val_evaluator, config.test_evaluator):
        assert evaluator.class_counts == long_tailed_counts(classes, largest, 100)


@pytest.mark.parametrize('path', JPEG, ids=stem)
def test_with_jpeg_files_the_training_is_that_with_the_archive(path):
    files, archive = (Config.fromfile(one).to_dict() for one in (path, path.with_stem(path.stem.removesuffix('-jpeg'))))
    for key in ('model', 'optim_wrapper', 'param_scheduler', 'train_cfg', 'default_hooks', 'auto_scale_lr'):
        assert files[key] == archive[key]
    assert files.get('custom_hooks') == archive.get('custom_hooks')
    for config in (files, archive):
        assert config['train_dataloader']['batch_size'] == 128
        assert config['train_dataloader']['persistent_workers']


@pytest.mark.parametrize('classes', [10, 100])
def test_deferred_weights_are_the_same_loss_with_class_weights_from_epoch_160_on(classes):
    def read(loss):
        return Config.fromfile(CONFIGS / 'resnet' / f'resnet32_1xb128-{loss}-200e_cifar{classes}-lt.py').to_dict()

    hooks = [dict(type='mmrecall.DeferredReweightingHook', begin=160)]
    assert read('ce-drw') == read('class-balanced') | dict(custom_hooks=hooks)
    ldam, deferred = read('ldam'), read('ldam-drw')
    loss = deferred['model']['head']['loss']
    # betas of cifar_train.py
    assert (loss.pop('class_weight'), loss.pop('beta')) == ('effective_number', 0.9999)
    assert deferred.pop('custom_hooks') == hooks
    assert deferred == ldam


@pytest.fixture(scope='module')
def archives(tmp_path_factory):
    """The folder with small archives as ``data``."""
    folder = tmp_path_factory.mktemp('cifar')
    cifar_archives.write_both(folder / 'data', images=2)
    return folder


@pytest.mark.parametrize(
    'path', [path for path in ALL if path not in JPEG and path.parent.name not in TRAINED_ELSEWHERE], ids=stem
)
def test_an_epoch_trains_and_is_evaluated(path, archives, tmp_path, monkeypatch):
    monkeypatch.chdir(archives)
    config = small_config(path, batch_size=16)
    config.train_cfg.update(max_epochs=1, val_interval=1)
    config.update(work_dir=str(tmp_path), log_level='WARNING')
    with cifar_archives.taken_for_official(Path('data/cifar10'), Path('data/cifar100')):
        runner = Runner.from_cfg(config)
        runner.train()
        assert 0 <= runner.test()['shot/top1'] <= 100
    assert (tmp_path / 'epoch_1.pth').is_file()
