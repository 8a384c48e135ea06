"""Write synthetic street scenes in SYNTHIA's layout, and the lists of their split.

The command `mmrecall make-street-scenes`, from a clone.
"""

from mmrecall.cli import make_street_scenes
from mmrecall.cli.command_line import run_tool

if __name__ == '__main__':
    run_tool(make_street_scenes)
