"""Write scikit-learn's digits as a long-tailed image set: PNGs of 8x8 pixels, and lists for mmrecall.LongTailList.

The command `mmrecall make-digits`, from a clone.
"""

from mmrecall.cli import make_digits
from mmrecall.cli.command_line import run_tool

if __name__ == '__main__':
    run_tool(make_digits)
