"""End the commands on an error."""

import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

from samat_mm.runners.sentences import DEBUG_VARIABLE, sentence_of

BUG = 'If this comes from samat-mm and not from your own code, please report it with the traceback above.'
INTERRUPTED = 130  # as in shells


@contextmanager
def errors_as_sentences() -> Iterator[None]:
    """End the program with status 1 on an error, with one sentence if the user can fix it.

    A bug in the package or in the user's code keeps its traceback. ``SAMAT_MM_DEBUG=1`` also shows where the other
    errors were raised. On an interrupt from the keyboard, the program ends quietly with status 130.
    """
    try:
        yield
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except Exception as error:
        sentence = sentence_of(error)
        if sentence is None or os.environ.get(DEBUG_VARIABLE) == '1':
            traceback.print_exc()
        print(BUG if sentence is None else f'error: {sentence}', file=sys.stderr)
        sys.exit(1)


@contextmanager
def saying_on_interrupt(advice: str) -> Iterator[None]:
    """Print how to go on, unless it is '', if the user interrupts the program."""
    try:
        yield
    except KeyboardInterrupt:
        if advice:
            print(f'\nInterrupted. {advice}', file=sys.stderr)
        raise
