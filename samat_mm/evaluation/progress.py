"""The progress of an evaluation, attack by attack."""

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec

from mmengine.dist import is_main_process
from rich import get_console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

MINUTE = 60.0  # seconds


def shows_bars() -> bool:
    """Tell whether this process shows bars: the first one, on a terminal or in a notebook that can."""
    console = get_console()
    in_notebook = console.is_jupyter and find_spec('ipywidgets') is not None  # without it, rich warns
    return is_main_process() and (console.is_terminal or in_notebook)


@contextmanager
def progress_by_attack(images: Mapping[str, int], logger: logging.Logger) -> Iterator[Callable[[str, int], None]]:
    """Show a line per attack with the remaining time; log and, where there is no terminal, print it once a minute.

    Args:
        images: number of images by attack.
        logger: logger for runs without a terminal.

    Yields:
        A function to call with the name of an attack and the number of images that were just done.
    """
    columns = (
        TextColumn('{task.description}'),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, transient=True, disable=not shows_bars()) as progress:
        tasks = {name: progress.add_task(name, total=count, start=False) for name, count in images.items() if count}
        logged = time.monotonic()

        def advance(name: str, count: int) -> None:
            nonlocal logged
            progress.start_task(tasks[name])
            progress.advance(tasks[name], count)
            if time.monotonic() - logged > MINUTE:
                logged = time.monotonic()
                done = (f'{task.description} {task.completed:.0f}/{task.total:.0f}' for task in progress.tasks)
                said = f'done: {", ".join(done)}'
                logger.info(said)
                if is_main_process() and not shows_bars() and not _prints(logger):
                    print(said, flush=True)

        yield advance


def _prints(logger: logging.Logger) -> bool:
    """Tell whether a logger shows such messages on the terminal."""
    return any(type(handler) is logging.StreamHandler and handler.level <= logging.INFO for handler in logger.handlers)
