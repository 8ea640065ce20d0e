"""A sentence as words and what stands between them."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import zip_longest
from typing import Self

from samat_mm.errors import InputError

WORD = re.compile(r"(?<!\w)[^\W\d_]+(?:['\u2019\-][^\W\d_]+)*(?!\w)")  # U+2019 is the typographic apostrophe


@dataclass(frozen=True)
class Sentence:
    """A sentence, whose words can be replaced while everything between them stays.

    A word consists of letters, with apostrophes and hyphens inside it ("isn't", "far-fetched"). Numbers, and words with
    digits in them such as "21st", count as what stands between words.

    Args:
        words: the words.
        gaps: what stands before the first word, between words, and after the last one: one more than there are words.

    Example:
        >>> sentence = Sentence.of("it's a good film , and short .")
        >>> sentence.words
        ("it's", 'a', 'good', 'film', 'and', 'short')
        >>> sentence.replaced({2: 'great'}).text
        "it's a great film , and short ."
    """

    words: tuple[str, ...]
    gaps: tuple[str, ...]

    @classmethod
    def of(cls, text: str) -> Self:
        """Return the sentence of a text.

        Raises:
            ValueError: if it is not a string.
        """
        if not isinstance(text, str):
            raise InputError(f'a sentence must be a string; got {text!r}.')
        spans = [match.span() for match in WORD.finditer(text)]
        starts, ends = [start for start, _ in spans], [end for _, end in spans]
        gaps = (text[end:start] for end, start in zip([0, *ends], [*starts, len(text)], strict=True))
        return cls(tuple(text[start:end] for start, end in spans), tuple(gaps))

    @cached_property
    def text(self) -> str:
        """The sentence as one string."""
        return ''.join(part for pair in zip_longest(self.gaps, self.words, fillvalue='') for part in pair)

    def replaced(self, words: Mapping[int, str]) -> Self:
        """Return the sentence with other words.

        Args:
            words: the new words by their index, as they are to be written; see :func:`in_the_case_of` for capitals.

        Raises:
            ValueError: if there is no word of such an index.
        """
        unknown = [index for index in words if not 0 <= index < len(self.words)]
        if unknown:
            raise InputError(f'a sentence of {len(self.words)} words has no word {unknown[0]}; count from 0.')
        return type(self)(tuple(words.get(index, word) for index, word in enumerate(self.words)), self.gaps)

    def changed(self, other: 'Sentence') -> tuple[int, ...]:
        """Return the indices of the words that differ from those of another sentence of as many words."""
        pairs = zip(self.words, other.words, strict=True)
        return tuple(index for index, (own, its) in enumerate(pairs) if own != its)


def in_the_case_of(word: str, model: str) -> str:
    """Return a word in lower case, capitalised or in capitals as ``model`` is; unchanged if that is none of these."""
    if model.islower():
        return word.lower()
    if model.isupper() and len(model) > 1:
        return word.upper()
    if model[:1].isupper() and (len(model) == 1 or model[1:].islower()):
        return word[:1].upper() + word[1:].lower()
    return word
