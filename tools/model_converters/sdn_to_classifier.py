"""Export a decoupled network as a stock mmpretrain classifier, which predicts the same without mmrecall installed.

The command `mmrecall export`, from a clone.
"""

from mmrecall.cli import export
from mmrecall.cli.command_line import run_tool

if __name__ == '__main__':
    run_tool(export)
