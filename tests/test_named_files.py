"""The files and commands that texts name exist where only the wheel is installed."""

import ast
import re
from pathlib import Path

from mmrecall_command import COMMANDS

ROOT = Path(__file__).parents[1]
IN_THE_WHEEL = ('configs', 'tools')
IN_A_CLONE_ALONE = ('.ci', 'docs', 'requirements', 'tests')
# A path is relative to the repository: part of no longer path, nor of an address.
PATH = re.compile(rf'(?<![\w/.-])((?:{"|".join(map(re.escape, IN_THE_WHEEL + IN_A_CLONE_ALONE))})/[\w.*{{}},/-]*\w)')
COMMAND = re.compile(r'(?:`|: |-m |--ntasks=\d )mmrecall ([\w-]+)')


def literals(path):
    """The texts in the code of a module: docstrings, help, messages and the constant parts of f-strings."""
    tree = ast.parse(path.read_text(encoding='utf-8'))
    return [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)]


def texts():
    """The texts that a user of the wheel may read, each with its file."""
    modules = [path for path in (ROOT / 'mmrecall').rglob('*.py') if '.mim' not in path.parts]
    for path in [ROOT / 'mmrecall_command.py', *modules]:
        for text in literals(path):
            yield path.relative_to(ROOT), text
    for folder in IN_THE_WHEEL:
        for path in (ROOT / folder).rglob('*'):
            if path.suffix in ('.py', '.sh'):
                yield path.relative_to(ROOT), path.read_text(encoding='utf-8')


def exists(name):
    if name.partition('/')[0] in IN_A_CLONE_ALONE:
        return False
    return any(ROOT.glob(re.sub(r'\{[^}]*\}', '*', name)))


def test_every_file_that_a_text_names_is_in_the_wheel():
    named = {(file, name) for file, text in texts() for name in PATH.findall(text)}
    assert len(named) > 100
    existing = {name: exists(name) for name in {name for _, name in named}}
    assert sorted((str(file), name) for file, name in named if not existing[name]) == []


def test_every_command_that_a_text_names_is_one():
    named = {(str(file), name) for file, text in texts() for name in COMMAND.findall(text)}
    assert {'make-long-tail', 'synthia-lists', 'train'} <= {name for _, name in named}
    assert sorted((file, name) for file, name in named if name not in COMMANDS) == []
