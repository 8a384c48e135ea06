"""Adjust the scores of a trained model by the class priors of its training set, without training it again.

The command `mmrecall adjust-logits`, from a clone.
"""

from mmrecall.cli import adjust_logits
from mmrecall.cli.command_line import run_tool

if __name__ == '__main__':
    run_tool(adjust_logits)
