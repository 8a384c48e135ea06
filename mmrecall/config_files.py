"""Config files, read with errors that name the file and the line."""

import difflib
import inspect
import os
import re
import traceback
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from mmrecall import upstream
from mmrecall.installed_files import similar_configs
from mmrecall.io.plain_yaml import read_plain_yaml

upstream.require('mmengine.config')

from mmengine.config import Config  # noqa: E402
from mmengine.fileio import YamlHandler, register_handler  # noqa: E402
from mmengine.runner import FlexibleRunner, Runner  # noqa: E402

# Methods of mmengine's `Config` that read a file, each a base of the one before; their argument is ``filename``.
_READERS = ('fromfile', '_is_lazy_import', '_file2dict', '_parse_lazy_import')
_LANGUAGES = {'.py': 'Python', '.json': 'JSON'}
# Settings that mmengine's runners, or the tools of the toolboxes, read from a config beside the arguments of a runner.
_FURTHER_SETTINGS = (
    'activation_checkpointing', 'compile', 'custom_imports', 'efficient_conv_bn_eval', 'find_unused_parameters',
    'init_weights_for_test_or_val', 'model_wrapper_cfg', 'runner_type', 'sync_bn', 'tta_model', 'tta_pipeline',
    'vis_backends', '_scope_',
)  # fmt: skip
_UNKNOWN_TYPE = re.compile(r'([\w.]+) is not in the \S+ registry')


class _PlainYamlHandler(YamlHandler):
    """Reader of YAML files for mmengine, whose own builds any object of Python that a file names."""

    def load_from_fileobj(self, file: Any, **kwargs: Any) -> Any:
        return read_plain_yaml(file)


def read_config(path: str | Path, options: Mapping[str, Any] | None = None) -> Config:
    """Read a config of mmengine; an error names the file, also that of a base, and the line.

    From the first call on, mmengine reads only plain values from YAML files in this process.

    Args:
        path: the config.
        options: values by their names, ``'model.decode_head.num_classes'``, that replace those of the config, or are
            added to it: ``--cfg-options`` of a tool.

    Raises:
        FileNotFoundError: there is no such config, or a base of it is missing.
        ImportError: a module of its ``custom_imports`` cannot be imported.
        ValueError: the file is no config, or for `check_option_names`.
    """
    config = _read(path)
    check_option_names(config, options or ())
    config.merge_from_dict(dict(options or {}))
    return config


def check_option_names(config: Config, names: Iterable[str]) -> None:
    """Check that options are settings that a config has or mmengine reads, by the first part of their names.

    mmengine adds every other option to the config, where nothing reads it. Further parts are not checked, because
    options may add arguments: ``model.decode_head.loss_decode.alpha``.

    Raises:
        ValueError: another name; says which ones are like it.
    """
    if config.get('runner_type', 'Runner') not in ('Runner', 'FlexibleRunner'):
        # a runner of another package may read whatever it likes
        return
    arguments = (inspect.signature(kind.__init__).parameters for kind in (Runner, FlexibleRunner))
    known = {*config, *_FURTHER_SETTINGS}.union(*arguments) - {'self', 'cfg'}
    for name in names:
        first = name.partition('.')[0]
        if first not in known:
            close = ' or '.join(difflib.get_close_matches(first, known))
            raise ValueError(
                f'got --cfg-options {name}; expected a setting that {config.filename} has or that mmengine reads, and '
                f'{first} is neither; '
                + (f'did you mean {close}?' if close else 'set it in the config first if code of yours reads it')
            )


def _read(path: str | Path) -> Config:
    register_handler(['yaml', 'yml'])(_PlainYamlHandler)
    try:
        return Config.fromfile(path)
    except ImportError:
        raise
    except FileNotFoundError as error:
        raise FileNotFoundError(f'{path}: {error}' if Path(path).is_file() else missing_config(path)) from error
    # A config is a program, which raises errors of any type.
    except Exception as error:
        raise ValueError(_mistake(error)) from error


def missing_config(path: str | Path) -> str:
    """Return the message for a config that is no file, which leads to the configs of this package."""
    similar = similar_configs(str(path))
    if similar:
        advice = f'`mmrecall configs copy {similar[0]}` copies the one of this package with the most similar name'
    else:
        advice = '`mmrecall configs list` prints those of this package, and `mmrecall configs copy NAME` copies one'
    return f'{path}: there is no such config file; {advice}'


def _mistake(error: Exception) -> str:
    """Return the file, the line if it is known, and the kind of a mistake in a config."""
    file, line, reader, content = '', None, '', {}
    for frame, number in traceback.walk_tb(error.__traceback__):
        name, variables = frame.f_code.co_name, frame.f_locals
        if frame.f_globals.get('__name__') != Config.__module__:
            # the code of a config
            line = number if frame.f_code.co_filename == file else line
        elif name in _READERS:
            file, reader = str(variables['filename']), name
        elif name == '_get_base_files':
            content = variables.get('cfg_dict', {})
    if line is not None:
        return f'{file}:{line}: {type(error).__name__}: {error}'
    # else the modules of ``custom_imports``
    if reader != 'fromfile':
        language = _LANGUAGES.get(Path(file).suffix, 'YAML')
        match error:
            case UnicodeDecodeError():
                line = error.object[: error.start].count(b'\n') + 1
                byte = error.object[error.start]
                return f'{file}:{line}: got the byte {byte:#04x}; expected text in UTF-8; save the file as such'
            case yaml.MarkedYAMLError():
                plain = ' of plain values' if isinstance(error, yaml.constructor.ConstructorError) else ''
                mark = error.problem_mark or error.context_mark
                return f'{file}:{mark.line + 1}: no YAML{plain}: {error.problem}'
            case SyntaxError() | ValueError() | RecursionError() | MemoryError() | yaml.YAMLError():
                line = getattr(error, 'lineno', None) or 1
                return f'{file}:{line}: no {language}: {getattr(error, "msg", error)}'
        if content is None:
            return f'{file}:1: the file is empty'
        if not isinstance(content, dict):
            return f'{file}:1: got a {type(content).__name__}; expected names and their values, as "model: ..."'
    return f'{file}: {type(error).__name__}: {error}'


@contextmanager
def naming_mistakes(config: Config) -> Iterator[None]:
    """Name the file and the line of a setting that is at fault, in a block that builds parts of a config.

    Raises:
        ValueError: in place of the KeyError of a registry, for a type that no registry has.
        FileNotFoundError: a file that a setting names is missing.
    """
    try:
        yield
    except KeyError as error:
        unknown = _UNKNOWN_TYPE.search(str(error))
        if unknown is None:
            raise
        place = _place_of(rf'(?<![\w.]){re.escape(unknown[1])}(?!\w)', config) or config.filename
        raise ValueError(f'{place}: {error.args[0]}') from error
    except FileNotFoundError as error:
        place = _place_of_file(error.filename or '', config)
        if place is None:
            raise
        raise FileNotFoundError(f'{place}: {error.filename} is missing') from error


def _place_of_file(path: str | bytes, config: Config) -> str | None:
    """Return the place of the setting that is the end of a path, the longest such end, or None if there is none."""
    parts = Path(os.fsdecode(path)).parts
    ends = (str(Path(*parts[first:])) for first in range(len(parts)))
    places = (_place_of(rf'["\']{re.escape(end)}/?["\']', config) for end in ends)
    return next(filter(None, places), None)


def _place_of(pattern: str, config: Config) -> str | None:
    """Return the file and the line of a text in a config and its bases, or None where it is in none of them."""
    place, file, number = None, str(config.filename), 0
    # mmengine joins the texts, a base before what is built on it, each after the path of its file.
    for line in config.text.splitlines():
        if line.startswith('/') and Path(line).is_file():
            file, number = line, 0
            continue
        number += 1
        if re.search(pattern, line):
            place = f'{file}:{number}'
    return place
