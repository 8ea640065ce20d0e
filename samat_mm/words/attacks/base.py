"""The base of every attack on words."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np

from samat_mm.errors import InputError
from samat_mm.perturbations.checks import one_of, whole_number
from samat_mm.perturbations.parametrized import Parametrized, SeededAttack
from samat_mm.registry import SUBSTITUTIONS
from samat_mm.words.attacks.replacements import Replacements
from samat_mm.words.attacks.result import WordAttackResult
from samat_mm.words.attacks.victim import Predict, Scored, Victim
from samat_mm.words.parts_of_speech import TAGGERS, Tagger
from samat_mm.words.sentence import Sentence
from samat_mm.words.substitutions import PARTS_OF_SPEECH, Substitutions

LARGEST_SEED = 2**32 - 1


@dataclass(frozen=True)
class WordProblem:
    """What a search works on.

    Args:
        victim: the model.
        original: the sentence, which the model gets right.
        replacements: what one replacement makes of a sentence.
        random: the random numbers.
    """

    victim: Victim
    original: Scored
    replacements: Replacements
    random: np.random.RandomState


class WordAttack(SeededAttack, ABC):
    """The search for a replacement of words after which a classifier errs.

    A subclass is a frozen dataclass, whose fields are the parameters; one out of its range is refused with a ValueError
    when the attack is made, which reads no file. An attack never holds a model.

    Attributes:
        substitutions: the words that may replace a word: a :class:`Substitutions` or its config.
        tagger: finds the part of speech of each word, which its substitutions then share: 'pattern' or a function
            of a module, see :mod:`samat_mm.words.parts_of_speech`; None for every part of speech that a word can be.
        seed: the random numbers of sentence i come from (seed, i) alone.
    """

    substitutions: Substitutions
    tagger: str | Tagger | None

    def __post_init__(self) -> None:
        source = SUBSTITUTIONS.build(self.substitutions)
        if not isinstance(source, Substitutions):
            raise InputError(f'substitutions must be a source such as WordNet(); got {source!r}.')
        self._settle(substitutions=source)
        if isinstance(self.tagger, str):
            one_of(self.tagger, list(TAGGERS), 'tagger')
        elif self.tagger is not None and not callable(self.tagger):
            raise InputError(f'tagger must be the name of one, a function or None; got {self.tagger!r}.')
        elif '<' in getattr(self.tagger, '__qualname__', ''):
            raise InputError(
                f'tagger must be a function of a module, which a report can name; got {self.tagger!r}. Define it at '
                'the top level of a module.'
            )
        if isinstance(self.seed, bool) or not isinstance(self.seed, int) or not 0 <= self.seed <= LARGEST_SEED:
            raise InputError(f'seed must be a whole number from 0 to {LARGEST_SEED}; got {self.seed!r}.')

    def prepare(self) -> None:
        """Read the substitutions and the tagger, so that what is missing is found before any work.

        Raises:
            OSError: if a file is missing or cannot be read.
            ValueError: if a file is damaged.
            ImportError: if the package of the tagger is not installed.
        """
        self.substitutions.load()
        self._parts(Sentence.of(''))

    def __call__(self, predict: Predict, sentence: Sentence, label: int, index: int = 0) -> WordAttackResult:
        """Attack one sentence. One that the model gets wrong, or in which nothing can be replaced, comes back as it is.

        Args:
            predict: the model, from a list of texts to an array of class probabilities, shape (N, K).
            sentence: the sentence.
            label: its class.
            index: its number in the data set.

        Raises:
            ValueError: if predict does not return class probabilities, the tagger no parts of speech, or the index is
                not a whole number of at least 0.
            FloatingPointError: if they are not finite.
        """
        whole_number(index, 'index', least=0)
        victim = Victim(predict, label)
        (original,) = victim.scored([sentence])
        replacements = self.replacements(sentence, self._parts(sentence))
        found = original
        if not original.error and any(replacements.of(sentence, position) for position in range(len(sentence.words))):
            found = self.search(WordProblem(victim, original, replacements, np.random.RandomState([self.seed, index])))
        return WordAttackResult(
            sentence=found.sentence,
            success=found.error and not original.error,
            queries=victim.queries,
            changed=found.sentence.changed(sentence),
            probability=1 - found.score,
        )

    @abstractmethod
    def search(self, problem: WordProblem) -> Scored:
        """Return the best sentence found; at least one word can be replaced."""

    @abstractmethod
    def replacements(self, sentence: Sentence, parts: list[str | None]) -> Replacements:
        """Return what may replace the words of a sentence, given their parts of speech."""

    def _parts(self, sentence: Sentence) -> list[str | None]:
        """Return the part of speech of each word, None where it is unknown.

        Raises:
            ValueError: if the tagger does not give one per word, or others.
        """
        if self.tagger is None:
            return [None] * len(sentence.words)
        tagger = TAGGERS[self.tagger] if isinstance(self.tagger, str) else self.tagger
        parts = list(tagger(sentence))
        if len(parts) != len(sentence.words):
            raise InputError(
                f'a tagger must give one part of speech per word, {len(sentence.words)}; got {len(parts)}.'
            )
        if other := set(parts).difference(PARTS_OF_SPEECH, {None}):
            raise InputError(f'a tagger must give {", ".join(PARTS_OF_SPEECH)} or None; got {other.pop()!r}.')
        return parts

    @staticmethod
    def _plain(value: Any) -> Any:
        plain = Parametrized._plain(value)
        if callable(plain) and hasattr(plain, '__qualname__'):
            return f'{plain.__module__}.{plain.__qualname__}'
        return str(plain) if callable(plain) else plain
