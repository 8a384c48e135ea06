"""Test a checkpoint with the stock tool of the config's toolbox; all of its flags work.

Example: python tools/test.py configs/deeplabv3/deeplabv3_r18w32-d16_1xb8-recall-1k_camvid-180x240.py CHECKPOINT
"""

import sys

from mmrecall.engine import run_stock_tool

if __name__ == '__main__':
    run_stock_tool('test', sys.argv[1:], __doc__)
