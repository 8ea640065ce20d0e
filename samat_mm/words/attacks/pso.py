"""Particle swarm optimisation over the words of a sentence."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from samat_mm.perturbations.checks import whole_number
from samat_mm.words.attacks.base import WordAttack, WordProblem
from samat_mm.words.attacks.replacements import Replacements
from samat_mm.words.attacks.victim import Scored, best_of
from samat_mm.words.parts_of_speech import Tagger
from samat_mm.words.sentence import Sentence

FIRST_SHARE, LAST_SHARE = 0.8, 0.2  # of the inertia, and the probability of a move towards a particle's own best
FASTEST = 3.0  # a velocity


@dataclass(frozen=True, repr=False)
class PSO(WordAttack):
    """Particle swarm optimisation over the words of a sentence.

    A particle is a sentence. Its velocity in word d, ``v_d <- w v_d + (1 - w) (I(x_d, own_d) + I(x_d, common_d))``,
    compares it with the best sentence that it and that all particles have been; I is -3 where the words agree and 3
    where they differ. A move takes each word from the particle with probability ``sigmoid(v_d)`` and from the best
    sentence otherwise: from the particle's own best with a probability that falls from 0.8 to 0.2 over the iterations,
    as the inertia w does, and from the common best with one that rises from 0.2 to 0.8. A particle then mutates with
    probability ``1 - 2 (share of its words that differ from the original)``: of the best replacement of each word, one
    is drawn in proportion to what it gains. A word is replaced once at most.

    Source: Zang et al., Word-level textual adversarial attacking as combinatorial optimization, ACL 2020. The search is
    TextAttack 0.3.11's, which follows the released code; the paper writes I with 1 and -1, the other way round. Without
    a tagger, substitutions of every part of speech of a word are considered.

    Args:
        substitutions: the words that may replace a word: a source such as ``WordNet()`` or its config.
        population: number of particles.
        iterations: number of times that the particles move.
        tagger: finds the part of speech of each word: 'pattern' or a function; None for all that a word can be.
        seed: seed of the moves.
    """

    substitutions: Any
    population: int = 60
    iterations: int = 20
    tagger: str | Tagger | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        whole_number(self.population, 'population')
        whole_number(self.iterations, 'iterations')

    def replacements(self, sentence: Sentence, parts: list[str | None]) -> Replacements:
        """Return all substitutions, whatever their distance."""
        return Replacements(sentence, parts, self.substitutions)

    def search(self, problem: WordProblem) -> Scored:
        """Return the first error among the particles, or the best sentence that they have been."""
        random, words = problem.random, len(problem.original.sentence.words)
        particles = _mutated(problem, [problem.original] * self.population, list(random.random_sample(self.population)))
        velocities = np.repeat(random.uniform(-FASTEST, FASTEST, self.population)[:, None], words, axis=1)
        own, common = particles, best_of(particles)
        for step in range(self.iterations):
            if common.error:
                break
            passed = step / self.iterations * (FIRST_SHARE - LAST_SHARE)
            inertia, chances = FIRST_SHARE - passed, (FIRST_SHARE - passed, LAST_SHARE + passed)
            moved = []
            for particle, best, velocity in zip(particles, own, velocities, strict=True):
                pull = _pull(particle.sentence, best.sentence) + _pull(particle.sentence, common.sentence)
                velocity[:] = inertia * velocity + (1 - inertia) * pull
                moved.append(_moved(particle.sentence, (best.sentence, common.sentence), velocity, chances, random))
            particles = problem.victim.scored(moved)
            if not best_of(particles).error:
                particles = _mutated(problem, particles, _mutations(problem, particles))
            own = [now if now.score > best.score else best for now, best in zip(particles, own, strict=True)]
            top = best_of(particles)
            common = top if top.error or top.score > common.score else common
        return common


def _pull(sentence: Sentence, best: Sentence) -> np.ndarray:
    """Return what the best sentence adds to the velocity in each word."""
    return np.where(np.array(sentence.words) == np.array(best.words), -FASTEST, FASTEST)


def _moved(
    sentence: Sentence,
    goals: Sequence[Sentence],
    velocity: np.ndarray,
    chances: Sequence[float],
    random: np.random.RandomState,
) -> Sentence:
    """Return a sentence after it moved towards each of the goals, if it does."""
    stays = 1 / (1 + np.exp(-velocity))
    for goal, chance in zip(goals, chances, strict=True):
        if random.uniform() < chance:
            kept = random.uniform(size=len(velocity)) < stays
            sentence = goal.replaced({index: sentence.words[index] for index in np.flatnonzero(kept).tolist()})
    return sentence


def _mutations(problem: WordProblem, particles: Sequence[Scored]) -> list[float | None]:
    """Return for each particle the random number that decides its mutation, None if it does not mutate."""
    original, random = problem.original.sentence, problem.random
    shares = [len(particle.sentence.changed(original)) / len(original.words) for particle in particles]
    return [random.random_sample() if random.uniform() < 1 - 2 * share else None for share in shares]


def _mutated(problem: WordProblem, particles: Sequence[Scored], draws: Sequence[float | None]) -> list[Scored]:
    """Return the particles after one replacement each; the model is asked about all of them at once.

    Args:
        problem: what the search works on.
        particles: the particles.
        draws: a number in [0, 1) per particle, which decides on the replacement; None for no replacement.
    """
    mutating = {
        particle.sentence: particle for particle, draw in zip(particles, draws, strict=True) if draw is not None
    }
    neighbours = {sentence: _neighbours(problem, sentence) for sentence in mutating}
    problem.victim.scored([near for by_word in neighbours.values() for nearest in by_word for near in nearest])
    steps = {sentence: _steps(problem, particle, neighbours[sentence]) for sentence, particle in mutating.items()}
    return [
        particle if draw is None else _drawn(*steps[particle.sentence], draw)
        for particle, draw in zip(particles, draws, strict=True)
    ]


def _neighbours(problem: WordProblem, sentence: Sentence) -> list[list[Sentence]]:
    """Return by word the sentences that replace it; none for a word that was replaced before."""
    changed = sentence.changed(problem.original.sentence)
    return [
        [] if index in changed else problem.replacements.of(sentence, index) for index in range(len(sentence.words))
    ]


def _steps(
    problem: WordProblem, particle: Scored, neighbours: Sequence[Sequence[Sentence]]
) -> tuple[list[Scored], np.ndarray]:
    """Return the best replacement of each word, the particle itself where there is none, and their probabilities."""
    best = [
        max(problem.victim.scored(nearest), key=lambda scored: scored.score) if nearest else particle
        for nearest in neighbours
    ]
    gains = np.maximum([step.score - particle.score for step in best], 0)
    return best, (gains if gains.any() else np.ones(len(gains))) / (gains.sum() or len(gains))


def _drawn(steps: Sequence[Scored], probabilities: np.ndarray, draw: float) -> Scored:
    """Return the step that a number in [0, 1) stands for, as ``RandomState.choice`` does."""
    bounds = probabilities.cumsum()
    return steps[int((bounds / bounds[-1]).searchsorted(draw, side='right'))]
