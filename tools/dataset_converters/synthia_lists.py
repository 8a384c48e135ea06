"""Split SYNTHIA sequences 70/10/20 per camera folder into the lists that mmrecall.SynthiaSequenceDataset reads.

The command `mmrecall synthia-lists`, from a clone.
"""

from mmrecall.cli import synthia_lists
from mmrecall.cli.command_line import run_tool

if __name__ == '__main__':
    run_tool(synthia_lists)
