"""Training of every config with every seed on one machine, for the command ``train-table``."""

from .jobs import Outcome, train_runs, visible_gpus
from .runs import TableRun, plan_runs, write_list

__all__ = ['Outcome', 'TableRun', 'plan_runs', 'train_runs', 'visible_gpus', 'write_list']
