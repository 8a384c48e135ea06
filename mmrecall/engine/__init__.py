"""Hooks, loops and ranks of a training, and the commands that start one."""

from mmrecall.upstream import missing, require

require('mmengine.registry')

from . import hooks  # noqa: E402
from .hooks import *  # noqa: E402, F403
from .ranks import init_cpu_ranks  # noqa: E402
from .stock_tools import run_stock_tool  # noqa: E402

__all__ = [*hooks.__all__, 'init_cpu_ranks', 'run_stock_tool']

hooks.install_hooks_of_losses()

if missing('mmpretrain.models') is None:
    from .loops import ClassMeansLoop, TauSelectionLoop

    __all__ += ['ClassMeansLoop', 'TauSelectionLoop']
