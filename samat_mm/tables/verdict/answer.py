"""The answer to a question, and how numbers are said in it."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

VERDICTS = {'yes': 'Yes', 'no': 'No', 'undecided': 'Undecided'}


@dataclass(frozen=True)
class Answer:
    """The answer to a question.

    Attributes:
        verdict: 'yes' or 'no' if all seeds agree (at least two), 'undecided' if they do not, 'measured' where numbers
            answer it, 'missing' where there are none.
        sentence: The answer.
        columns: Names of the numbers behind it.
        rows: By name of the row, the numbers: mean, standard deviation and number of seeds.
        question: The question.
    """

    verdict: str
    sentence: str
    columns: tuple[str, ...] = ()
    rows: tuple[tuple[str, tuple[dict[str, Any], ...]], ...] = ()
    question: str = ''


def points(gains: Sequence[float]) -> str:
    """Return '+6.3 ± 0.9 points'."""
    spread = f' ± {statistics.stdev(gains):.1f}' if len(gains) > 1 else ''
    return f'{statistics.mean(gains):+.1f}{spread} points'


def listing(texts: Sequence[str]) -> str:
    """Return 'a, b and c'."""
    *first, last = texts
    return f'{", ".join(first)} and {last}' if first else last
