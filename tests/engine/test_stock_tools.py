import os
import sys
from pathlib import Path

import pytest
from commands import run
from mmengine.config import Config
from mmengine.registry import DATASETS
from small_training import small_camvid

from mmrecall.config_files import read_config
from mmrecall.engine import run_stock_tool
from mmrecall.engine.folder_lock import LOCK, lock_folder, unlock_folder
from mmrecall.engine.stock_tools import _cpu_wrapper_options, _launcher
from mmrecall.upstream import missing, stock_tool


def test_no_config_says_how_the_tool_is_used():
    with pytest.raises(SystemExit, match=r'usage: train.py CONFIG'):
        run_stock_tool('train', ['--resume'])


@pytest.mark.parametrize(
    ('typed', 'advice'),
    [
        ('nowhere.py', '`mmrecall configs list` prints'),
        ('nowhere', '`mmrecall configs list` prints'),
        ('configs/sdn_resnet18w16_1xb32-ce-30e_digits-lt.py', '`mmrecall configs copy sdn/{}` copies'),
        ('sdn_resnet18w16_1xb32-ce-30e_digits-lt', '`mmrecall configs copy sdn/{}` copies'),
        ('sdn_resnet18w16_1xb32-ec-30e_digits-lt', '`mmrecall configs copy sdn/{}` copies'),
    ],
)
def test_a_config_that_is_not_there_leads_to_those_of_the_package(typed, advice):
    advice = advice.format('sdn_resnet18w16_1xb32-ce-30e_digits-lt')
    with pytest.raises(SystemExit, match=f'^{typed}: there is no such config file; {advice}'):
        run_stock_tool('train', [typed, '--resume'])


def test_a_config_without_a_toolbox_is_named(tmp_path):
    config = tmp_path / 'config.py'
    config.write_text("default_scope = 'mmagic'\n")
    with pytest.raises(SystemExit, match="default_scope is 'mmagic'"):
        run_stock_tool('train', ['--resume', str(config)])


@pytest.mark.parametrize('toolbox', ['mmseg', 'mmpretrain', 'mmdet'])
@pytest.mark.parametrize('name', ['train', 'test'])
def test_the_stock_tools_are_found(toolbox, name):
    pytest.importorskip(toolbox)
    assert 'Runner' in stock_tool(toolbox, name).read_text()


def test_without_mmdet_its_own_packages_are_named():
    assert 'install its toolbox: pip install onedl-mmdetection' in missing('mmdet.no_such_module')


def test_a_value_that_looks_like_a_config_is_not_taken_for_it(tmp_path):
    config = tmp_path / 'config.py'
    config.write_text("default_scope = 'mmagic'\n")
    with pytest.raises(SystemExit, match="default_scope is 'mmagic'"):
        run_stock_tool('test', ['--out', 'nowhere.json', str(config)])


@pytest.mark.parametrize('words', [['--launcher', 'slurm'], ['--launcher=slurm']])
def test_the_launcher_is_found_in_either_spelling(words):
    assert _launcher(['c.py', *words, '--resume']) == 'slurm'


def test_a_config_with_a_model_wrapper_keeps_its_options_on_a_cpu():
    assert _cpu_wrapper_options(Config(dict(model_wrapper_cfg=dict(find_unused_parameters=True)))) == [
        'model_wrapper_cfg.device_ids=None'
    ]
    assert 'model_wrapper_cfg.find_unused_parameters=True' in _cpu_wrapper_options(
        Config(dict(find_unused_parameters=True))
    )


@pytest.mark.parametrize('tag', ['!!python/object/apply:os.system', '!!python/name:os.system'])
def test_a_yaml_config_that_would_build_objects_is_refused(tag, tmp_path):
    marker, config = tmp_path / 'marker', tmp_path / 'config.yaml'
    config.write_text(f'default_scope: mmseg\nmodel: {tag} ["touch {marker}"]\n')
    with pytest.raises(SystemExit, match=r'config\.yaml:2: no YAML of plain values: .*os\.system'):
        run_stock_tool('train', [str(config)])
    assert not marker.exists()


def test_a_yaml_config_that_mmengine_has_written_keeps_its_tuples(tmp_path):
    Config(dict(size=(2, 3), names=['a'])).dump(tmp_path / 'config.yaml')
    assert read_config(tmp_path / 'config.yaml').to_dict() == dict(size=(2, 3), names=['a'])


@pytest.fixture
def handed_over(monkeypatch):
    """Hand over to no stock tool; the command lines that it would have got."""
    called = []
    monkeypatch.setattr('mmrecall.engine.stock_tools.stock_tool', lambda toolbox, name: name)
    monkeypatch.setattr('mmrecall.engine.stock_tools.runpy.run_path', lambda path, **options: called.append(sys.argv))
    monkeypatch.setattr(sys, 'argv', ['train.py'])
    # for the whole process
    monkeypatch.setattr('mmrecall.engine.stock_tools.load_weights_only', lambda: None)
    return called


def test_a_path_with_an_equals_sign_is_a_config(handed_over, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = Path('lr=0.1', 'x.py')
    config.parent.mkdir()
    config.write_text("default_scope = 'mmseg'")
    run_stock_tool('train', [str(config), '--cfg-options', 'test_dataloader.dataset.ann_file=x.json'])
    assert handed_over == [['train', 'lr=0.1/x.py', '--cfg-options', 'test_dataloader.dataset.ann_file=x.json']]
    with pytest.raises(SystemExit, match=r'^lr=0\.2/x\.py: there is no such config file'):
        run_stock_tool('train', ['lr=0.2/x.py', '--cfg-options', 'test_dataloader.dataset.ann_file=x.json'])
    with pytest.raises(SystemExit, match='usage: '):
        run_stock_tool('train', ['--cfg-options', 'test_dataloader.dataset.ann_file=x.json'])


@pytest.mark.parametrize(
    'words', [['--cfg-options', 'resume=True', 'train_cgf.max_epochs=1'], ['--cfg', 'train_cgf=1']]
)
def test_an_option_that_nothing_reads_is_refused(words, handed_over, tmp_path):
    config = tmp_path / 'x.py'
    config.write_text("default_scope = 'mmseg'")
    with pytest.raises(SystemExit, match=r'train_cgf.*did you mean train_cfg\b'):
        run_stock_tool('train', [str(config), '--cfg-options', 'work_dir=a', *words])
    assert not handed_over
    run_stock_tool('train', [str(config), '--work-dir', 'train_cgf=1', '--cfg-options', 'train_cfg.max_epochs=1'])
    assert len(handed_over) == 1


def test_a_mistake_in_the_config_is_named_with_file_and_line(handed_over, tmp_path, monkeypatch):
    config = tmp_path / 'x.yaml'
    config.write_text('default_scope: mmseg\nmodel: [1\n')
    with pytest.raises(SystemExit, match=rf'^{config}:3: no YAML'):
        run_stock_tool('train', [str(config)])
    config.write_text('default_scope: mmengine\ntrain_dataloader:\n  type: NoSuchDataset\n')
    monkeypatch.setattr('mmrecall.engine.stock_tools.TOOLBOXES', ('mmengine',))

    def build(path, **options):
        DATASETS.build(dict(type='NoSuchDataset'))

    monkeypatch.setattr('mmrecall.engine.stock_tools.runpy.run_path', build)
    with pytest.raises(ValueError, match=rf'^{config}:3: .*NoSuchDataset is not in the'):
        run_stock_tool('train', [str(config)])


def test_an_error_that_explains_a_missing_file_ends_the_tool_without_a_traceback(handed_over, tmp_path, monkeypatch):
    config = tmp_path / 'x.py'
    config.write_text("default_scope = 'mmseg'\nann_file = 'a.txt'\n")

    def fail(error):
        def tool(path, **options):
            raise error

        monkeypatch.setattr('mmrecall.engine.stock_tools.runpy.run_path', tool)
        run_stock_tool('train', [str(config)])

    with pytest.raises(SystemExit, match=r'^data is missing; unpack it$'):
        fail(FileNotFoundError('data is missing; unpack it'))
    with pytest.raises(SystemExit, match=rf'^{config}:2: data/a\.txt is missing$'):
        fail(FileNotFoundError(2, 'No such file or directory', 'data/a.txt'))
    # which code wanted it is known from the traceback alone
    with pytest.raises(FileNotFoundError, match='No such file'):
        fail(FileNotFoundError(2, 'No such file or directory', 'data/b.txt'))


CONFIG = 'deeplabv3_r18w32-d16_1xb8-recall-ema0.1-1k_camvid-180x240.py'


def test_a_training_that_is_refused_its_work_directory_leaves_the_config_that_is_there(repository, tmp_path):
    pytest.importorskip('mmseg')
    work = tmp_path / 'work'
    work.mkdir()
    (work / CONFIG).write_text("name = 'of the run that trains'\n")
    words = [repository / 'tools' / 'train.py', repository / 'configs' / 'deeplabv3' / CONFIG, '--work-dir', work]
    words += ['--cfg-options', *small_camvid(tmp_path / 'camvid')]
    lock_folder(work)
    try:
        status, output = run('python', *words)
    finally:
        unlock_folder(work)
    assert status == 1
    assert f'{work} is in use by another run, process {os.getpid()} on' in output
    assert (work / CONFIG).read_text() == "name = 'of the run that trains'\n"
    assert run('python', *words)[0] == 0
    assert 'RecallLoss' in (work / CONFIG).read_text()
    assert not (work / LOCK).exists()
