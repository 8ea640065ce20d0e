"""The improved genetic algorithm over the words of a sentence."""

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from samat_mm.errors import InputError
from samat_mm.perturbations.checks import non_negative, share, whole_number
from samat_mm.words.attacks.base import WordAttack, WordProblem
from samat_mm.words.attacks.replacements import Replacements
from samat_mm.words.attacks.victim import Scored, best_of
from samat_mm.words.parts_of_speech import Tagger
from samat_mm.words.sentence import Sentence


class Member(NamedTuple):
    """A member of the population.

    Attributes:
        scored: its sentence and score.
        left: how often each word may still be replaced.
    """

    scored: Scored
    left: np.ndarray


@dataclass(frozen=True, repr=False)
class IGA(WordAttack):
    """The improved genetic algorithm over the words of a sentence.

    The first population has one member per word, in which that word is replaced by its best substitution. In each
    iteration the best member stays, and the others are children of two random members, cut at the same random word. Of
    a child, random words are tried until the best substitution of one makes the model less sure. A substitution may be
    replaced again, and then has to be close to the word before, not to the original. A word without substitutions stays
    in the draw, and one try is lost each time it is drawn.

    Source: Wang et al., Natural language adversarial defense through synonym encoding, UAI 2021 (arXiv 1909.06723);
    Alzantot et al., EMNLP 2018. The search is TextAttack 0.3.11's, which the duality paper used. There, unlike in the
    papers, parents are drawn with a *smaller* probability the better they are (``temperature=0.3`` draws as they do),
    and a random word takes the place of the first one in the first population. Unlike TextAttack's, the search does not
    ignore the children of the last iteration, and a child with too many replacements is drawn again
    (``crossover_retries=None`` keeps it, as TextAttack's recipe does, which so exceeds its own limit).

    Args:
        substitutions: the words that may replace a word: a source such as ``WordNet()`` or its config.
        population: largest number of members; the sentence has one per word, for its first words where it has more.
        iterations: number of generations.
        replacements_per_word: how often the same word may be replaced in one line of descent.
        share_of_words: share of the words that may differ from the original, rounded up to whole words: 0.2 of 6
            words are 2.
        max_distance: largest distance of a substitution from the word that it replaces, for sources that measure one.
        candidates: substitutions of a word that are considered, the nearest ones; None for all.
        temperature: members are parents with a probability proportional to ``exp(score / temperature)``.
        crossover_retries: how often a child with too many replacements is drawn again before one of its parents takes
            its place; None to keep it.
        tagger: finds the part of speech of each word: 'pattern' or a function; None for all that a word can be.
        seed: seed of the crossovers.
    """

    substitutions: Any
    population: int = 60
    iterations: int = 20
    replacements_per_word: int = 5
    share_of_words: float = 0.2
    max_distance: float | None = 0.5
    candidates: int | None = 50
    temperature: float = -0.3
    crossover_retries: int | None = 20
    tagger: str | Tagger | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ('population', 'iterations', 'replacements_per_word'):
            whole_number(getattr(self, name), name)
        self._settle(share_of_words=share(self.share_of_words, 'share_of_words'))
        if self.max_distance is not None:
            self._settle(max_distance=non_negative(self.max_distance, 'max_distance'))
        if self.candidates is not None:
            whole_number(self.candidates, 'candidates')
        if self.crossover_retries is not None:
            whole_number(self.crossover_retries, 'crossover_retries', least=0)
        self._settle(temperature=_temperature(self.temperature))

    def replacements(self, sentence: Sentence, parts: list[str | None]) -> Replacements:
        """Return the nearest substitutions."""
        return Replacements(sentence, parts, self.substitutions, self.candidates, self.max_distance)

    def search(self, problem: WordProblem) -> Scored:
        """Return the first error at the head of a population, or the best member of the last one."""
        sentence, words = problem.original.sentence, range(len(problem.original.sentence.words))
        left = np.full(len(words), self.replacements_per_word)
        members = [self._improved(problem, sentence, left)]  # of a random word instead of the first, see above
        others = words[1 : self.population]
        problem.victim.scored([near for word in others for near in self._options(problem, sentence, word)])
        members += [self._improved(problem, sentence, left, word) for word in others]
        for _ in range(self.iterations):
            members = sorted(members, key=lambda member: member.scored.score, reverse=True)
            if best_of([member.scored for member in members]).error:
                break
            members = [members[0], *self._children(problem, members)]
        return best_of([member.scored for member in members])

    def _children(self, problem: WordProblem, members: Sequence[Member]) -> list[Member]:
        """Return the members of the next population but for the best one."""
        scores = np.array([member.scored.score for member in members])
        best = scores.max() if self.temperature > 0 else scores.min()  # whose weight is 1, so that none overflows
        weights = np.exp((scores - best) / self.temperature)
        count, chances = len(members) - 1, weights / weights.sum()
        first, second = (problem.random.choice(len(members), count, p=chances) for _ in range(2))
        pairs = [(members[one], members[other]) for one, other in zip(first, second, strict=True)]
        return [self._improved(problem, *self._crossed(problem, *pair)) for pair in pairs]

    def _crossed(self, problem: WordProblem, first: Member, second: Member) -> tuple[Sentence, np.ndarray]:
        """Return a child of two members: the words before a random one from the first, and the rest from the second."""
        for _ in range(1 + (self.crossover_retries or 0)):
            cut = problem.random.randint(len(first.left))
            tail = enumerate(second.scored.sentence.words[cut:], cut)
            child = first.scored.sentence.replaced(dict(tail))
            if self.crossover_retries is None or self._allowed(problem, child):
                return child, np.concatenate([first.left[:cut], second.left[cut:]])
        parent = first if problem.random.uniform() < 0.5 else second
        return parent.scored.sentence, parent.left

    def _improved(self, problem: WordProblem, sentence: Sentence, left: np.ndarray, index: int | None = None) -> Member:
        """Return a member after the best replacement of one word, if it makes the model less sure.

        Args:
            problem: what the search works on.
            sentence: the sentence of the member.
            left: how often each of its words may still be replaced.
            index: the word; None to try random ones until a replacement helps.
        """
        weights = left.astype(float)
        for _ in range(np.count_nonzero(weights) if index is None else 1):
            word = self._random_word(problem, weights) if index is None else index
            scored, *found = problem.victim.scored([sentence, *self._options(problem, sentence, word)])
            if not found:
                continue
            best = max(found, key=lambda candidate: candidate.score)
            if best.score > scored.score:
                return Member(best, left - (np.arange(len(left)) == word))
            weights[word] = 0
        (scored,) = problem.victim.scored([sentence])
        return Member(scored, left)

    def _options(self, problem: WordProblem, sentence: Sentence, word: int) -> list[Sentence]:
        """Return what replacing a word gives, but for sentences with too many replacements."""
        return [near for near in problem.replacements.of(sentence, word) if self._allowed(problem, near)]

    @staticmethod
    def _random_word(problem: WordProblem, weights: np.ndarray) -> int:
        return int(problem.random.choice(len(weights), 1, p=weights / weights.sum())[0])

    def _allowed(self, problem: WordProblem, sentence: Sentence) -> bool:
        """Tell whether few enough words differ from the original."""
        original = problem.original.sentence
        return len(sentence.changed(original)) <= math.ceil(len(original.words) * self.share_of_words)


def _temperature(value: float) -> float:
    """Return a temperature as a float; ValueError if it is 0 or not a finite number."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < abs(value) <= sys.float_info.max:
        raise InputError(
            'temperature must be a finite number and not 0, such as -0.3, which draws parents as TextAttack does, '
            f'or 0.3, as the papers do; got {value!r}.'
        )
    return float(value)
