"""Count the classes of a config's training set, and write a chart and a JSON that class_counts= of the losses reads.

The command `mmrecall class-statistics`, from a clone.
"""

from mmrecall.cli import class_statistics
from mmrecall.cli.command_line import run_tool

if __name__ == '__main__':
    run_tool(class_statistics)
