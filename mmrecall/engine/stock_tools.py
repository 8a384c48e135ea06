"""Hands over to the train and test tools of the toolbox that a config is for, every flag unchanged."""

import importlib
import os
import runpy
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from mmengine.config import Config

from mmrecall.engine.ranks import init_cpu_ranks, slurm_rendezvous
from mmrecall.upstream import require

TOOLBOXES = ('mmseg', 'mmpretrain')
CONFIG_SUFFIXES = ('.py', '.yml', '.yaml', '.json')


def run_stock_tool(name: str, arguments: Sequence[str], description: str = '') -> None:
    """Run ``tools/NAME.py`` of the toolbox that the config's ``default_scope`` names.

    Without a GPU, ranks of a launcher get a gloo process group and a model wrapper for the CPU; everything else is
    the stock tool's.

    Args:
        name: ``'train'`` or ``'test'``.
        arguments: the command line without the program; the first config file in it is the config.
        description: printed below the usage for ``--help`` without a config; with one, the stock tool prints its own.

    Raises:
        SystemExit: no config among the arguments, or one without a toolbox's ``default_scope``; or after ``--help``.
        ImportError: the toolbox is not installed.
        FileNotFoundError: it is, but without its tools.
    """
    path = _config_path(arguments)
    if path is None:
        _explain(name, arguments, description)
    config = Config.fromfile(path)
    scope = config.get('default_scope')
    if scope not in TOOLBOXES:
        raise SystemExit(f'{path}: default_scope is {scope!r}; it must be one of {", ".join(map(repr, TOOLBOXES))}')
    tool = stock_tool(scope, name)
    arguments = list(arguments)
    launcher = _launcher(arguments)
    if init_cpu_ranks(launcher):
        arguments += ['--cfg-options', *_cpu_wrapper_options(config)]
    elif launcher == 'slurm':
        os.environ.update(slurm_rendezvous(os.environ))
    sys.argv = [str(tool), *arguments]
    runpy.run_path(str(tool), run_name='__main__')


def stock_tool(toolbox: str, name: str) -> Path:
    """Path of a stock tool: in the wheel's ``.mim`` folder, or beside the package in a source checkout."""
    require(toolbox)
    package = Path(importlib.import_module(toolbox).__file__ or '').parent
    places = [package / '.mim' / 'tools' / f'{name}.py', package.parent / 'tools' / f'{name}.py']
    for place in places:
        if place.is_file():
            return place
    raise FileNotFoundError(f'{toolbox} has no tools/{name}.py; looked for {" and ".join(map(str, places))}')


def _config_path(arguments: Sequence[str]) -> str | None:
    """The config among the arguments; None if nothing looks like one."""
    candidates = [word for word in arguments if word.endswith(CONFIG_SUFFIXES) and '=' not in word]
    for candidate in candidates:
        if Path(candidate).is_file():
            return candidate
    if candidates:
        raise SystemExit(f'{candidates[0]}: there is no such config file')
    return None


def _explain(name: str, arguments: Sequence[str], description: str) -> NoReturn:
    """End with the usage: as an answer if help is asked for, else as an error."""
    usage = (
        f"usage: {name}.py CONFIG [arguments of the {name} tool of the config's toolbox]\n"
        f'       {name}.py CONFIG --help lists them'
    )
    if not {'-h', '--help'} & set(arguments):
        raise SystemExit(usage)
    print(f'{usage}\n\n{description}'.rstrip())
    raise SystemExit(0)


def _launcher(arguments: Sequence[str]) -> str:
    for position, argument in enumerate(arguments):
        if argument == '--launcher' and position + 1 < len(arguments):
            return arguments[position + 1]
        if argument.startswith('--launcher='):
            return argument.split('=', 1)[1]
    return 'none'


def _cpu_wrapper_options(config: Config) -> list[str]:
    """mmengine's wrapper without ``device_ids``, which DistributedDataParallel refuses for modules on a CPU."""
    options = ['model_wrapper_cfg.device_ids=None']
    if config.get('model_wrapper_cfg') is None:  # then what mmengine does by default
        options.append('model_wrapper_cfg.broadcast_buffers=False')
        options.append(f'model_wrapper_cfg.find_unused_parameters={config.get("find_unused_parameters", False)}')
    return options
