"""Tools in processes of their own, forked from this one: they can be killed, and need not import anything again."""

import multiprocessing
import os
import sys
from multiprocessing.process import BaseProcess
from typing import Any

from samat_mm.command_line.main import run_command


def start_tool(name: str, *arguments: Any, group: int = 0, **environment: str) -> BaseProcess:
    """Start a command; a group is the number of the process that leads it, 0 for a new one."""

    def work() -> None:
        os.setpgid(0, group)
        os.environ.update(environment)
        sys.argv = [f'{name}.py', *map(str, arguments)]
        sys.exit(run_command(name.replace('_', '-')))

    process = multiprocessing.get_context('fork').Process(target=work)
    process.start()
    return process
