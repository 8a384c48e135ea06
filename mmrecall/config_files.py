"""Config files, read with errors that name the file and the line."""

import ast
import json
import re
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml

from mmrecall import upstream

upstream.require('mmengine.config')

from mmengine.config import Config  # noqa: E402

# The value of `_base_` in Python, JSON and YAML, and the paths in it.
_BASES = re.compile(r'_base_"?\s*[=:]\s*(\[.*?\]|\(.*?\)|(?:\s*- [^\n]*)+|[^\n,]*)', re.DOTALL)
_PATH = re.compile(r'[\w./+=-]+\.(?:py|ya?ml|json)\b')
# Variables of the bases, which mmengine puts in: in JSON and YAML they need no quotes.
_BASE_VARIABLE = re.compile(r'"?\{\{.*?\}\}"?')
_UNKNOWN_TYPE = re.compile(r'([\w.]+) is not in the \S+ registry')


def read_config(path: str | Path) -> Config:
    """Read a config of mmengine; an error names the file, also that of a base, and the line.

    Raises:
        FileNotFoundError: there is no such config, or a base of it is missing.
        ImportError: a module of its ``custom_imports`` cannot be imported.
        ValueError: the file is no config.
    """
    try:
        return upstream.read_config(path)
    except ImportError:
        raise
    except FileNotFoundError as error:
        if not Path(path).is_file():
            raise
        raise FileNotFoundError(f'{path}: {error}') from error
    # A config is a program, which raises errors of any type.
    except Exception as error:
        visited: set[Path] = set()
        fault = _fault(Path(path), visited) or _raised_in(visited, error)
        if fault is None and isinstance(error.__cause__, yaml.YAMLError):
            raise
        raise ValueError(fault or f'{path}: {type(error).__name__}: {error}') from error


def _fault(path: Path, visited: set[Path]) -> str | None:
    """Return the place and the kind of the first mistake in the text of a config and of its bases."""
    if path.resolve() in visited or not path.is_file():
        return None
    visited.add(path.resolve())
    content = path.read_bytes()
    try:
        text = content.decode('utf-8')
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b'\n') + 1
        return f'{path}:{line}: got the byte {content[error.start]:#04x}; expected text in UTF-8; save the file as such'
    found = {'.py': _python_fault, '.json': _json_fault}.get(path.suffix, _yaml_fault)(text)
    if found is not None:
        return f'{path}:{found[0]}: {found[1]}'
    bases = [name for value in _BASES.findall(text) for name in _PATH.findall(value)]
    faults = (_fault(path.parent / base, visited) for base in bases)
    return next((fault for fault in faults if fault), None)


def _python_fault(text: str) -> tuple[int, str] | None:
    try:
        ast.parse(text)
    except SyntaxError as error:
        return error.lineno or 1, f'no Python: {error.msg}'
    except (ValueError, RecursionError, MemoryError) as error:
        return 1, f'no Python: {error}'
    return None


def _json_fault(text: str) -> tuple[int, str] | None:
    try:
        found = json.loads(_BASE_VARIABLE.sub('""', text))
    except json.JSONDecodeError as error:
        return error.lineno, f'no JSON: {error.msg}'
    except (ValueError, RecursionError) as error:
        return 1, f'no JSON: {error}'
    return None if isinstance(found, dict) else (1, _not_a_mapping(type(found).__name__))


def _yaml_fault(text: str) -> tuple[int, str] | None:
    try:
        # Builds no objects, whatever tags there are.
        root = yaml.compose(_BASE_VARIABLE.sub('""', text), Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        return mark.line + 1 if mark else 1, f'no YAML: {error.problem or error.context}'
    except (yaml.YAMLError, RecursionError) as error:
        return 1, f'no YAML: {error}'
    if isinstance(root, yaml.MappingNode):
        return None
    return (1, 'the file is empty') if root is None else (root.start_mark.line + 1, _not_a_mapping(root.id))


def _not_a_mapping(kind: str) -> str:
    return f'got a {kind}; expected names and their values, as "model: ..."'


def _raised_in(files: set[Path], error: Exception) -> str | None:
    """Return the place where a config, a Python file, has raised an error."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if Path(frame.filename).resolve() in files]
    return f'{frames[-1].filename}:{frames[-1].lineno}: {type(error).__name__}: {error}' if frames else None


@contextmanager
def naming_unknown_types(config: Config) -> Iterator[None]:
    """Name the file and the line of a type that no registry has, in a block that builds parts of a config.

    Raises:
        ValueError: in place of the KeyError of a registry.
    """
    try:
        yield
    except KeyError as error:
        unknown = _UNKNOWN_TYPE.search(str(error))
        if unknown is None:
            raise
        raise ValueError(f'{_place_of(unknown[1], config)}: {error.args[0]}') from error


def _place_of(name: str, config: Config) -> str:
    """Return the file and the line of a name in a config and its bases, or the file alone."""
    place, file, number = str(config.filename), str(config.filename), 0
    # mmengine joins the texts, a base before what is built on it, each after the path of its file.
    for line in config.text.splitlines():
        if line.startswith('/') and Path(line).is_file():
            file, number = line, 0
            continue
        number += 1
        if re.search(rf'(?<![\w.]){re.escape(name)}(?!\w)', line):
            place = f'{file}:{number}'
    return place
