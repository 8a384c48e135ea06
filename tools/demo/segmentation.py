"""Compare cross entropy and the recall loss on synthetic street scenes: train, test, print a table, draw a picture.

The command `mmrecall demo`, from a clone.
"""

from mmrecall.cli import demo
from mmrecall.cli.command_line import run_tool

if __name__ == '__main__':
    run_tool(demo)
