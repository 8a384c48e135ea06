"""τ-normalise the classifier of a trained network: its rows are divided by their length to the power of τ.

The command `mmrecall tau-normalize`, from a clone.
"""

from mmrecall.cli import tau_normalize
from mmrecall.cli.command_line import run_tool

if __name__ == '__main__':
    run_tool(tau_normalize)
