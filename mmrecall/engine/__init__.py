"""What surrounds training: the stock tools, ranks on CPUs."""

from .cpu_ranks import init_cpu_ranks
from .stock_tools import run_stock_tool

__all__ = ['init_cpu_ranks', 'run_stock_tool']
