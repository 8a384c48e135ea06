"""Measure the gradient of losses by class on batches of data through a trained model, and show it as table and figure.

The command `mmrecall class-gradients`, from a clone.
"""

from mmrecall.cli import class_gradients
from mmrecall.cli.command_line import run_tool

if __name__ == '__main__':
    run_tool(class_gradients)
