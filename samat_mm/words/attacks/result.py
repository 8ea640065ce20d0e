"""What an attack on a sentence found."""

from dataclasses import dataclass

from samat_mm.words.sentence import Sentence


@dataclass(frozen=True)
class WordAttackResult:
    """What an attack on one sentence found.

    Args:
        sentence: the adversarial sentence; where the attack failed, the one with the lowest probability of the label
            among those that the search ended with, or the original.
        success: whether the model, which was right, errs on it.
        queries: number of different texts that the model was asked about, the original one among them.
        changed: indices of the words that differ from the original.
        probability: the model's probability of the label, on ``sentence``.
    """

    sentence: Sentence
    success: bool
    queries: int
    changed: tuple[int, ...]
    probability: float

    @property
    def share_changed(self) -> float:
        """The share of the words that differ; 0 for a sentence without words."""
        return len(self.changed) / max(len(self.sentence.words), 1)
