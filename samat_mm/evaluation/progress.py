"""How far an evaluation is, attack by attack."""

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from mmengine.dist import is_main_process
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

MINUTE = 60.0  # seconds


@contextmanager
def progress_by_attack(images: Mapping[str, int], logger: logging.Logger) -> Iterator[Callable[[str, int], None]]:
    """Show a line per attack with the time that is left, and log once a minute how far it is.

    Yields what is called with the name of an attack and how many more of its images are done.

    Args:
        images: how many there are, by attack.
        logger: for where there is no terminal.
    """
    columns = (
        TextColumn('{task.description}'),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, transient=True, disable=not is_main_process()) as progress:
        tasks = {name: progress.add_task(name, total=count, start=False) for name, count in images.items() if count}
        logged = time.monotonic()

        def advance(name: str, count: int) -> None:
            nonlocal logged
            progress.start_task(tasks[name])
            progress.advance(tasks[name], count)
            if time.monotonic() - logged > MINUTE:
                logged = time.monotonic()
                done = (f'{task.description} {task.completed:.0f}/{task.total:.0f}' for task in progress.tasks)
                logger.info(f'images done: {", ".join(done)}')

        yield advance
