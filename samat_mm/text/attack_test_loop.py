"""A test under attacks on words that can be killed at any moment and then continues where it stopped."""

import math
import sys
from collections.abc import Mapping, Sequence
from importlib import metadata
from typing import Any, ClassVar

import numpy as np
from mmengine.registry import LOOPS

from samat_mm.engine.loops import EvaluationLoop
from samat_mm.errors import InputError
from samat_mm.evaluation.attack_run import CLEAN
from samat_mm.evaluation.evaluation_result import EvaluationResult, flat_metrics
from samat_mm.evaluation.image_score import ImageScore
from samat_mm.evaluation.images import first_item
from samat_mm.evaluation.metric_copies import copied_evaluator, evaluator_for
from samat_mm.model_state import unwrapped
from samat_mm.tasks import Classification, task_of
from samat_mm.text.classifier import SentenceClassifier
from samat_mm.text.digest import digest_of
from samat_mm.text.sentence_run import SentenceBatch, SentenceRun
from samat_mm.words.attacks import WordAttack

TEXT_PACKAGES = ('transformers', 'tokenizers')


@LOOPS.register_module()
class TextAttackTestLoop(EvaluationLoop):
    """Tests a classifier of sentences, clean and under attacks that replace words; see :class:`EvaluationLoop`.

    Besides the data set's metrics each attack has ``success_rate``, the share of the correctly classified sentences
    that are classified wrong after it (the paper's ASR); ``queries``, the mean number of texts that it asked the model
    about, over the same sentences; and ``changed_words``, the mean share of words that differ where it succeeded. All
    but the queries are in percent.

    Source: table 10 of the duality paper.
    """

    unit: ClassVar[str] = 'sentence'
    batch_size: ClassVar[int | None] = 1  # the attack on a sentence asks the model about many texts

    def stated(self) -> dict[str, Any]:
        """Return the versions of the packages of text models that are loaded."""
        loaded = [name for name in TEXT_PACKAGES if name in sys.modules]
        return {'packages': {name: metadata.version(name) for name in loaded}} if loaded else {}

    def run(self) -> dict[str, Any]:
        """Test, and return the metrics; those under attack have its name as a prefix: 'pso/accuracy/top1'."""
        self._refuse_other_attacks()
        model = unwrapped(self.runner.model)
        classifier = SentenceClassifier(model, self.dataloader, self.fp16)
        classifier.info(self.numbers[0])  # refuses other data before anything is done
        first = first_item(self.dataloader.dataset, self.numbers)
        task = task_of(model, [first['data_samples']], self.evaluator.metrics)
        if not isinstance(task, Classification):
            raise InputError('attacks on words need a classifier and one label for each sentence.')
        for attack in self.attacks.values():
            attack.prepare()
        self.runner.call_hook('before_test')
        self.runner.call_hook('before_test_epoch')
        self.runner.model.eval()
        runs = {CLEAN: SentenceRun(CLEAN, None, copied_evaluator(self.evaluator))}
        for name, attack in self.attacks.items():
            described = {**attack.describe(), 'digest': attack.substitutions.digest}
            runs[name] = SentenceRun(name, attack, evaluator_for(name, self.evaluator), described)
        settings = {'sentences': digest_of(self.dataloader.dataset, range(len(self.dataloader.dataset)))}
        scored = self.scored(runs, self.attacks, settings, lambda data: SentenceBatch(classifier, task, data))
        clean = scored.by_attack[CLEAN].scores
        for name in self.attacks:
            scored.by_attack[name].metrics.update(word_metrics(scored.by_attack[name].scores, clean))
        metrics = flat_metrics(scored.by_attack, self.attacks)
        self.runner.call_hook('after_test_epoch', metrics=metrics)
        self.runner.call_hook('after_test')
        found = {name: scored.by_attack[name].scores for name in (CLEAN, *self.attacks)}
        self.result = EvaluationResult(
            metrics,
            self.attacks,
            scored.by_attack,
            len(self.numbers),
            scored.folder,
            scored.resumed,
            sections={'sentences': sentences_of(found, self.numbers)},
        )
        return metrics

    def _refuse_other_attacks(self) -> None:
        for name, attack in self.attacks.items():
            if not isinstance(attack, WordAttack):
                raise InputError(f'{name} does not replace words, so it cannot attack sentences; take pso or iga.')


def word_metrics(scores: Sequence[ImageScore], clean: Sequence[ImageScore]) -> dict[str, float]:
    """Return the success rate and what it took, NaN where there is nothing to average; see the loop.

    Args:
        scores: the scores of the sentences under an attack.
        clean: the scores of the same sentences without one.
    """
    right = [score for score, before in zip(scores, clean, strict=True) if before.wrong == 0]
    fooled = [score for score in right if score.wrong > 0]
    return {
        'success_rate': 100 * len(fooled) / len(right) if right else math.nan,
        'queries': _mean([score.forwards for score in right]),
        'changed_words': _mean([score.more['changed'] for score in fooled]),
    }


def sentences_of(found: Mapping[str, Sequence[ImageScore]], numbers: Sequence[int]) -> list[dict[str, Any]]:
    """Return every sentence and what the attacks made of it, for the report.

    Args:
        found: the scores by attack, the clean sentences among them.
        numbers: the numbers of the sentences in the data set.
    """
    return [
        {
            'number': number,
            'text': found[CLEAN][row].more['text'],
            'wrong': bool(found[CLEAN][row].wrong),
            'attacked': {
                name: {'text': scores[row].more['text'], 'wrong': bool(scores[row].wrong)}
                for name, scores in found.items()
                if name != CLEAN
            },
        }
        for row, number in enumerate(numbers)
    ]


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else math.nan
