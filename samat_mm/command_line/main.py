"""Find the command, parse its arguments, and run it."""

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module
from types import ModuleType

from samat_mm.command_line.endings import errors_as_sentences
from samat_mm.compat import repair_process
from samat_mm.version import __version__

COMMANDS = ('train', 'test', 'compare', 'sharpness', 'attacks', 'reproduce', 'theory', 'prepare-data', 'demo')
USAGE = """usage: samat-mm COMMAND [arguments]
       samat-mm COMMAND --help
       samat-mm --version
"""


class Paragraphs(argparse.HelpFormatter):
    """Keeps the paragraphs of a description, and fits their lines to the terminal."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return '\n\n'.join(
            super(Paragraphs, self)._fill_text(each, width, indent) for each in text.strip().split('\n\n')
        )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command that the first argument names, and return the exit status."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given[:1] in (['--version'], ['-V']):
        print(f'samat-mm {__version__}')
        return 0
    if given[:1] in ([], ['--help'], ['-h']):
        print(f'{USAGE}\n' + '\n'.join(f'  {name:<14}{summary_of(name)}' for name in COMMANDS))
        return 0
    if given[0] not in COMMANDS:
        known = ', '.join(COMMANDS)
        print(f'{USAGE}error: {given[0]!r} is not a command; the commands are {known}.', file=sys.stderr)
        return 2
    return run_command(given[0], given[1:], program=f'samat-mm {given[0]}')


def run_command(name: str, arguments: Sequence[str] | None = None, program: str | None = None) -> int:
    """Parse the arguments of a command, run it, and return the exit status.

    Args:
        name: name of the command.
        arguments: its arguments; those of the process by default.
        program: name of the program in its help; the file of the process by default.
    """
    module = module_of(name)
    parser = argparse.ArgumentParser(prog=program, description=module.__doc__, formatter_class=Paragraphs)
    module.add_arguments(parser)
    args, others = parser.parse_known_intermixed_args(arguments)
    if others and not hasattr(args, 'others'):  # a command that passes unknown arguments on has a default for them
        parser.error(f'unrecognized arguments: {" ".join(others)}')
    elif others:
        args.others = others
    repair_process()
    with errors_as_sentences():
        return module.run(args) or 0


def module_of(name: str) -> ModuleType:
    """Return the module of a command."""
    return import_module(f'samat_mm.command_line.{name.replace("-", "_")}')


def summary_of(name: str) -> str:
    """Return the first sentence of a command's description."""
    return str(module_of(name).__doc__).strip().partition('\n')[0].partition(':')[0].rstrip('.')
