"""The result of an attack on a data set: its metrics, its scores image by image, and its cost."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from mmengine.evaluator import Evaluator
from mmengine.logging import print_log

from samat_mm.evaluation.attack_run import EXPORTED, members_of
from samat_mm.evaluation.image_score import ImageScore, evaluate, per_class, tables
from samat_mm.evaluation.worst_case import worst_case_of_tables
from samat_mm.perturbations.parametrized import SeededAttack


@dataclass(frozen=True)
class AttackResult:
    """The result of an attack on a data set.

    Attributes:
        metrics: the metrics by the names that the data set's own have.
        scores: the scores of the images in their order, without what the metrics kept, which may be large.
    """

    metrics: dict[str, Any]
    scores: list[ImageScore]

    @property
    def wrong(self) -> float:
        """The share of labels that are predicted wrong, the mean over the images."""
        return _mean([score.wrong for score in self.scores])

    @property
    def loss(self) -> float:
        """The cross-entropy, the mean over the images."""
        return _mean([score.loss for score in self.scores])

    @property
    def per_class(self) -> list[float | None] | None:
        """IoU, or accuracy of a classifier, of each class in [0, 1]."""
        return per_class(self.scores)

    def minimal_norms(self, clean: Sequence[ImageScore]) -> list[float] | None:
        """Return the distance of each image with a label to the error that was found, infinite where there is none.

        It is 0 for an image that is wrong without an attack. None if a distance is missing: the attack has no norm, or
        an older version wrote the scores.

        Args:
            clean: the scores of the images without an attack.
        """
        norms: list[float] = []
        for score, before in zip(self.scores, clean, strict=True):
            if math.isnan(score.wrong):
                continue
            if before.wrong == 0 and score.wrong > 0 and 'distance' not in score.more:
                return None
            norms.append(0.0 if before.wrong > 0 else score.more['distance'] if score.wrong > 0 else math.inf)
        return norms

    def cost(self) -> dict[str, float]:
        """Return the seconds in all, and the forward and backward passes for one image."""
        return {
            'seconds': sum(score.seconds for score in self.scores),
            'forwards': _mean([score.forwards for score in self.scores]),
            'backwards': _mean([score.backwards for score in self.scores]),
        }


def attack_results(
    evaluators: dict[str, Evaluator], attacks: Mapping[str, SeededAttack], read: Callable[[str], list[ImageScore]]
) -> dict[str, AttackResult]:
    """Return the results by attack; memory holds what the metrics keep of one attack at a time.

    Args:
        evaluators: the metrics of the clean images, first, and of each attack, by name; of ensembles, of the members.
        attacks: the attacks by name, ensembles among them.
        read: returns the scores under an attack.
    """
    results: dict[str, AttackResult] = {}
    for name in reversed(evaluators):  # the clean images last: whatever file a metric writes, it holds their results
        print_log(f'Metrics: {name}', 'current')
        results[name] = attack_result(evaluators[name], read(name))
    results = {name: results[name] for name in evaluators}
    for name, attack in attacks.items():
        for suffix in ('', EXPORTED):
            records = [f'{member}{suffix}' for member in members_of(name, attack)]
            members = {record: results[record] for record in records if record in results}
            if members and f'{name}{suffix}' not in members:
                print_log(f'Metrics: {name}{suffix}', 'current')
                results[f'{name}{suffix}'] = ensemble_result(evaluators[records[0]], members, read, attack.seed)
    return results


def attack_result(evaluator: Evaluator, scores: Sequence[ImageScore]) -> AttackResult:
    """Return the result of one attack on all images."""
    return AttackResult(evaluate(evaluator, scores), [replace(score, results=[]) for score in scores])


def ensemble_result(
    evaluator: Evaluator, members: Mapping[str, AttackResult], read: Callable[[str], Sequence[ImageScore]], seed: int
) -> AttackResult:
    """Return the worst of several attacks, image by image: the one with the most wrong labels.

    For label maps two aggregations are added to the metrics: ``worst_case_aAcc`` averages the lowest pixel accuracy of
    each image, ``worst_case_mIoU`` is the pooled mIoU after a greedy search; both in percent.

    Source: Croce et al., ECCV 2024, section 3.6.

    Args:
        evaluator: the data set's metrics.
        members: the results of each attack on the same images, by name.
        read: returns the scores of a member with what the metrics kept; one member after the other.
        seed: seed of the greedy search.
    """
    results = list(members.values())
    by_image = list(zip(*(result.scores for result in results), strict=True))
    chosen = [max(range(len(scores)), key=lambda member: _wrong(scores[member])) for scores in by_image]
    worst: dict[int, ImageScore] = {}
    for member, name in enumerate(members):
        worst |= {image: score for image, score in enumerate(read(name)) if chosen[image] == member}
    for image, scores in enumerate(by_image):
        for spent in ('forwards', 'backwards', 'seconds'):
            setattr(worst[image], spent, sum(getattr(score, spent) for score in scores))
    found = attack_result(evaluator, [worst[image] for image in range(len(by_image))])
    labelled = [score.wrong for score in found.scores if score.counts and score.sizes[1]]
    if labelled:
        counts = np.stack([tables(member.scores) for member in results])
        found.metrics['worst_case_aAcc'] = 100 * (1 - _mean(labelled))
        found.metrics['worst_case_mIoU'] = 100 * worst_case_of_tables(counts, seed).miou
    return found


def _wrong(score: ImageScore) -> float:
    return -1.0 if math.isnan(score.wrong) else score.wrong


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else math.nan
