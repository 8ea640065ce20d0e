"""What MMEngine and other libraries print."""

import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

# MMEngine warns of these on every run, and nobody who runs a config can change them.
IDLE = (
    'will be deprecated in future',
    'and the former will be deprecated',
    'so skip saving parameter schedulers',
    'The prefix is not set in metric class',
)


_lowest = logging.INFO  # level of the messages without a logger that are printed


def print_no_debugging_messages() -> None:
    """Let ``print_log`` without a logger keep quiet about messages for debugging, such as those of imports."""
    from mmengine import logging as logs

    original = logs.print_log

    @wraps(original)
    def print_log(msg: Any, logger: Any = None, level: int = logging.INFO) -> None:
        if logger is not None or level >= _lowest:
            original(msg, logger, level)
        elif level >= logging.INFO and logs.MMLogger._instance_dict:
            original(msg, 'current', level)

    logs.print_log = logs.logger.print_log = print_log


@contextmanager
def quiet(is_own: Callable[[str], bool]) -> Iterator[None]:
    """Show warnings and errors only: the loggers that MMEngine makes in the block write the rest to their files.

    Python's warnings go to the newest of these loggers, too, if they come from a library.

    Args:
        is_own: tells the user's own source files, whose warnings are shown, from those of libraries.
    """
    from mmengine.logging import MMLogger

    make, show = MMLogger.__init__, warnings.showwarning
    waiting: list[str] = []  # warnings until there is a logger

    @wraps(make)
    def make_quiet(self: Any, *args: Any, **options: Any) -> None:
        make(self, *args, **options)
        for handler in self.handlers:
            if type(handler) is logging.StreamHandler:  # a FileHandler is one, too
                handler.setLevel(max(handler.level, logging.WARNING))
                handler.addFilter(lambda record: not any(text in record.getMessage() for text in IDLE))
        while waiting:
            self.info(waiting.pop(0))

    def show_own(message: Any, category: Any, filename: str, lineno: int, file: Any = None, line: Any = None) -> None:
        if file is not None or is_own(filename):
            show(message, category, filename, lineno, file, line)
            return
        text = warnings.formatwarning(message, category, filename, lineno, line).strip()
        if MMLogger._instance_dict:
            MMLogger.get_current_instance().info(text)
        else:
            waiting.append(text)

    global _lowest
    before, _lowest = _lowest, logging.WARNING
    MMLogger.__init__, warnings.showwarning = make_quiet, show_own
    try:
        yield
    finally:
        MMLogger.__init__, warnings.showwarning, _lowest = make, show, before
