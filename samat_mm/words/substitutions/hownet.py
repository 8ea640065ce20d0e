"""Substitutions by the sememes of HowNet."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from samat_mm.compat import load_pickle_bytes
from samat_mm.words.substitutions.base import Substitution
from samat_mm.words.substitutions.files import damaged
from samat_mm.words.substitutions.one_file import OneFile

NAMES = {'noun': 'noun', 'verb': 'verb', 'adjective': 'adj', 'adverb': 'adv'}  # in the file


@dataclass(frozen=True, repr=False)
class HowNet(OneFile):
    """The words with the same sememes, the smallest units of meaning, in HowNet; all have the distance 0.

    Source: Zang et al., ACL 2020. TextAttack distributes their candidates as
    ``transformations/hownet/word_candidates_sense.pkl``, a pickle of ``{word: {'noun': [word, ...], 'verb': ..., 'adj':
    ..., 'adv': ...}}``. It is read as plain data: a pickle that would run something is refused.

    Args:
        file: that file.
    """

    advice: ClassVar[str] = "give the path of TextAttack's word_candidates_sense.pkl"

    file: str | Path

    def __call__(self, word: str, part_of_speech: str | None = None) -> list[Substitution]:
        """Return the words with the same sememes."""
        entry = self._table.get(word, {})
        names = NAMES.values() if part_of_speech is None else [NAMES[part_of_speech]]
        found = [new for name in names for new in entry.get(name, ()) if new != word]
        return [(new, 0.0) for new in dict.fromkeys(found)]

    @cached_property
    def _table(self) -> dict[str, dict[str, list[str]]]:
        table = load_pickle_bytes(self._content, str(self.file))
        if not isinstance(table, dict) or not all(_is_entry(*item) for item in table.items()):
            raise damaged(Path(self.file), 'not the substitutions of words by part of speech')
        return table


def _is_entry(word: Any, entry: Any) -> bool:
    return (
        isinstance(word, str)
        and isinstance(entry, dict)
        and all(isinstance(new, (list, tuple)) and all(isinstance(one, str) for one in new) for new in entry.values())
    )
