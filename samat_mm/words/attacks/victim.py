"""The model under attack, which is asked about every text once."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from samat_mm.errors import InputError, NonFiniteError
from samat_mm.words.sentence import Sentence

Predict = Callable[[list[str]], np.ndarray]  # from texts to class probabilities, shape (N, K)
TOLERANCE = 1e-3  # of the range and the sum of probabilities, for those in half precision


class Scored(NamedTuple):
    """A sentence and what the model makes of it.

    Attributes:
        sentence: the sentence.
        score: 1 minus the probability of the label.
        error: whether another class is the most probable one.
    """

    sentence: Sentence
    score: float
    error: bool


def best_of(found: Sequence[Scored]) -> Scored:
    """Return the first sentence with the largest score; an error comes before any other."""
    return max(found, key=lambda scored: (scored.error, scored.score))


class Victim:
    """The model as a search sees it: sentences in, scores out.

    Args:
        predict: the model, from texts to class probabilities, shape (N, K).
        label: the right class.

    Attributes:
        queries: number of different texts that the model was asked about.
    """

    def __init__(self, predict: Predict, label: int) -> None:
        self._predict, self._label = predict, label
        self._known: dict[str, tuple[float, bool]] = {}

    @property
    def queries(self) -> int:
        """Number of different texts that the model was asked about."""
        return len(self._known)

    def scored(self, sentences: Sequence[Sentence]) -> list[Scored]:
        """Return what the model makes of each sentence; it is asked about the new ones, all at once and in this order.

        Raises:
            ValueError: if the model does not return probabilities of classes, one row per text.
            FloatingPointError: if they are not finite.
        """
        fresh = list(dict.fromkeys(sentence.text for sentence in sentences if sentence.text not in self._known))
        if fresh:
            probabilities = self._checked(self._predict(fresh), len(fresh))
            errors = probabilities.argmax(1) != self._label
            scores = 1 - probabilities[:, self._label]
            self._known.update(zip(fresh, zip(scores.tolist(), errors.tolist(), strict=True), strict=True))
        return [Scored(sentence, *self._known[sentence.text]) for sentence in sentences]

    def _checked(self, output: np.ndarray, count: int) -> np.ndarray:
        probabilities = np.asarray(output, dtype=np.float64)
        if probabilities.ndim != 2 or len(probabilities) != count or not 0 <= self._label < probabilities.shape[1]:
            raise InputError(
                f'predict must return class probabilities of {count} texts, with a class {self._label}, as an array '
                f'(texts, classes); got the shape {probabilities.shape}.'
            )
        if not np.isfinite(probabilities).all():
            raise NonFiniteError('the model gave a probability that is not a finite number; check its weights.')
        sums = probabilities.sum(1)
        if (
            probabilities.min() < -TOLERANCE
            or probabilities.max() > 1 + TOLERANCE
            or np.abs(sums - 1).max() > TOLERANCE
        ):
            worst = int(np.abs(sums - 1).argmax())
            raise InputError(
                'predict must return probabilities, from 0 to 1, which add up to 1 for each text; got numbers from '
                f'{probabilities.min():.4g} to {probabilities.max():.4g}, and a text whose sum is {sums[worst]:.4g}; '
                'take the softmax of logits.'
            )
        return probabilities
