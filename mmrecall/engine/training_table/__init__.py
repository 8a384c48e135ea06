"""Every config with every seed, trained on one machine: what `tools/train_table.py` does."""

from .jobs import Outcome, train_runs, visible_gpus
from .runs import TableRun, plan_runs, write_list

__all__ = ['Outcome', 'TableRun', 'plan_runs', 'train_runs', 'visible_gpus', 'write_list']
