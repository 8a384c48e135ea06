"""Print the script with which bash completes this command: the names of the commands, their options, and files.

For a command whose toolbox is not installed, only the name is completed.

Example: mmrecall completion >> ~/.bashrc
"""

import argparse

from mmrecall.upstream import missing
from mmrecall_command import COMMANDS, imported, module_of

# Without a word that fits, bash completes the names of files.
_SCRIPT = """_mmrecall() {{
  local current=${{COMP_WORDS[COMP_CWORD]}} words=''
  case "$COMP_CWORD ${{COMP_WORDS[1]}} $current" in
    '1 '*) words='{commands} --help --version' ;;
{cases}
  esac
  COMPREPLY=($(compgen -W "$words" -- "$current"))
}}
complete -o default -F _mmrecall mmrecall"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command: none."""


def run(arguments: argparse.Namespace) -> None:
    """Print the script."""
    cases = [case for name in COMMANDS if (module := module_of(name)) for case in _cases(name, module)]
    print(_SCRIPT.format(commands=' '.join(COMMANDS), cases='\n'.join(cases)))


def _cases(name: str, module: str) -> list[str]:
    """Return the cases of a command: its options for a word that begins with a dash, and the actions that it has."""
    needs = COMMANDS[name].needs
    if needs and missing(needs):
        return []
    parser = argparse.ArgumentParser()
    imported(module).add_arguments(parser)
    options = [option for action in parser._actions for option in action.option_strings if option.startswith('--')]
    cases = [f"    *' {name} -'*) words='{' '.join(options)}' ;;"]
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            cases.append(f"    '2 {name} '*) words='{' '.join(action.choices)}' ;;")
    return cases
