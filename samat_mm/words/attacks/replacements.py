"""The sentences that one replacement makes of a sentence."""

from collections.abc import Sequence

from samat_mm.words.sentence import WORD, Sentence, in_the_case_of
from samat_mm.words.stop_words import STOP_WORDS
from samat_mm.words.substitutions import Substitutions


class Replacements:
    """The sentences that one replacement makes of a sentence.

    A stop word stays, and so does a word without substitutions. A substitution is a single word, written with the
    capitals of the word in the original sentence.

    Args:
        original: the sentence under attack.
        parts: part of speech of each of its words, or None.
        substitutions: the source.
        most: number of substitutions of a word that are considered; None for all.
        max_distance: largest distance of a substitution from the word that it replaces; None for any.
    """

    def __init__(
        self,
        original: Sentence,
        parts: Sequence[str | None],
        substitutions: Substitutions,
        most: int | None = None,
        max_distance: float | None = None,
    ) -> None:
        self.original, self._parts, self._substitutions = original, parts, substitutions
        self._most, self._max_distance = most, max_distance
        self._known: dict[tuple[str, str | None], list[str]] = {}

    def of(self, sentence: Sentence, index: int) -> list[Sentence]:
        """Return what replacing one word of a sentence gives, in alphabetical order.

        Args:
            sentence: the original sentence, with or without replacements.
            index: which word to replace.
        """
        word, model = sentence.words[index], self.original.words[index]
        words = {in_the_case_of(new, model) for new in self._words(word.lower(), self._parts[index])}
        found = (sentence.replaced({index: new}) for new in words - {word})
        return sorted(found, key=lambda replaced: replaced.text)

    def _words(self, word: str, part_of_speech: str | None) -> list[str]:
        """Return the substitutions of a word in lower case."""
        key = (word, part_of_speech)
        if key not in self._known:
            found = [] if word in STOP_WORDS else self._substitutions(word, part_of_speech)[: self._most]
            self._known[key] = [new for new, distance in found if self._near(distance) and WORD.fullmatch(new)]
        return self._known[key]

    def _near(self, distance: float) -> bool:
        return self._max_distance is None or distance <= self._max_distance
