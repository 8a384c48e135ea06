"""Compare cross entropy and the Simple Decoupled Network on long-tailed digits: train, test, print two tables.

The command `mmrecall demo-classification`, from a clone.
"""

from mmrecall.cli import demo_classification
from mmrecall.cli.command_line import run_tool

if __name__ == '__main__':
    run_tool(demo_classification)
