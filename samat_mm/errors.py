"""Mistakes that a user can mend, each said in one sentence: what was expected, what came, what to do.

Every error that samat-mm raises on purpose is a :class:`UserError`, and at the same time the built-in error that a
caller would expect. The command line tools print its sentence; anything else is a bug, whose traceback they show.
"""


class UserError(Exception):
    """What all errors of samat-mm's own are.

    A process of a data loader hands on the type of an error and its printed trace. From these torch makes another
    error, and passes the trace as ``message`` to types that have such an attribute. The sentence ends the trace.

    Args:
        said: the sentence.
        message: the trace of such an error, in place of the sentence; it is kept as the cause.
    """

    message = 'the trace is passed by this name'

    def __init__(self, *said: object, message: str | None = None) -> None:
        if message is not None:
            name = f'{type(self).__module__}.{type(self).__qualname__}: '
            said = (message.rpartition(f'\n{name}')[2].strip(),)
            self.__cause__ = RuntimeError(message)
        super().__init__(*said)


class InputError(UserError, ValueError):
    """A value, a parameter or a file's content that does not fit."""


class MissingFileError(UserError, FileNotFoundError):
    """A file or folder that does not exist."""


class FileError(UserError, OSError):
    """A file that cannot be read or written."""


class NonFiniteError(UserError, FloatingPointError):
    """A number that is NaN or infinite, with which no result could be trusted."""


class UnsupportedError(UserError, TypeError):
    """A model, a batch or an object of a kind that cannot be worked with."""


class StepError(UserError, RuntimeError):
    """A training step that does not do what a perturbation relies on."""


class MissingPackageError(UserError, ModuleNotFoundError):
    """An optional package that is not installed."""
