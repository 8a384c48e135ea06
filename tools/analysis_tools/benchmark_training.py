"""Measure the time of a whole training step of several configs, and write a Markdown table and a JSON.

The command `mmrecall benchmark-training`, from a clone.
"""

from mmrecall.cli import benchmark_training
from mmrecall.cli.command_line import run_tool

if __name__ == '__main__':
    run_tool(benchmark_training)
