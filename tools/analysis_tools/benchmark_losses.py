"""Measure time and memory of every loss beside F.cross_entropy, and write a Markdown table, a JSON and bar charts.

The command `mmrecall benchmark`, from a clone.
"""

from mmrecall.cli import benchmark
from mmrecall.cli.command_line import run_tool

if __name__ == '__main__':
    run_tool(benchmark)
