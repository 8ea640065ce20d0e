"""The questions that a table may ask, by name."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from samat_mm.tables.verdict.answer import Answer
from samat_mm.tables.verdict.gains import confidence, distance, radius, strength, transfer
from samat_mm.tables.verdict.properties import calibration, cost, flatness, sanity


@dataclass(frozen=True)
class Question:
    """A question.

    Attributes:
        text: The question.
        answer: Returns the answer, from a comparison and the question's settings in the file of the table.
    """

    text: str
    answer: Callable[..., Answer]


QUESTIONS: Mapping[str, Question] = {
    'strength': Question('Does the gain survive a stronger attack?', strength),
    'radius': Question('Does the gain survive a larger radius?', radius),
    'confidence': Question('Does the gain survive equal confidence?', confidence),
    'distance': Question('Are errors farther away?', distance),
    'transfer': Question('Are its own gradients the best attack on it, rather than those of its twin?', transfer),
    'calibration': Question('How confident and how well calibrated are the models?', calibration),
    'flatness': Question('Are flatter models more robust?', flatness),
    'sanity': Question('Does PGD pass the sanity checks on every model?', sanity),
    'cost': Question('What does the gain cost, compared with adversarial training?', cost),
}
