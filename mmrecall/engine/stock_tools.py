"""The commands `train` and `test`, which run the stock tools of the config's toolbox."""

import argparse
import os
import runpy
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import NoReturn

from mmengine.config import Config
from mmengine.runner import FlexibleRunner, Runner

from mmrecall.config_files import check_option_names, missing_config, naming_mistakes, read_config
from mmrecall.engine.hooks.checkpoint import AtomicCheckpointHook
from mmrecall.engine.hooks.class_order import checking_class_order
from mmrecall.engine.ranks import init_cpu_ranks, slurm_rendezvous
from mmrecall.engine.weights_only import TRUST, load_weights_only
from mmrecall.upstream import TOOLBOXES, stock_tool

CONFIG_SUFFIXES = ('.py', '.yml', '.yaml', '.json')


def run_stock_tool(name: str, arguments: Sequence[str], description: str = '', program: str | None = None) -> None:
    """Run the tool ``name`` of the toolbox that the config's ``default_scope`` names, with every argument unchanged.

    Checkpoints are read by `load_weights_only`, unless ``--trust-checkpoints`` is an argument, which is this command's.
    Without a GPU, the ranks of a launcher get a gloo process group and a model wrapper for the CPU. A training that is
    refused its work directory leaves the config of the other run there. A checkpoint that was trained on the classes of
    the data in another order is refused by `mmrecall.engine.hooks.class_order.ClassOrderHook`.

    Args:
        name: ``'train'`` or ``'test'``.
        arguments: the command line without the program; the first config file in it is the config.
        description: printed below the usage for ``--help`` without a config; with one, the stock tool prints its help.
        program: the command that was typed, for the usage; ``NAME.py`` by default.

    Raises:
        SystemExit: no config among the arguments, one with a mistake, or one without a toolbox's ``default_scope``; an
            option of ``--cfg-options`` that nothing reads; a toolbox that is not installed, or is without its tools; a
            missing file of the data or checkpoint; or after ``--help``.
        ValueError: the config has a type that no registry has.
    """
    path = _config_path(arguments)
    if path is None:
        _print_usage(name, program or f'{name}.py', arguments, description)
    try:
        config = read_config(path)
        check_option_names(config, _option_names(arguments))
        toolbox = toolbox_of(config)
    except ValueError as error:
        raise SystemExit(str(error)) from error
    try:
        tool = stock_tool(toolbox, name)
    except (ImportError, FileNotFoundError) as error:
        raise SystemExit(str(error)) from error
    if TRUST not in arguments:
        load_weights_only()
    arguments = [word for word in arguments if word != TRUST]
    launcher = _launcher(arguments)
    if init_cpu_ranks(launcher):
        arguments += ['--cfg-options', *_cpu_wrapper_options(config)]
    elif launcher == 'slurm':
        os.environ.update(slurm_rendezvous(os.environ))
    sys.argv = [str(tool), *arguments]
    locking = _locking_before_config() if name == 'train' else nullcontext()
    try:
        with naming_mistakes(config), checking_class_order(), locking:
            runpy.run_path(str(tool), run_name='__main__')
    except FileNotFoundError as error:
        # The number is that of the operating system, whose message says nothing of what asked for the file.
        if error.errno is not None:
            raise
        raise SystemExit(str(error)) from error


def toolbox_of(config: Config) -> str:
    """Return the toolbox of a config, by its ``default_scope``.

    Raises:
        ValueError: it is none of the toolboxes.
    """
    scope = config.get('default_scope')
    if scope not in TOOLBOXES:
        names = ', '.join(map(repr, TOOLBOXES))
        raise ValueError(f'{config.filename}: default_scope is {scope!r}; it must be one of {names}')
    return scope


@contextmanager
def _locking_before_config() -> Iterator[None]:
    """Take the lock of a work directory, in a block that trains, before mmengine writes the config there.

    Its runners write it when they are built, before any hook is called.
    """
    writing = {kind: kind.dump_config for kind in (Runner, FlexibleRunner)}

    def lock_and_write(runner: Runner | FlexibleRunner) -> None:
        for hook in runner.hooks:
            if isinstance(hook, AtomicCheckpointHook):
                hook.lock_folders(runner)
        writing[Runner if isinstance(runner, Runner) else FlexibleRunner](runner)

    for kind in writing:
        kind.dump_config = lock_and_write
    try:
        yield
    finally:
        for kind, write in writing.items():
            kind.dump_config = write


def _config_path(arguments: Sequence[str]) -> str | None:
    """Return the config among the arguments, or None if no argument looks like one."""
    candidates = [word for word in arguments if word.endswith(CONFIG_SUFFIXES)]
    if not candidates:
        # The name of a config may have been typed for its path.
        candidates = [word for word in arguments[:1] if not word.startswith('-')]
    for candidate in candidates:
        if Path(candidate).is_file():
            return candidate
    # An option of --cfg-options may end like a config.
    missing = [word for word in candidates if '=' not in word or word == arguments[0]]
    if missing:
        raise SystemExit(missing_config(missing[0]))
    return None


def _print_usage(name: str, program: str, arguments: Sequence[str], description: str) -> NoReturn:
    """Exit with the usage: as an answer if the arguments ask for help, as an error otherwise."""
    usage = (
        f"usage: {program} CONFIG [arguments of the {name} tool of the config's toolbox]\n"
        f'       {program} CONFIG --help lists them\n'
        f'       {program} CONFIG {TRUST}: checkpoints may hold any object of Python, and run code when they are loaded'
        '\n       `mmrecall configs list` prints the configs of this package, `mmrecall configs copy NAME` copies one'
    )
    if not {'-h', '--help'} & set(arguments):
        raise SystemExit(usage)
    print(f'{usage}\n\n{description}'.rstrip())
    raise SystemExit(0)


def _launcher(arguments: Sequence[str]) -> str:
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument('--launcher', default='none')
    return parser.parse_known_args(arguments)[0].launcher


def _option_names(arguments: Sequence[str]) -> list[str]:
    # the stock tools, too, take the beginning of an option for it
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument('--cfg-options', nargs='+', action='extend', default=[])
    return [option.partition('=')[0] for option in parser.parse_known_args(arguments)[0].cfg_options]


def _cpu_wrapper_options(config: Config) -> list[str]:
    """Return options for mmengine's wrapper without ``device_ids``, which DistributedDataParallel refuses on a CPU."""
    options = ['model_wrapper_cfg.device_ids=None']
    # An option creates the wrapper's config, which replaces all of mmengine's defaults.
    if config.get('model_wrapper_cfg') is None:
        options.append('model_wrapper_cfg.broadcast_buffers=False')
        options.append(f'model_wrapper_cfg.find_unused_parameters={config.get("find_unused_parameters", False)}')
    return options
