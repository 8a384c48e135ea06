"""Which OpenMMLab toolboxes are installed, and what to install when one is missing."""

import importlib

INSTALL = (
    'pip install "mmrecall[onedl]" (maintained forks) or "mmrecall[openmmlab]" (stock; mmcv first, see '
    'docs/installation.md)'
)


def missing(module: str) -> str | None:
    """Import a toolbox module; why it cannot be imported, in one sentence, or None if it can."""
    try:
        importlib.import_module(module)
    except (
        Exception
    ) as error:  # a broken toolbox raises anything: AssertionError for mmcv's version, RuntimeError for its ops
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        return f'{module} cannot be imported ({reason}); install its toolbox: {INSTALL}'
    return None


def require(module: str) -> None:
    """Import a toolbox module.

    Raises:
        ImportError: it is not installed, or not in a version that works; says what to install.
    """
    reason = missing(module)
    if reason is not None:
        raise ImportError(reason)
