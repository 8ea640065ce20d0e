"""What an evaluation found: the metrics of each attack, and what it cost."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from mmengine.evaluator import Evaluator

from samat_mm.evaluation.image_score import ImageScore, evaluate, per_class
from samat_mm.evaluation.worst_case import worst_case_of_tables


@dataclass(frozen=True)
class Outcome:
    """An attack on a data set.

    Attributes:
        metrics: by name, as the data set's own metrics call them.
        scores: of the images, in their order.
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

    def cost(self) -> dict[str, float]:
        """Return the seconds in all, and the forward and backward passes for one image."""
        return {
            'seconds': sum(score.seconds for score in self.scores),
            'forwards': _mean([score.forwards for score in self.scores]),
            'backwards': _mean([score.backwards for score in self.scores]),
        }


def single(evaluator: Evaluator, scores: Mapping[int, ImageScore]) -> Outcome:
    """Return the outcome of one attack on all images."""
    ordered = [scores[number] for number in sorted(scores)]
    return Outcome(evaluate(evaluator, ordered), ordered)


def ensemble(evaluator: Evaluator, members: Sequence[Outcome], seed: int) -> Outcome:
    """Return the worst of several attacks, image by image: the one with the most wrong labels.

    For label maps the two aggregations of SEA stand beside the metrics: ``worst_case_aAcc`` averages the lowest pixel
    accuracy of each image, ``worst_case_mIoU`` is the pooled mIoU after a greedy search; both in percent.

    Source: Croce et al., ECCV 2024, section 3.6.

    Args:
        evaluator: the data set's metrics.
        members: the attacks, on the same images.
        seed: of the greedy search.
    """
    worst: list[ImageScore] = []
    for tries in zip(*(member.scores for member in members), strict=True):
        chosen = max(tries, key=lambda score: -1.0 if math.isnan(score.wrong) else score.wrong)
        spent = {name: sum(getattr(score, name) for score in tries) for name in ('forwards', 'backwards', 'seconds')}
        worst.append(ImageScore(**{**vars(chosen), **spent}))
    metrics = evaluate(evaluator, worst)
    if all(score.counts is not None and len(score.sizes[1]) == 2 for member in members for score in member.scores):
        tables = np.stack([np.stack([score.counts.numpy() for score in member.scores]) for member in members])  # type: ignore[union-attr]
        if tables.sum():
            metrics['worst_case_aAcc'] = 100 * (1 - _mean([score.wrong for score in worst]))
            metrics['worst_case_mIoU'] = 100 * worst_case_of_tables(tables, seed).miou
    return Outcome(metrics, worst)


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else math.nan
