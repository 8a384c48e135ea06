import pytest
from mmengine.config import Config

from mmrecall.engine import run_stock_tool
from mmrecall.engine.stock_tools import _cpu_wrapper_options, _launcher
from mmrecall.upstream import read_config, stock_tool


def test_no_config_says_how_the_tool_is_used():
    with pytest.raises(SystemExit, match=r'usage: train.py CONFIG'):
        run_stock_tool('train', ['--resume'])


def test_a_config_that_is_not_there_is_named():
    with pytest.raises(SystemExit, match=r'nowhere.py: there is no such config'):
        run_stock_tool('train', ['nowhere.py'])


def test_a_config_without_a_toolbox_is_named(tmp_path):
    config = tmp_path / 'config.py'
    config.write_text("default_scope = 'mmdet'\n")
    with pytest.raises(SystemExit, match="default_scope is 'mmdet'"):
        run_stock_tool('train', ['--resume', str(config)])


@pytest.mark.parametrize('toolbox', ['mmseg', 'mmpretrain'])
@pytest.mark.parametrize('name', ['train', 'test'])
def test_the_stock_tools_are_found(toolbox, name):
    pytest.importorskip(toolbox)
    assert 'Runner' in stock_tool(toolbox, name).read_text()


def test_a_value_that_looks_like_a_config_is_not_taken_for_it(tmp_path):
    config = tmp_path / 'config.py'
    config.write_text("default_scope = 'mmdet'\n")
    with pytest.raises(SystemExit, match="default_scope is 'mmdet'"):
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
    with pytest.raises(ValueError, match=r'config\.yaml is no YAML of plain values(?s:.*)line 2'):
        run_stock_tool('train', [str(config)])
    assert not marker.exists()


def test_a_yaml_config_that_mmengine_has_written_keeps_its_tuples(tmp_path):
    Config(dict(size=(2, 3), names=['a'])).dump(tmp_path / 'config.yaml')
    assert read_config(tmp_path / 'config.yaml').to_dict() == dict(size=(2, 3), names=['a'])
