"""Write the list of a long-tailed subset of a config's training set, for mmrecall.LongTailList.

The command `mmrecall make-long-tail`, from a clone.
"""

from mmrecall.cli import make_long_tail
from mmrecall.cli.command_line import run_tool

if __name__ == '__main__':
    run_tool(make_long_tail)
