"""Draw images with their truth and the predictions of trained segmentation models, where the models differ most.

The command `mmrecall show-predictions`, from a clone.
"""

from mmrecall.cli import show_predictions
from mmrecall.cli.command_line import run_tool

if __name__ == '__main__':
    run_tool(show_predictions)
