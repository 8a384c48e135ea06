"""The runs of a table: the config, the seed and the work dir of each."""

import argparse
import shlex
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from mmengine.config import Config, DictAction

from mmrecall.config_files import read_config
from mmrecall.engine.stock_tools import toolbox_of
from mmrecall.engine.training_table.work_dirs import check_owner
from mmrecall.exclusive import only_writer
from mmrecall.io import atomic_write

_LIST = 'runs.tsv'
_COLUMNS = ('task', 'config', 'seed', 'work_dir', 'command')
_SEEDS = range(2**32)


class TableRun(NamedTuple):
    """A config with a seed, and the folder where it is trained."""

    config: Path
    seed: int
    work_dir: Path
    settings: Config
    """The config with all options but the seed."""
    command: list[str]
    """The command line, which can be followed by ``--resume``."""

    @property
    def name(self) -> str:
        """The name of the config and the seed."""
        return f'{self.config.stem} seed {self.seed}'

    @property
    def log(self) -> Path:
        """The file of its output."""
        return self.work_dir / 'train_table.log'


def plan_runs(
    configs: Sequence[Path], seeds: Sequence[int], root: Path, options: Sequence[str], train_py: Path
) -> list[TableRun]:
    """Return the runs of every config with every seed, in ``ROOT/NAME_OF_THE_CONFIG/seed_SEED``; nothing is written.

    Args:
        configs: files with different names.
        seeds: different numbers.
        root: folder of all runs.
        options: words after ``--cfg-options``, ``['optim_wrapper.optimizer.lr=0.1']``.
        train_py: path of this package's ``tools/train.py``.

    Raises:
        FileNotFoundError: a config is missing.
        ImportError: a module that a config imports is missing.
        ValueError: a config, a name of a config or a seed that is there twice; a config with a mistake, without a
            toolbox, or with another folder for its checkpoints; an option that nothing reads; or the work dir of a run
            has checkpoints of another training.
    """
    _check_different(configs, seeds)
    settings = _parsed(options)
    runs = []
    for path in configs:
        config = read_config(path, settings)
        toolbox_of(config)
        _check_checkpoints_stay(config)
        for seed in seeds:
            work_dir = root.resolve() / path.stem / f'seed_{seed}'
            check_owner(work_dir, config)
            command = [sys.executable, '-u', str(train_py), str(path), '--work-dir', str(work_dir)]
            # The last --cfg-options win.
            command += ['--cfg-options', *options, f'randomness.seed={seed}']
            runs.append(TableRun(path, seed, work_dir, config, command))
    return runs


def _check_different(configs: Sequence[Path], seeds: Sequence[int]) -> None:
    for seed, count in Counter(seeds).items():
        if seed not in _SEEDS:
            raise ValueError(f'got --seeds {seed}; expected numbers from 0 to {_SEEDS[-1]}')
        if count > 1:
            raise ValueError(f'got --seeds {seed} {count} times; expected different seeds')
    seen: dict[str, Path] = {}
    for path in configs:
        other = seen.setdefault(path.stem, path)
        if other is path:
            continue
        if other.resolve() == path.resolve():
            raise ValueError(f'got the config {path} twice; expected different configs')
        raise ValueError(f'got {other} and {path}, whose runs would share a folder; rename one, or train it by itself')


def _check_checkpoints_stay(config: Config) -> None:
    hook = (config.get('default_hooks') or {}).get('checkpoint') or {}
    if hook.get('out_dir'):
        raise ValueError(
            f'{config.filename}: got default_hooks.checkpoint.out_dir={hook["out_dir"]!r}, where all configs would '
            'share a folder for each seed; leave it out, so that checkpoints are written to the work dirs'
        )


def _parsed(options: Sequence[str]) -> dict[str, Any]:
    """Return the values of options, as the stock tools read them."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, default={})
    for option in options:
        try:
            parser.parse_args(['--cfg-options', option])
        # of an option without "=", and of brackets that are not closed
        except (ValueError, AssertionError) as error:
            raise ValueError(f'got --cfg-options {option}; expected KEY=VALUE ({error})') from error
    return parser.parse_args(['--cfg-options', *options]).cfg_options if options else {}


def write_list(root: Path, runs: Sequence[TableRun]) -> None:
    """Write ``ROOT/runs.tsv``, which the report reads; it keeps the runs of earlier tables in the same folder.

    Raises:
        BlockingIOError: another process writes it at this moment.
    """
    rows = [
        [str(task), str(run.config), str(run.seed), str(run.work_dir), shlex.join(run.command)]
        for task, run in enumerate(runs)
    ]
    path, place = root / _LIST, _COLUMNS.index('work_dir')
    again = {row[place] for row in rows}
    # The names of files may be no text.
    with only_writer(path), atomic_write(path) as partial:
        if path.is_file():
            lines = path.read_text(encoding='utf-8', errors='surrogateescape').splitlines()[1:]
            earlier = [line.split('\t') for line in lines]
            rows += [row for row in earlier if len(row) == len(_COLUMNS) and row[place] not in again]
        text = ''.join('\t'.join(row) + '\n' for row in [list(_COLUMNS), *rows])
        partial.write_text(text, encoding='utf-8', errors='surrogateescape')
