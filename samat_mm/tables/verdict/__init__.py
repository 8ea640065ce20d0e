"""What a table says about the paper's claim: one sentence for each question, with the numbers behind it."""

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

from samat_mm.tables.evidence import Evidence
from samat_mm.tables.table import Table
from samat_mm.tables.verdict.answer import Answer
from samat_mm.tables.verdict.comparison import Comparison, comparison_of
from samat_mm.tables.verdict.questions import QUESTIONS


def answers_of(table: Table, found: Mapping[str, Mapping[int, Evidence]]) -> list[dict[str, Any]]:
    """Return the answers to the table's questions, as plain containers.

    Args:
        table: The table.
        found: By the key of a row and by seed, what is known about the training.
    """
    if not table.questions:
        return []
    comparison = comparison_of(table, found)
    return [asdict(_answer(comparison, dict(question))) for question in table.questions]


def _answer(comparison: Comparison | None, question: dict[str, Any]) -> Answer:
    asked = QUESTIONS[question.pop('ask')]
    if comparison is None:
        return Answer('missing', 'The trainings that it compares are not finished.', question=asked.text)
    return replace(asked.answer(comparison, **question), question=asked.text)
