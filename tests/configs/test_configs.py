"""What holds for every config of this repository, whatever its toolbox."""

import ast
import re
from pathlib import Path

import pytest

CONFIGS = Path(__file__).parents[2] / 'configs'
BASES = sorted((CONFIGS / '_base_').rglob('*.py'))
COMPLETE = sorted(set(CONFIGS.rglob('*.py')) - set(BASES))


def name(path):
    """Of a config, as pytest shows it."""
    return path.relative_to(CONFIGS).as_posix()


@pytest.mark.parametrize('path', COMPLETE + BASES, ids=name)
def test_bases_are_files_of_this_repository(path):
    bases = []
    for node in ast.parse(path.read_text(encoding='utf-8')).body:
        if isinstance(node, ast.Assign) and node.targets[0].id == '_base_':
            bases = ast.literal_eval(node.value)
    for base in [bases] if isinstance(bases, str) else bases:
        found = (path.parent / base).resolve()
        assert found.is_file()
        assert found.is_relative_to(CONFIGS)


@pytest.mark.parametrize('path', COMPLETE, ids=name)
def test_a_config_says_how_it_is_run(path):
    ranks = re.search(r'_(\d+)xb\d+[-_]', path.stem)[1]
    command = 'python tools/train.py {0}' if ranks == '1' else 'bash tools/dist_train.sh {0} {1}'
    assert command.format(f'configs/{name(path)}', ranks) in ast.get_docstring(
        ast.parse(path.read_text(encoding='utf-8'))
    )


@pytest.mark.parametrize('folder', sorted({path.parent for path in COMPLETE}), ids=name)
def test_a_folder_has_a_readme_whose_links_and_commands_work(folder):
    text = (folder / 'README.md').read_text(encoding='utf-8')
    commands = re.findall(r'^    \w+ tools/\w+\.\w+ (\S+)', text, re.M)
    links = [link.partition('#')[0] for link in re.findall(r'\]\(([^)]+)\)', text) if '://' not in link]
    assert any(folder / Path(command).name in COMPLETE for command in commands)
    missing = [path for path in commands if not (CONFIGS.parent / path).is_file()]
    assert missing + [link for link in links if link and not (folder / link).is_file()] == []
