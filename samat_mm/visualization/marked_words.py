"""Sentences under attack, with the words marked that were changed."""

from collections.abc import Mapping, Sequence
from difflib import SequenceMatcher
from typing import Any

Marked = list[tuple[str, bool]]


def marked(before: str, after: str) -> Marked:
    """Return the parts of the changed sentence, and whether each is changed.

    Example:
        >>> marked('a fine film .', 'a okay film .')
        [('a', False), ('okay', True), ('film .', False)]
    """
    old, new = before.split(), after.split()
    blocks = SequenceMatcher(None, old, new, autojunk=False).get_opcodes()
    parts = [(new[start:end], kind != 'equal') for kind, _, _, start, end in blocks if end > start]
    return [(' '.join(words), changed) for words, changed in parts]


def shown_sentences(report: Mapping[str, Any], most: int) -> list[dict[str, Any]]:
    """Return the first sentences of a report that an attack turned into errors, with the changed words marked.

    Args:
        report: the document of an evaluation.
        most: the largest number of sentences.
    """
    fooled = [entry for entry in report.get('sentences', ()) if not entry['wrong'] and _fooling(entry)]
    return [
        {
            'number': entry['number'],
            'text': entry['text'],
            'attacked': [(name, marked(entry['text'], text)) for name, text in _fooling(entry)],
        }
        for entry in fooled[:most]
    ]


def fooled(report: Mapping[str, Any]) -> int:
    """Return the number of sentences that an attack turned into errors."""
    return sum(not entry['wrong'] and bool(_fooling(entry)) for entry in report.get('sentences', ()))


def _fooling(entry: Mapping[str, Any]) -> Sequence[tuple[str, str]]:
    """Return the attacks that succeeded on a sentence, and the changed sentences."""
    return [(name, found['text']) for name, found in entry['attacked'].items() if found['wrong']]
