"""How the command line tools end on an error."""

import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

from samat_mm.command_line.sentences import sentence_of

DEBUG_VARIABLE = 'SAMAT_MM_DEBUG'
BUG = 'If this comes from samat-mm rather than from code of your own, please report it with the traceback above.'
INTERRUPTED = 130  # as shells have it


@contextmanager
def errors_as_sentences() -> Iterator[None]:
    """End the program with status 1 on an error: with one sentence if a user can mend it.

    A bug, of the package's or of the user's own code, keeps its traceback. ``SAMAT_MM_DEBUG=1`` shows where the other
    errors came from, too. Interrupted from the keyboard, the program ends quietly with status 130.
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
