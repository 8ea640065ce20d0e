"""docs/reference/commands.md: every command with its arguments, from the parsers."""

import argparse
from importlib import import_module
from types import ModuleType

from samat_mm.command_line.main import COMMANDS

HEAD = """# Commands

`samat-mm COMMAND` is the same as `python -m samat_mm COMMAND` and, in a checkout, `python tools/COMMAND.py`.
Generated from the parsers by `python docs/generate`; `samat-mm COMMAND --help` prints the same.

"""
FOOT = """## How commands end

Status 0 is success. A mistake in a command, config or file ends it with a sentence and status 1, or 2 if the command
cannot be parsed; an interrupt ends it with status 130. A traceback means a bug, yours or samat-mm's, also with status
1. Set `SAMAT_MM_DEBUG=1` to see where an error was raised.
"""


def module_of(command: str) -> ModuleType:
    """Return the module of a command."""
    return import_module(f'samat_mm.command_line.{command.replace("-", "_")}')


def parser_of(command: str) -> argparse.ArgumentParser:
    """Return the parser of a command."""
    parser = argparse.ArgumentParser(prog=f'samat-mm {command}')
    module_of(command).add_arguments(parser)  # type: ignore[attr-defined]
    return parser


def document() -> str:
    """Return the whole page."""
    listed = ''.join(f'| [{name}](#{name}) | {_summary(name)} |\n' for name in COMMANDS)
    sections = ''.join(section(name) for name in COMMANDS)
    return f'{HEAD}| command | what it does |\n|---|---|\n{listed}\n{sections}{FOOT}'


def section(command: str) -> str:
    """Return what a command does and its arguments."""
    first, _, rest = str(module_of(command).__doc__).strip().partition('\n')
    said, colon, example = first.partition(': ')
    text = f'## {command}\n\n{said}{"." if not said.endswith(".") else ""} {rest.strip()}'.strip() + '\n\n'
    if colon:
        text += f'```bash\n{example.strip()}\n```\n\n'
    rows = ''.join(_row(action) for action in parser_of(command)._actions if action.help != argparse.SUPPRESS)
    return f'{text}| argument | default | what it does |\n|---|---|---|\n{rows}\n'


def _summary(command: str) -> str:
    return str(module_of(command).__doc__).strip().partition('\n')[0].partition(': ')[0].rstrip('.')


def _row(action: argparse.Action) -> str:
    if isinstance(action, argparse._HelpAction):
        return ''
    name = max(action.option_strings, key=len, default=action.metavar or action.dest.upper())
    values = ' '.join(_values(action))
    default = '' if action.default in (None, False, [], argparse.SUPPRESS) else f'`{action.default}`'
    said = (action.help or '').replace('%%', '%').replace('|', '\\|')
    return f'| `{f"{name} {values}".strip()}` | {default} | {said} |\n'.replace('|  |', '| |')


def _values(action: argparse.Action) -> list[str]:
    if not action.option_strings or action.nargs == 0:
        return []
    choices = '{' + ','.join(map(str, action.choices or ())) + '}'
    value = choices if action.choices else action.metavar or action.dest.upper()
    if isinstance(value, tuple):
        return list(value)
    return [f'[{value}]' if action.nargs == '?' else value, *(['...'] if action.nargs in ('+', '*') else [])]
