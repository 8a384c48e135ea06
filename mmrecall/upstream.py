"""The OpenMMLab toolboxes: whether one can be imported, what to install if not, and where its tools lie."""

from __future__ import annotations

import importlib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

TOOLBOXES = ('mmseg', 'mmpretrain', 'mmdet')
# the stock package of onedl-mmdetection is named mmdet
_PACKAGES = ('mmengine', 'mmcv', 'mmsegmentation', 'mmpretrain', 'mmdet')
_FORKS = ('onedl-mmengine', 'onedl-mmcv', 'onedl-mmsegmentation', 'onedl-mmpretrain', 'onedl-mmdetection')

_INSTALL = (
    'pip install "mmrecall[onedl]" (maintained forks); or, on Python 3.10 or 3.11, the stock packages, whose mmcv is '
    'compiled against the PyTorch that is installed: pip install torch==2.1.2 torchvision==0.16.2 "numpy<2" '
    '"setuptools<81" wheel ninja, then MMCV_WITH_OPS=1 pip install --no-build-isolation mmcv==2.1.0, then '
    'pip install "mmrecall[openmmlab]"'
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


def installed_versions() -> dict[str, str]:
    """Return the installed versions of PyTorch, NumPy and OpenMMLab's packages, stock or forks, by package name."""
    found = {}
    for name in ('torch', 'numpy', *_PACKAGES, *_FORKS):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def stock_tool(toolbox: str, name: str) -> Path:
    """Return the path of a tool of a toolbox, such as ``'train'``: in a wheel's ``.mim``, or beside its package.

    Raises:
        ImportError: the toolbox is not installed.
        FileNotFoundError: the toolbox is installed without its tools.
    """
    return _stock_file(toolbox, f'tools/{name}.py')


def stock_config(toolbox: str, name: str) -> Path:
    """Return the path of a config of a toolbox, such as ``'segformer/...'``; nothing is installed.

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
