"""List the configs of mmrecall, show one with all of its settings, or copy one with its bases to train from.

A NAME is one that `list` prints; its last part is enough.

Example: mmrecall configs copy deeplabv3_r18w32-d16_1xb8-recall-1k_camvid-180x240
"""

import argparse
import ast
import shutil
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path

from mmrecall.installed_files import config_names, installed_folder, similar_configs

_BASES = '_base_'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    actions = parser.add_subparsers(
        title='actions',
        required=True,
        metavar='ACTION',
        dest='action',
        help='action; mmrecall configs ACTION --help lists its arguments',
    )
    action = actions.add_parser('list', help='print the names of the configs')
    action.add_argument(
        'pattern', metavar='PATTERN', nargs='?', default='', help='a part of the names, in which * is any text'
    )
    action.set_defaults(act=_list)
    action = actions.add_parser('show', help='print a config with the settings of its bases')
    action.add_argument('name', metavar='NAME', help='name of the config')
    action.set_defaults(act=_show)
    action = actions.add_parser('copy', help='copy a config with its bases; nothing is overwritten')
    action.add_argument('name', metavar='NAME', help='name of the config')
    action.add_argument(
        '--to', metavar='DIR', type=Path, default=Path('configs'), help='folder to copy to (default: %(default)s)'
    )
    action.set_defaults(act=_copy)


def run(arguments: argparse.Namespace) -> None:
    """List, show or copy configs, as the arguments say."""
    try:
        arguments.act(installed_folder('configs'), arguments)
    except (ImportError, OSError, ValueError) as error:
        raise SystemExit(str(error)) from error


def _list(folder: Path, arguments: argparse.Namespace) -> None:
    names = [name for name in config_names() if fnmatchcase(name, f'*{arguments.pattern}*')]
    if not names:
        raise ValueError(f'got the pattern {arguments.pattern}; expected a part of a name: mmrecall configs list')
    print('\n'.join(names))


def _show(folder: Path, arguments: argparse.Namespace) -> None:
    from mmrecall.config_files import read_config

    print(read_config(_find(folder, arguments.name)).pretty_text.rstrip())


def _copy(folder: Path, arguments: argparse.Namespace) -> None:
    """Copy a config and its bases to the same places below another folder, so that the bases are found there."""
    config, to = _find(folder, arguments.name), arguments.to
    files = dict.fromkeys(path.relative_to(folder) for path in _with_bases(config))
    there = [str(to / file) for file in files if (to / file).exists() and not _same(folder / file, to / file)]
    copied = to / config.relative_to(folder)
    if copied.exists():
        there = [str(copied)]
    if there:
        raise FileExistsError(f'{", ".join(there)} exists; remove it, or set another --to')
    for file in files:
        (to / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(folder / file, to / file)
    print(f'{copied} and {len(files) - 1} bases\nTo train: mmrecall train {copied}')


def _same(one: Path, other: Path) -> bool:
    return other.is_file() and one.read_bytes() == other.read_bytes()


def _find(folder: Path, name: str) -> Path:
    """Return the path of a config.

    Raises:
        ValueError: no config has this name, or several have.
    """
    names, wanted = config_names(), name.removeprefix('configs/').removesuffix('.py')
    found = [one for one in names if one == wanted or one.endswith(f'/{wanted}')]
    if len(found) == 1:
        return folder / f'{found[0]}.py'
    if found:
        raise ValueError(f'got {name}, the name of several configs; expected one of {", ".join(found)}')
    similar = ', '.join(similar_configs(name))
    hint = f'; similar names are {similar}' if similar else ''
    raise ValueError(f'got {name}; expected a name that `mmrecall configs list` prints{hint}')


def _with_bases(config: Path) -> Iterator[Path]:
    """Yield a config and all files that it is based on."""
    yield config
    for statement in ast.parse(config.read_text(encoding='utf-8')).body:
        if isinstance(statement, ast.Assign) and getattr(statement.targets[0], 'id', None) == _BASES:
            bases = ast.literal_eval(statement.value)
            for base in [bases] if isinstance(bases, str) else bases:
                yield from _with_bases((config.parent / base).resolve())
