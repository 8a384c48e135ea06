"""The command mmrecall, as a user calls it."""

import argparse
from contextlib import redirect_stdout
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml
from commands import BEYOND_TORCH, check_example, python, run
from small_training import small_camvid

import mmrecall
from mmrecall import installed_files
from mmrecall.cli.command_line import typed_command
from mmrecall.installed_files import installed_folder
from mmrecall_command import COMMANDS, main

ROOT = Path(__file__).parents[1]
CONFIG = 'deeplabv3/deeplabv3_r18w32-d16_1xb8-recall-1k_camvid-180x240'
CALLS = """
import mmrecall_command
for words in {calls!r}:
    sys.argv[1:] = words
    try:
        mmrecall_command.main()
    except SystemExit as ended:
        print(ended.code)
"""


@pytest.fixture
def command(monkeypatch, capsys):
    """Return a function that calls the command in this process, and returns its exit status or message and output."""

    def call(*words):
        monkeypatch.setattr('sys.argv', ['mmrecall', *map(str, words)])
        try:
            main()
            status = 0
        except SystemExit as ended:
            status = ended.code or 0
        captured = capsys.readouterr()
        return status, captured.out + captured.err

    return call


def test_the_list_of_commands_waits_for_nothing_but_python():
    output = python(CALLS.format(calls=[['--help']]), *BEYOND_TORCH, 'torch', 'numpy', 'mmrecall')
    assert [name for name in COMMANDS if f'\n    {name}' not in output] == []


def test_a_command_without_its_toolbox_says_what_to_install_and_the_others_work():
    needy = [name for name, command in COMMANDS.items() if command.needs]
    output = python(CALLS.format(calls=[[name, '--help'] for name in needy]), *BEYOND_TORCH)
    assert [line.partition(' cannot be imported')[0] for line in output.splitlines()] == [
        f'mmrecall {name}: {COMMANDS[name].needs}' for name in needy
    ]
    assert output.count('pip install "mmrecall[onedl]"') == len(needy)
    calls = [['--version'], ['tau-normalize', '--help'], ['configs', 'list', 'segnext']]
    output = python(CALLS.format(calls=calls), *BEYOND_TORCH)
    assert output.startswith(f'mmrecall {mmrecall.__version__}\n')
    assert 'mmengine cannot be imported' in output
    assert '\nsegnext/' in output


@pytest.mark.parametrize('name', COMMANDS)
def test_help_of_a_command_has_an_example_and_explains_every_option(name, command, monkeypatch):
    pytest.importorskip('mmseg')
    pytest.importorskip('mmpretrain')
    parsers, parse_args = [], argparse.ArgumentParser.parse_args

    def remember(parser, *arguments):
        parsers.append(parser)
        return parse_args(parser, *arguments)

    monkeypatch.setattr('argparse.ArgumentParser.parse_args', remember)
    status, output = command(name, '--help')
    assert status == 0
    assert output.startswith(f'usage: mmrecall {name} ')
    check_example(output, f'mmrecall {name} ')
    assert [action.dest for parser in parsers for action in parser._actions if not action.help] == []


def test_the_version_is_shown_with_those_of_the_toolboxes(command):
    pytest.importorskip('mmengine')
    status, output = command('--version')
    assert status == 0
    lines = output.splitlines()
    assert lines[0] == f'mmrecall {mmrecall.__version__}'
    assert f'torch {version("torch")}' in lines
    assert any(line.split()[0] in ('mmengine', 'onedl-mmengine') for line in lines)
    assert 'cannot be imported' not in output


def test_an_unknown_command_and_none_are_errors_of_usage(command):
    status, output = command('trian')
    assert (status, "invalid choice: 'trian'" in output) == (2, True)
    status, output = command()
    assert (status, 'got no command' in output) == (2, True)


@pytest.mark.parametrize(
    ('words', 'completed'),
    [
        (['compare'], ['compare-runs']),
        (['configs', ''], ['list', 'show', 'copy']),
        (['export', '--c'], ['--config']),
        (['make-long-tail', 'a.py', '--ra'], ['--ratio']),
        # those of train-table
        (['train', '--se'], []),
        # files, by readline
        (['export', ''], []),
    ],
)
def test_bash_completes_commands_actions_and_options(words, completed, script):
    complete = f'source {script}; COMP_WORDS=(mmrecall "$@"); COMP_CWORD=$#; _mmrecall; echo "${{COMPREPLY[@]}}"'
    assert run('bash', '-c', complete, 'bash', *words) == (0, ' '.join(completed) + '\n')


@pytest.fixture(scope='module')
def script(tmp_path_factory):
    """The script that the command prints."""
    pytest.importorskip('mmengine')
    path = tmp_path_factory.mktemp('completion') / 'completion.bash'
    with path.open('w') as file, redirect_stdout(file), pytest.MonkeyPatch.context() as patch:
        patch.setattr('sys.argv', ['mmrecall', 'completion'])
        main()
    return path


def test_nothing_but_the_script_is_printed(script):
    # the forks print a line when they are imported
    assert script.read_text().startswith('_mmrecall() {\n')


def test_the_package_can_be_run_as_the_command():
    status, output = run('python', '-m', 'mmrecall', 'configs', 'list', CONFIG, cwd=ROOT)
    assert status == 0, output
    assert output.splitlines()[-1] == CONFIG


@pytest.mark.parametrize(
    ('program', 'typed'),
    [
        ('/opt/venv/bin/mmrecall', "mmrecall export 'a b.pth'"),
        ('/opt/mmrecall/__main__.py', "python -m mmrecall export 'a b.pth'"),
        ('tools/export.py', "python tools/export.py export 'a b.pth'"),
    ],
)
def test_a_command_line_is_recorded_as_it_can_be_typed_again(program, typed, monkeypatch):
    monkeypatch.setattr('sys.argv', [program, 'export', 'a b.pth'])
    assert typed_command() == typed


def test_all_configs_of_the_metafiles_are_listed_and_no_bases(command):
    files = [model['Config'] for path in ROOT.glob('configs/*/metafile.yml') for model in _models(path)]
    status, output = command('configs', 'list')
    assert status == 0
    names = output.splitlines()
    assert len(files) > 100
    assert sorted(f'configs/{name}.py' for name in names) == sorted(files)


def _models(path):
    return yaml.safe_load(path.read_text())['Models']


def test_a_pattern_chooses_names(command):
    _, every = command('configs', 'list')
    expected = [name for name in every.splitlines() if 'oltr' in name and 'tiny' in name.partition('oltr')[2]]
    assert expected
    assert command('configs', 'list', 'oltr*tiny')[1].splitlines() == expected
    assert 'got the pattern nothing' in command('configs', 'list', 'nothing')[0]


@pytest.mark.parametrize('name', [CONFIG, f'configs/{CONFIG}.py', CONFIG.partition('/')[2]])
def test_a_config_is_shown_with_the_settings_of_its_bases(name, command):
    config = pytest.importorskip('mmengine.config').Config
    status, output = command('configs', 'show', name)
    assert status == 0
    assert config.fromstring(output, '.py').to_dict() == config.fromfile(ROOT / f'configs/{CONFIG}.py').to_dict()


# a config on its _base_ files, one on another config, one on a config of another folder, and one on several
COPIED = (
    CONFIG,
    'deeplabv3/deeplabv3_r18w32-d16_1xb8-recall-ema0.1-1k_camvid-180x240',
    'oltr/oltr_resnet18w16_1xb128-10e_cifar10-lt',
    'decoupling/crt_resnet18w16_1xb128-10e_tiny-imagenet-lt-32x32',
)


@pytest.mark.parametrize('name', COPIED)
def test_a_copied_config_has_the_settings_of_the_original(name, command, tmp_path, monkeypatch):
    config = pytest.importorskip('mmengine.config').Config
    monkeypatch.chdir(tmp_path)
    status, output = command('configs', 'copy', name)
    assert status == 0, output
    assert f'mmrecall train configs/{name}.py' in output
    copied, original = config.fromfile(f'configs/{name}.py'), config.fromfile(ROOT / f'configs/{name}.py')
    assert copied.to_dict() == original.to_dict()
    # the text of a config begins every file that was read with its path
    read = {Path(line) for line in original.text.splitlines() if line.startswith(f'{ROOT}/configs/')}
    copies = {ROOT / path for path in Path().rglob('*') if path.is_file()}
    assert copies == read
    assert len(copies) > 1


def test_a_copy_overwrites_nothing_and_shares_the_bases_that_are_there(command, tmp_path):
    first, second = COPIED[1], CONFIG.replace('recall', 'ce')
    for name in (first, second):
        assert command('configs', 'copy', name, '--to', tmp_path)[0] == 0
    before = {path: path.read_bytes() for path in tmp_path.rglob('*.py')}
    status, _ = command('configs', 'copy', first, '--to', tmp_path)
    assert f'{tmp_path / first}.py exists; remove it, or set another --to' in status
    base = tmp_path / f'{CONFIG}.py'
    (tmp_path / f'{first}.py').unlink()
    base.write_text('changed = True\n')
    status, _ = command('configs', 'copy', first, '--to', tmp_path)
    assert f'{base} exists' in status
    assert not (tmp_path / f'{first}.py').exists()
    assert {path: path.read_bytes() for path in tmp_path.rglob('*.py')} == {
        path: b'changed = True\n' if path == base else text
        for path, text in before.items()
        if path.stem != Path(first).name
    }


def test_a_name_that_is_none_is_refused_with_those_like_it(command, tmp_path):
    status, _ = command('configs', 'copy', CONFIG.replace('recall', 'recal'), '--to', tmp_path)
    assert CONFIG in status.partition('similar names are ')[2]
    assert not list(tmp_path.iterdir())


def test_a_copied_config_trains_and_is_tested(command, tmp_path):
    pytest.importorskip('mmseg')
    assert command('configs', 'copy', CONFIG, '--to', tmp_path)[0] == 0
    words = ['--work-dir', tmp_path / 'work', '--cfg-options', *small_camvid(tmp_path / 'camvid')]
    config = tmp_path / f'{CONFIG}.py'
    status, output = run('python', ROOT / 'mmrecall_command.py', 'train', config, *words)
    assert status == 0, output[-3000:]
    assert 'Iter(val)' in output
    checkpoint = tmp_path / 'work' / 'iter_2.pth'
    status, output = run('python', ROOT / 'mmrecall_command.py', 'test', config, checkpoint, *words)
    assert status == 0, output[-3000:]
    assert 'Iter(test)' in output


def test_configs_and_tools_are_those_of_a_wheel_or_else_of_the_clone(tmp_path, monkeypatch):
    assert installed_folder('configs') == ROOT / 'configs'
    package = tmp_path / 'site-packages' / 'mmrecall'
    monkeypatch.setattr(installed_files, '_PACKAGE', package)
    # those of another package
    (package.parent / 'tools').mkdir(parents=True)
    with pytest.raises(FileNotFoundError, match=rf'without its tools: got neither {package}/\.mim/tools nor'):
        installed_folder('tools')
    (package / '.mim' / 'tools').mkdir(parents=True)
    (package / '.mim' / 'model-index.yml').touch()
    assert installed_folder('tools') == package / '.mim' / 'tools'
