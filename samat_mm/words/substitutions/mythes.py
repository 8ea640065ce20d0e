"""Substitutions from a thesaurus in the format of MyThes."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar

from samat_mm.words.substitutions.base import Substitution
from samat_mm.words.substitutions.files import damaged
from samat_mm.words.substitutions.one_file import OneFile

NAMES = {'noun': '(noun)', 'verb': '(verb)', 'adjective': '(adj)', 'adverb': '(adv)'}  # in the file


@dataclass(frozen=True, repr=False)
class MyThes(OneFile):
    """The synonyms of a word in a thesaurus of LibreOffice, sense by sense; all have the distance 0.

    Terms that the file marks as more general, related, similar or opposite are left out. The thesaurus has lemmas: an
    inflected word has synonyms only where the thesaurus has an entry for it.

    Source: the format of MyThes 1 (the encoding; then for each word ``word|senses``, and for each sense ``(part of
    speech)|synonym|...``). Debian's package mythes-en-us has such a file, made of WordNet.

    Args:
        file: the file whose name ends in ``.dat``.
    """

    advice: ClassVar[str] = 'give the path of a thesaurus, or install one with: apt install mythes-en-us'

    file: str | Path = '/usr/share/mythes/th_en_US_v2.dat'

    def __call__(self, word: str, part_of_speech: str | None = None) -> list[Substitution]:
        """Return the synonyms of a word."""
        found: dict[str, None] = {}
        for sense in self._senses.get(word, ()):
            name, *terms = sense.split('|')
            if part_of_speech is None or name == NAMES[part_of_speech]:
                found |= dict.fromkeys(terms)
        return [(term, 0.0) for term in found if term != word and term.isalpha()]

    @cached_property
    def _senses(self) -> dict[str, list[str]]:
        """Return the lines of the senses of each word."""
        file = Path(self.file)
        encoding, _, text = self._content.partition(b'\n')
        try:
            lines = text.decode(encoding.decode('ascii').strip()).splitlines()
        except (LookupError, ValueError) as error:
            raise damaged(file, error) from error
        if not lines:
            raise damaged(file, 'no words')
        senses: dict[str, list[str]] = {}
        position = 0
        while position < len(lines):
            word, _, count = lines[position].partition('|')
            if not count.isdecimal() or position + int(count) >= len(lines):
                raise damaged(file, f'line {position + 2} does not state the number of senses that follow')
            senses[word] = lines[position + 1 : position + 1 + int(count)]
            position += 1 + int(count)
        return senses
