"""What every tool says of itself."""

import argparse
import runpy
from pathlib import Path

import pytest
from commands import check_example, run

ROOT = Path(__file__).parents[2]
# what Slurm runs; what other scripts source
NO_COMMANDS = {'slurm_job.sh', 'slurm_arguments.sh', 'help.sh'}
TOOLS, SCRIPTS = (
    sorted(str(path.relative_to(ROOT)) for path in ROOT.glob(f'tools/**/*{suffix}') if path.name not in NO_COMMANDS)
    for suffix in ('.py', '.sh')
)


@pytest.mark.parametrize('tool', TOOLS)
def test_help_has_an_example_and_explains_every_option(tool, monkeypatch, capsys):
    pytest.importorskip('mmseg')
    pytest.importorskip('mmpretrain')
    parsers, parse_args = [], argparse.ArgumentParser.parse_args

    def remember(parser, *arguments):
        parsers.append(parser)
        return parse_args(parser, *arguments)

    monkeypatch.setattr('argparse.ArgumentParser.parse_args', remember)
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr('sys.argv', [tool, '--help'])
    monkeypatch.syspath_prepend((ROOT / tool).parent)
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(ROOT / tool), run_name='__main__')
    assert not ended.value.code
    check_example(capsys.readouterr().out, f'python {tool} ')
    assert [action.dest for parser in parsers for action in parser._actions if not action.help] == []


@pytest.mark.parametrize('script', SCRIPTS)
def test_help_of_a_script_has_an_example(script):
    for flag in ('-h', '--help'):
        status, output = run('bash', ROOT / script, flag)
        assert status == 0
        check_example(output, f'{script} ')


def test_help_with_a_config_is_the_stock_tools():
    pytest.importorskip('mmseg')
    config = 'configs/deeplabv3/deeplabv3_r18w32-d16_1xb8-recall-1k_camvid-180x240.py'
    status, output = run('python', ROOT / 'tools' / 'train.py', ROOT / config, '--help')
    assert status == 0
    assert '--work-dir' in output
