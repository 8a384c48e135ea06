"""Command lines: a command is run with the words that were typed."""

import argparse
import os
import re
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType


def run_command(command: ModuleType, words: Sequence[str], typed: str, program: str | None = None) -> None:
    """Parse the words after the name of a command, and run it.

    Args:
        command: module of `mmrecall.cli`.
        words: the words.
        typed: the words before them, ``'mmrecall export'``; the example in the help begins with them.
        program: the same in the usage and in errors; argparse's own choice if it is None.
    """
    example = re.sub(r'^Example: mmrecall [\w-]+', lambda _: f'Example: {typed}', command.__doc__ or '', flags=re.M)
    parser = argparse.ArgumentParser(
        prog=program, description=example, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    command.add_arguments(parser)
    command.run(parser.parse_args(words))


def run_tool(command: ModuleType) -> None:
    """Run a command as a script of the folder ``tools``, with the words of this process."""
    run_command(command, sys.argv[1:], f'python {os.path.relpath(sys.argv[0])}')


def typed_command() -> str:
    """Return the command line of this process as it can be typed again."""
    program, *words = sys.argv
    path = Path(program)
    if path.name == '__main__.py':
        start = ['python', '-m', 'mmrecall']
    elif path.suffix == '.py':
        start = ['python', program]
    else:
        start = [path.name]
    return shlex.join([*start, *words])
