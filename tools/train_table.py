"""Train every config with every seed on this machine, as many at a time as it has GPUs, without Slurm.

The command `mmrecall train-table`, from a clone.
"""

from mmrecall.cli import train_table
from mmrecall.cli.command_line import run_tool

if __name__ == '__main__':
    run_tool(train_table)
