"""What reports and comparisons can be saved as."""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from samat_mm.errors import InputError, MissingPackageError
from samat_mm.files.outputs import write_text

SUFFIXES = ('.json', '.html', '.tex', '.csv')


def refuse_format(path: str | Path) -> None:
    """Refuse a file whose suffix names no format.

    Raises:
        ValueError: listing the known ones.
    """
    if Path(path).suffix.lower() not in SUFFIXES:
        raise InputError(f'a report is saved as {", ".join(SUFFIXES[:-1])} or {SUFFIXES[-1]}; got {str(path)!r}.')


def write(path: str | Path, text: str) -> None:
    """Write a file whole or not at all; its folder is made if necessary.

    Raises:
        OSError: if it cannot be written.
    """
    write_text(Path(path), text)


def csv_of(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return a line with the keys of the rows, and a line for each row; None is empty."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator='\n')
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def to_frame(rows: Sequence[Mapping[str, Any]]) -> Any:
    """Return rows as a ``pandas.DataFrame``.

    Raises:
        ImportError: if pandas is not installed.
    """
    try:
        import pandas
    except ImportError as error:
        raise MissingPackageError(
            'to_frame() needs pandas, which is not installed; run `pip install pandas`, or use rows().'
        ) from error
    return pandas.DataFrame(list(rows))
