"""The OpenMMLab toolboxes: whether one can be imported, what to install if not, and where its tools lie."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mmengine.config import Config

TOOLBOXES = ('mmseg', 'mmpretrain', 'mmdet')

_INSTALL = (
    'pip install "mmrecall[onedl]" (maintained forks) or "mmrecall[openmmlab]" (stock; mmcv first, see '
    'docs/installation.md)'
)
_INSTALL_MMDET = (
    'pip install onedl-mmdetection (maintained forks) or mmdet (stock); both need an mmcv with compiled ops'
)


def missing(module: str) -> str | None:
    """Import a module of a toolbox and return None, or one sentence with the reason if the import fails."""
    try:
        importlib.import_module(module)
    # A broken toolbox raises errors of any type: AssertionError for a version of mmcv, RuntimeError for its operators.
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        install = _INSTALL_MMDET if module.partition('.')[0] == 'mmdet' else _INSTALL
        return f'{module} cannot be imported ({reason}); install its toolbox: {install}'
    return None


def require(module: str) -> None:
    """Import a module of a toolbox.

    Raises:
        ImportError: the module is not installed, or not in a version that works; the message says what to install.
    """
    reason = missing(module)
    if reason is not None:
        raise ImportError(reason)


def read_config(path: str | Path) -> Config:
    """Return the config in a file, and let YAML files hold plain values alone from now on.

    mmengine's reader of YAML builds whatever object of Python a file names. A tuple, as mmengine writes it, stays one.

    Raises:
        ValueError: a YAML file is none, or holds an object of Python; names the file and the line.
    """
    import yaml
    from mmengine.config import Config
    from mmengine.fileio import YamlHandler, register_handler

    class Loader(yaml.SafeLoader):
        """Loader of plain values and tuples."""

    Loader.add_constructor(
        'tag:yaml.org,2002:python/tuple', lambda loader, node: tuple(loader.construct_sequence(node, deep=True))
    )

    @register_handler(['yaml', 'yml'])
    class PlainYamlHandler(YamlHandler):
        """Handler that `Config` calls for a YAML file."""

        def load_from_fileobj(self, file: Any, **kwargs: Any) -> Any:
            return yaml.load(file, Loader)

    try:
        return Config.fromfile(path)
    except yaml.YAMLError as error:
        raise ValueError(f'{path} is no YAML of plain values: {error}') from error


def stock_tool(toolbox: str, name: str) -> Path:
    """Return the path of ``tools/NAME.py`` of a toolbox: in a wheel's ``.mim`` folder, or beside a checkout's package.

    Raises:
        ImportError: the toolbox is not installed.
        FileNotFoundError: the toolbox is installed without its tools.
    """
    return _stock_file(toolbox, f'tools/{name}.py')


def stock_config(toolbox: str, name: str) -> Path:
    """Return the path of ``configs/NAME.py`` of a toolbox, such as ``'segformer/...'``; nothing is installed.

    Raises:
        ImportError: the toolbox is not installed.
        FileNotFoundError: the toolbox is installed without its configs.
    """
    return _stock_file(toolbox, f'configs/{name}.py')


def _stock_file(toolbox: str, file: str) -> Path:
    require(toolbox)
    package = Path(importlib.import_module(toolbox).__file__ or '').parent
    places = [package / '.mim' / file, package.parent / file]
    for place in places:
        if place.is_file():
            return place
    raise FileNotFoundError(f'{toolbox} has no {file}; looked for {" and ".join(map(str, places))}')
