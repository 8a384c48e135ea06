"""Compare runs: one report from the logs of any number of trainings, losses x seeds.

The command `mmrecall compare-runs`, from a clone.
"""

from mmrecall.cli import compare_runs
from mmrecall.cli.command_line import run_tool

if __name__ == '__main__':
    run_tool(compare_runs)
