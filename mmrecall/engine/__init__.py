"""What surrounds training: the stock tools, ranks on CPUs, hooks."""

from .cpu_ranks import init_cpu_ranks
from .hooks import ClassCountsHook, DeferredReweightingHook, install_class_counts_hook
from .stock_tools import run_stock_tool

__all__ = ['ClassCountsHook', 'DeferredReweightingHook', 'init_cpu_ranks', 'run_stock_tool']

install_class_counts_hook()
