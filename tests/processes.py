"""Tools in processes of their own, forked from this one: they can be killed, and need not import anything again."""

import multiprocessing
import os
import runpy
import sys
from multiprocessing.process import BaseProcess
from typing import Any

from helpers import ROOT


def start_tool(name: str, *arguments: Any, group: int = 0, **environment: str) -> BaseProcess:
    """Start ``tools/NAME.py``; a group is the number of the process that leads it, 0 for a new one."""
    main = runpy.run_path(str(ROOT / 'tools' / f'{name}.py'))['main']

    def work() -> None:
        os.setpgid(0, group)
        os.environ.update(environment)
        sys.argv = [f'{name}.py', *map(str, arguments)]
        main()

    process = multiprocessing.get_context('fork').Process(target=work)
    process.start()
    return process
