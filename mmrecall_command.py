"""The program ``mmrecall``, which hands over to the command that is called.

It lies outside the package, because importing the package imports PyTorch and the toolboxes, and the list of the
commands must not wait for them. A command imports what it needs when it is called.
"""

import argparse
import platform
import sys
from contextlib import redirect_stdout
from importlib import import_module
from types import ModuleType
from typing import NamedTuple

_STOCK = ('train', 'test')
_CONFIG = 'configs/deeplabv3/deeplabv3_r18w32-d16_1xb8-recall-1k_camvid-180x240.py'


class Command(NamedTuple):
    """Entry of the list of commands."""

    summary: str
    needs: str | None
    """Module of a toolbox without which the command cannot start."""


COMMANDS = {
    'train': Command("train the model of a config, with the tool of the config's toolbox", 'mmengine.config'),
    'test': Command("test a checkpoint, with the tool of the config's toolbox", 'mmengine.config'),
    'train-table': Command('train every config with every seed on this machine', 'mmengine.config'),
    'class-statistics': Command("count the classes of a config's training set", 'mmengine.config'),
    'compare-runs': Command('write one report of any number of trainings', 'mmengine.config'),
    'show-predictions': Command('draw images where trained segmentation models differ most', 'mmseg'),
    'class-gradients': Command('measure the gradient of losses by class', 'mmengine.config'),
    'adjust-logits': Command('adjust the scores of a trained model by the class shares', 'mmengine.config'),
    'benchmark': Command('measure time and memory of every loss', 'mmengine.config'),
    'benchmark-training': Command('measure the time of whole training steps', 'mmengine.config'),
    'export': Command('write a decoupled network as a stock mmpretrain classifier', 'mmengine.config'),
    'tau-normalize': Command('τ-normalise the classifier of a trained network', None),
    'make-long-tail': Command('write the list of a long-tailed subset of a training set', 'mmengine.config'),
    'synthia-lists': Command('write the lists of frames of SYNTHIA sequences', 'mmseg'),
    'camvid-tags': Command('write the classes in every image of CamVid as lists', 'mmseg'),
    'make-digits': Command('write long-tailed handwritten digits as an image set', 'mmengine.config'),
    'make-street-scenes': Command('write synthetic street scenes as an image set', 'mmseg'),
    'demo': Command('compare cross entropy and the recall loss on synthetic street scenes', 'mmseg'),
    'demo-classification': Command('compare cross entropy and a decoupled network on long-tailed digits', 'mmpretrain'),
    'configs': Command('list the configs of this package, show one, or copy one', None),
    'completion': Command('print the script with which bash completes this command', None),
}


def main() -> None:
    """Run the command that the arguments of this process name."""
    words = sys.argv[1:]
    if words and words[0] in COMMANDS:
        _run(words[0], words[1:])
        return
    parser = _parser()
    if parser.parse_args(words).version:
        print(_versions())
    else:
        parser.error('got no command; expected one of those that mmrecall --help lists')


def module_of(name: str) -> str | None:
    """Return the name of the module of a command, or None for a command that is the tool of a toolbox."""
    return None if name in _STOCK else f'mmrecall.cli.{name.replace("-", "_")}'


def _run(name: str, words: list[str]) -> None:
    typed, needs = f'mmrecall {name}', COMMANDS[name].needs
    reason = needs and imported('mmrecall.upstream').missing(needs)
    if reason:
        raise SystemExit(f'{typed}: {reason}')
    module = module_of(name)
    if module:
        imported('mmrecall.cli.command_line').run_command(imported(module), words, typed, program=typed)
    else:
        imported('mmrecall.engine').run_stock_tool(name, words, _stock_description(name), typed)


def imported(name: str) -> ModuleType:
    """Import a module, with what toolboxes print then on standard error, because the output may be piped."""
    with redirect_stdout(sys.stderr):
        return import_module(name)


def _stock_description(name: str) -> str:
    summary = COMMANDS[name].summary
    example = f'mmrecall {name} {_CONFIG}{" CHECKPOINT" if name == "test" else ""}'
    return f'{summary[0].upper()}{summary[1:]}; all of its flags work.\n\nExample: {example}'


def _parser() -> argparse.ArgumentParser:
    """Return the parser of a call without a valid command, for the list of commands, the versions and errors."""
    parser = argparse.ArgumentParser(
        prog='mmrecall',
        description='Recall loss and its company: class imbalance for MMSegmentation and MMPretrain.',
        epilog='mmrecall COMMAND --help lists the arguments of a command.',
    )
    parser.add_argument('--version', action='store_true', help='show the versions of mmrecall and of the toolboxes')
    commands = parser.add_subparsers(title='commands', metavar='COMMAND')
    for name, command in COMMANDS.items():
        commands.add_parser(name, help=command.summary, add_help=False)
    return parser


def _versions() -> str:
    package, upstream = imported('mmrecall'), imported('mmrecall.upstream')
    lines = [f'mmrecall {package.__version__}', f'python {platform.python_version()}']
    lines += [f'{name} {version}' for name, version in upstream.installed_versions().items()]
    reason = upstream.missing('mmengine')
    return '\n'.join(lines + ([reason] if reason else []))


if __name__ == '__main__':
    main()
