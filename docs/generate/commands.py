"""docs/reference/commands.md: every command with its arguments, from the parsers."""

import argparse
from pathlib import Path

from samat_mm.command_line.main import COMMANDS, module_of, summary_of

HEAD = """# Commands

`samat-mm COMMAND` is the same as `python -m samat_mm COMMAND` and, in a checkout, `python tools/COMMAND.py`.
Generated from the parsers by `python docs/generate`; `samat-mm COMMAND --help` prints the same.

"""
FOOT = """## How commands end

Status 0 is success. A mistake in a command, config or file ends it with a sentence and status 1, or 2 if the command
cannot be parsed; an interrupt ends it with status 130. A traceback means a bug, yours or samat-mm's, and gives status
1, too. Set `SAMAT_MM_DEBUG=1` to see where an error was raised.
"""


def parser_of(command: str) -> argparse.ArgumentParser:
    """Return the parser of a command."""
    parser = argparse.ArgumentParser(prog=f'samat-mm {command}')
    module_of(command).add_arguments(parser)  # type: ignore[attr-defined]
    return parser


def document() -> str:
    """Return the whole page."""
    listed = ''.join(f'| [{name}](#{name}) | {summary_of(name)} |\n' for name in COMMANDS)
    sections = ''.join(section(name) for name in COMMANDS)
    return f'{HEAD}| command | what it does |\n|---|---|\n{listed}\n{sections}{FOOT}'


def section(command: str) -> str:
    """Return what a command does and its arguments."""
    first, _, rest = str(module_of(command).__doc__).strip().partition('\n')
    said, _, example = first.partition(': ')
    if not example.startswith('samat-mm'):
        said, example = first, ''
    text = f'## {command}\n\n{said.rstrip(".")}. {" ".join(rest.split())}'.rstrip() + '\n\n'
    if example:
        text += f'```text\n{example}\n```\n\n'
    rows = ''.join(_row(action) for action in parser_of(command)._actions if action.help != argparse.SUPPRESS)
    return text + (
        f'| argument | default | what it does |\n|---|---|---|\n{rows}\n' if rows else 'It has no arguments.\n\n'
    )


def _row(action: argparse.Action) -> str:
    if isinstance(action, argparse._HelpAction):
        return ''
    name = max(action.option_strings, key=len, default=action.metavar or action.dest.upper())
    values = ' '.join(_values(action))
    said = str(action.help).replace(' (default: %(default)s)', '').replace('%%', '%').replace('|', '\\|')
    return f'| `{f"{name} {values}".strip()}` | {_default(action)} | {said} |\n'.replace('|  |', '| |')


def _default(action: argparse.Action) -> str:
    default = action.default
    if default is None or default is False or default == [] or default == argparse.SUPPRESS:
        return ''
    if isinstance(default, list):
        return f'`{" ".join(f"{value:g}" for value in default)}`'
    return f'`{default.name if isinstance(default, Path) and default.is_absolute() else default}`'


def _values(action: argparse.Action) -> list[str]:
    if action.nargs == 0 or not (action.option_strings or action.choices):
        return []
    choices = '{' + ','.join(map(str, action.choices or ())) + '}'
    value = choices if action.choices else action.metavar or action.dest.upper()
    if isinstance(value, tuple):
        return list(value)
    return [f'[{value}]' if action.nargs == '?' else value, *(['...'] if action.nargs in ('+', '*') else [])]
