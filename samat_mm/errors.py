"""Mistakes that a user can fix, each in one sentence: what was expected, what was given, what to do.

Every error that samat-mm raises on purpose is a :class:`UserError` and also the built-in error that a caller would
expect. The command line tools print its sentence; any other exception is a bug, and the tools show its traceback.
"""


class UserError(Exception):
    """Base class of all samat-mm errors.

    A data loader process passes on the type of an error and its printed trace. torch rebuilds the error from these, and
    passes the trace as ``message`` to types that have such an attribute. The trace ends with the sentence.

    Args:
        sentence: the error message.
        message: the printed trace, given instead of the sentence; it is kept as the cause.
    """

    message = 'the trace is passed by this name'

    def __init__(self, *sentence: object, message: str | None = None) -> None:
        if message is not None:
            name = f'{type(self).__module__}.{type(self).__qualname__}: '
            sentence = (message.rpartition(f'\n{name}')[2].strip(),)
            self.__cause__ = RuntimeError(message)
        super().__init__(*sentence)


class InputError(UserError, ValueError):
    """A value, parameter or file content that does not fit."""


class MissingFileError(UserError, FileNotFoundError):
    """A file or folder that does not exist."""


class FileError(UserError, OSError):
    """A file that cannot be read or written."""


class NonFiniteError(UserError, FloatingPointError):
    """A NaN or infinite number, which would make the result meaningless."""


class UnsupportedError(UserError, TypeError):
    """A kind of model, batch or object that is not supported."""


class StepError(UserError, RuntimeError):
    """A training step that breaks an assumption of a perturbation."""


class MissingPackageError(UserError, ModuleNotFoundError):
    """An optional package that is not installed."""
