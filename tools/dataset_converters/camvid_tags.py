"""Write the classes in every image of CamVid as lists for mmpretrain's MultiLabelDataset.

The command `mmrecall camvid-tags`, from a clone.
"""

from mmrecall.cli import camvid_tags
from mmrecall.cli.command_line import run_tool

if __name__ == '__main__':
    run_tool(camvid_tags)
