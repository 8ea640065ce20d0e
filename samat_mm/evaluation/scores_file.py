"""A database of scores: damaged rows are recognised, and the intact rows of a damaged file are kept."""

import hashlib
import logging
import os
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from mmengine.logging import print_log

from samat_mm.errors import FileError, InputError

PATIENCE = 60.0  # seconds to wait for another process
TABLE = (
    'CREATE TABLE IF NOT EXISTS scores '
    '(attack TEXT, image INTEGER, score BLOB, digest BLOB, PRIMARY KEY (attack, image))'
)


class Row(NamedTuple):
    """The score of an image under an attack, packed."""

    attack: str
    image: int
    score: bytes

    def digest(self) -> bytes:
        """Return a checksum of the row."""
        return hashlib.blake2b(f'{self.attack}\n{self.image}\n'.encode() + self.score, digest_size=8).digest()


@contextmanager
def opened(file: Path) -> Iterator[sqlite3.Connection]:
    """Open a database, and create its table if a process died before it could.

    Raises:
        OSError: if another process holds it, or it cannot be read or written.
        ValueError: if it is damaged.
    """
    try:
        with closing(sqlite3.connect(file, timeout=PATIENCE)) as database:
            database.execute(TABLE)
            yield database
    except sqlite3.Error as error:
        _refuse_circumstances(error, file)
        raise InputError(
            f'the results in {file} are damaged ({error}); run the same command again: what is whole is kept, and the '
            'other images are scored again.'
        ) from error


def write_rows(database: sqlite3.Connection, rows: Iterable[Row]) -> None:
    """Write rows, all or none, over rows of the same image and attack."""
    with database:
        database.executemany(
            'INSERT OR REPLACE INTO scores VALUES (?, ?, ?, ?)', [(*row, row.digest()) for row in rows]
        )


def read_rows(database: sqlite3.Connection, condition: str = '', values: tuple[Any, ...] = ()) -> Iterator[Row]:
    """Return the intact rows."""
    for *columns, digest in database.execute(f'SELECT attack, image, score, digest FROM scores {condition}', values):
        row = Row(*columns)
        if isinstance(row.score, bytes) and row.digest() == digest:
            yield row


def mend(folder: Path) -> None:
    """Set damaged files of an evaluation aside, keep their intact rows, and log it. No process may be using them.

    Raises:
        OSError: if another process holds a file, or it cannot be read or written.
    """
    for file in sorted(folder.glob('scores-*.sqlite')):
        try:
            damage = _damage(file)
        except sqlite3.Error as error:
            _refuse_circumstances(error, file)
            damage = str(error)
        if damage:
            rows = _salvaged(file)
            aside = _replace(file, rows)
            print_log(
                f'{file} is damaged ({damage}). The {len(rows)} results in it that are whole are kept, the other '
                f'images are scored again; the damaged file is now {aside.name}.',
                'current',
                logging.WARNING,
            )


def _damage(file: Path) -> str:
    """Return a description of the damage of a database, empty if it is intact."""
    with closing(sqlite3.connect(file, timeout=PATIENCE)) as database:
        database.execute(TABLE)
        ((found, *_), *_) = database.execute('PRAGMA integrity_check').fetchall()
        if found != 'ok':
            return str(found).partition('\n')[0]
        if 'digest' not in _columns(database):
            return 'an older version wrote it, whose numbers may differ'
        database.execute('BEGIN IMMEDIATE')  # a damaged header may forbid to write
        database.rollback()
        (written,) = database.execute('SELECT COUNT(*) FROM scores').fetchone()
        wrong = written - sum(1 for _ in read_rows(database))
        return f'{wrong} digests do not fit' if wrong else ''


def _columns(database: sqlite3.Connection) -> list[str]:
    return [name for _, name, *_ in database.execute('PRAGMA table_info(scores)')]


def _salvaged(file: Path) -> list[Row]:
    """Return the intact rows that can be read from either end of the table."""
    found: dict[tuple[str, int], Row] = {}
    for order in ('ASC', 'DESC'):
        with suppress(sqlite3.Error), closing(sqlite3.connect(file, timeout=PATIENCE)) as database:
            database.text_factory = lambda text: text.decode(errors='replace')
            condition = f'NOT INDEXED ORDER BY rowid {order}'
            for row in read_rows(database, condition):
                found[row.attack, row.image] = row
    return list(found.values())


def _replace(file: Path, rows: list[Row]) -> Path:
    """Replace a damaged database by one with these rows, and return the new path of the damaged one."""
    partial, aside = file.with_name(f'{file.name}.partial'), file.with_name(f'{file.name}.damaged')
    partial.unlink(missing_ok=True)
    with opened(partial) as database:
        write_rows(database, rows)
    os.replace(file, aside)
    for rest in ('-journal', '-wal', '-shm'):
        with suppress(FileNotFoundError):
            os.replace(f'{file}{rest}', f'{aside}{rest}')
    os.replace(partial, file)
    return aside


def _refuse_circumstances(error: sqlite3.Error, file: Path) -> None:
    """Refuse a file that cannot be reached or written now, which is not damage.

    Raises:
        OSError: if the file cannot be reached or written now.
    """
    text = str(error)
    if 'locked' in text:
        raise FileError(f'{file} is in use by another process ({text}); wait for it and run again.') from error
    forbidden = 'readonly' in text and not (os.access(file, os.W_OK) and os.access(file.parent, os.W_OK))
    if forbidden or any(part in text for part in ('full', 'unable to open', 'disk I/O')):
        raise FileError(f'{file} cannot be read or written ({text}); make room or permit it, and run again.') from error
