import sys
from pathlib import Path

import pytest
from mmengine.config import Config
from mmengine.registry import DATASETS

from mmrecall.engine import run_stock_tool
from mmrecall.engine.stock_tools import _cpu_wrapper_options, _launcher
from mmrecall.upstream import missing, read_config, stock_tool


def test_no_config_says_how_the_tool_is_used():
    with pytest.raises(SystemExit, match=r'usage: train.py CONFIG'):
        run_stock_tool('train', ['--resume'])


def test_a_config_that_is_not_there_is_named():
    with pytest.raises(SystemExit, match=r'nowhere.py: there is no such config'):
        run_stock_tool('train', ['nowhere.py'])


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
    with pytest.raises(SystemExit, match=r'config\.yaml is no YAML of plain values(?s:.*)line 2'):
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
    run_stock_tool('train', [str(config), '--cfg-options', 'data.ann_file=x.json'])
    assert handed_over == [['train', 'lr=0.1/x.py', '--cfg-options', 'data.ann_file=x.json']]
    with pytest.raises(SystemExit, match=r'^lr=0\.2/x\.py: there is no such config file'):
        run_stock_tool('train', ['lr=0.2/x.py', '--cfg-options', 'data.ann_file=x.json'])
    with pytest.raises(SystemExit, match='usage: '):
        run_stock_tool('train', ['--cfg-options', 'data.ann_file=x.json'])


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
