"""An attack on every sentence of a data set, and how its changed sentences are scored and kept."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from mmengine.evaluator import Evaluator

from samat_mm.evaluation.image_score import ImageScore, judge, metric_results
from samat_mm.tasks import Task
from samat_mm.text.classifier import SentenceClassifier
from samat_mm.words.attacks import WordAttack, WordAttackResult
from samat_mm.words.sentence import Sentence


@dataclass(frozen=True)
class SentenceBatch:
    """Sentences of a data set in front of a model.

    Attributes:
        classifier: the model as a function of text.
        task: its task.
        data: the batch as the data set gave it.
    """

    classifier: SentenceClassifier
    task: Task
    data: Mapping[str, Any]

    def check(self) -> None:
        """Check nothing: attacks on words see the predictions that are scored."""

    def subset(self, rows: Sequence[int]) -> Self:
        """Return the batch of some of the sentences."""
        data = {key: [values[row] for row in rows] for key, values in self.data.items()}
        return type(self)(self.classifier, self.task, data)

    def single(self, row: int) -> dict[str, Any]:
        """Return one sentence as a batch of the data set, for metrics."""
        return {key: [values[row]] for key, values in self.data.items()}


@dataclass(frozen=True)
class SentenceRun:
    """One attack on every sentence, or none.

    Attributes:
        name: the name under which its scores are kept.
        attack: None leaves the sentences as they are.
        evaluator: the metrics of this run alone.
        settings: the parameters that its scores depend on.
    """

    name: str
    attack: WordAttack | None
    evaluator: Evaluator
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def aims_at_logits(self) -> bool:
        """Whether the attack follows logits that are not those of ``predict``: never."""
        return False

    @property
    def records(self) -> list[str]:
        """Names of the stored scores."""
        return [self.name]

    def run(self, batch: SentenceBatch, numbers: Sequence[int]) -> tuple[list[Any], dict[str, dict[int, ImageScore]]]:
        """Attack and score sentences, one after the other.

        Args:
            batch: the sentences.
            numbers: their numbers in the data set.

        Returns:
            The predictions, and the scores by record and number of the sentence.
        """
        predictions, scores = [], {}
        for row, number in enumerate(numbers):
            start, info = time.perf_counter(), batch.classifier.info(number)
            found = None if self.attack is None else self._attacked(batch, info, number)
            text = info['text'] if found is None else found.sentence.text
            (prediction,) = batch.classifier.predictions([{**info, 'text': text}])
            scores[number] = ImageScore(
                results=metric_results(self.evaluator, batch.single(row), prediction),
                forwards=0.0 if found is None else float(found.queries),
                seconds=time.perf_counter() - start,
                sizes=((), ()),
                more={'text': text, **({} if found is None else changes_of(found))},
                **judge(batch.task, prediction),
            )
            predictions.append(prediction)
        return predictions, {self.name: scores}

    def _attacked(self, batch: SentenceBatch, info: Mapping[str, Any], number: int) -> WordAttackResult:
        """Return what the attack makes of a sentence."""
        assert self.attack is not None
        sample = batch.classifier.predictions([info])[0]
        label = int(batch.task.target([sample], sample.gt_label.device)[0])

        def probabilities(texts: Sequence[str]) -> Any:
            return batch.classifier.probabilities([{**info, 'text': text} for text in texts])

        return self.attack(probabilities, Sentence.of(info['text']), label, number)


def changes_of(found: WordAttackResult) -> dict[str, float]:
    """Return the share of the words that an attack has changed, in percent."""
    words = len(found.sentence.words)
    return {'changed': 100 * len(found.changed) / words if words else 0.0}
