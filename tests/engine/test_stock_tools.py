import pytest

from mmrecall.engine import init_cpu_ranks, run_stock_tool
from mmrecall.engine.stock_tools import _add_options, _launcher, stock_tool


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


def test_options_join_those_of_the_command_line():
    arguments = ['c.py', '--cfg-options', 'a=1', '--launcher', 'pytorch']
    _add_options(arguments, 'b=2')
    assert arguments == ['c.py', '--cfg-options', 'b=2', 'a=1', '--launcher', 'pytorch']
    arguments = ['c.py', '--launcher=slurm']
    _add_options(arguments, 'b=2')
    assert arguments == ['c.py', '--launcher=slurm', '--cfg-options', 'b=2']
    assert _launcher(arguments) == 'slurm'


def test_cpu_ranks_without_a_launcher_environment_are_refused(monkeypatch):
    monkeypatch.setattr('torch.cuda.is_available', lambda: False)
    for name in ('RANK', 'WORLD_SIZE', 'MASTER_ADDR', 'MASTER_PORT'):
        monkeypatch.delenv(name, raising=False)
    assert init_cpu_ranks('none') is False
    with pytest.raises(RuntimeError, match=r'RANK, WORLD_SIZE, MASTER_ADDR, MASTER_PORT not set.*dist_train'):
        init_cpu_ranks('pytorch')
