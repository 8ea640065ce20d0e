"""The score of one image under one attack, and the metrics of a data set from such scores."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
from mmengine.dist import get_rank, get_world_size
from mmengine.evaluator import BaseMetric, Evaluator
from numpy.typing import NDArray
from torch import Tensor

from samat_mm.errors import InputError, NonFiniteError
from samat_mm.evaluation.metric_copies import refuse_memory, state_of
from samat_mm.tasks import Task
from samat_mm.tasks.labels import name_of


@dataclass(slots=True)
class ImageScore:
    """One image under one attack, scored by the model itself.

    Attributes:
        results: the results that each metric keeps of this image; empty once the metrics are computed.
        wrong: share of the labels that are predicted wrong; 0 or 1 for a classifier.
        loss: cross-entropy, averaged over the labels.
        counts: (class, right, all) for each class that occurs: intersection and union in pixels, or for a classifier 0
            or 1 and 1 at its label; None where there are no labels of classes.
        classes: number of classes.
        forwards: number of forward passes of the image while it was attacked.
        backwards: number of gradients with respect to the image.
        seconds: time for the attack and the prediction, shared evenly by the images of a batch.
        sizes: height and width of the input of the network, and of the label map, empty where there is none.
        more: for an attack with a norm, 'distance', that of the perturbation in [0, 1] pixel units; for an exported
            file, 'largest_change', that of a pixel; for a sentence, 'text' and 'changed', its share of changed words.
    """

    results: list[list[Any]]
    wrong: float = math.nan
    loss: float = math.nan
    counts: list[tuple[int, int, int]] | None = None
    classes: int = 0
    forwards: float = 0.0
    backwards: float = 0.0
    seconds: float = 0.0
    sizes: tuple[tuple[int, ...], ...] = ()
    more: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return plain containers and tensors, each of which holds its own values only."""
        return {entry.name: _of_its_own(getattr(self, entry.name)) for entry in fields(self)}


def _of_its_own(value: Any) -> Any:
    """Return a value whose tensors are no views, because a file would hold the whole batch that they look into."""
    if type(value) is dict:
        return {key: _of_its_own(entry) for key, entry in value.items()}
    if type(value) in (list, tuple):
        return type(value)(_of_its_own(entry) for entry in value)
    if isinstance(value, Tensor) and value.numel() * value.element_size() < value.untyped_storage().nbytes():
        return value.clone()
    return value


def metric_results(evaluator: Evaluator, data_batch: dict[str, Any], prediction: Any) -> list[list[Any]]:
    """Return the results that each metric keeps of one image, and leave the metrics empty.

    Raises:
        ValueError: if a metric keeps its results elsewhere than MMEngine's do, where they would be lost in a kill.
    """
    for metric in evaluator.metrics:
        if type(metric).evaluate is not BaseMetric.evaluate:
            raise InputError(
                f'{type(metric).__name__} has its own evaluate, so it cannot be resumed image by image; give its '
                'metrics one by one in test_evaluator, or test with the TestLoop and an AttackEvaluationHook.'
            )
    before = [state_of(metric) for metric in evaluator.metrics]
    evaluator.process(data_samples=[prediction], data_batch=data_batch)
    kept = [list(metric.results) for metric in evaluator.metrics]
    for metric, attributes in zip(evaluator.metrics, before, strict=True):
        if not metric.results:
            refuse_memory(metric, attributes)
        metric.results.clear()
    return kept


def judge(task: Task, prediction: Any) -> dict[str, Any]:
    """Return ``wrong``, ``loss``, ``counts`` and ``classes`` of a prediction; see :meth:`Task.judge`.

    Args:
        task: the task of the model.
        prediction: a data sample with its ground truth.

    Raises:
        ValueError: if a label is not a class.
        FloatingPointError: if the prediction is NaN.
    """
    found = task.judge(prediction)
    if math.isnan(found.get('loss', 0.0)):
        raise NonFiniteError(
            f"the model's prediction for {name_of(prediction)} is NaN, so it cannot be scored; check the checkpoint "
            'and the precision.'
        )
    return found


def evaluate(evaluator: Evaluator, scores: Sequence[ImageScore]) -> dict[str, Any]:
    """Return the metrics of images that every process knows.

    Metrics collect results from the processes in turn, so the images are dealt out in turn.
    """
    rank, world = get_rank(), get_world_size()
    metrics: dict[str, Any] = {}
    for position, metric in enumerate(evaluator.metrics):
        kept = [result for score in scores for result in score.results[position]]
        dealt = math.ceil(len(kept) / world) * world
        metric.results = list(itertools.islice(itertools.cycle(kept), rank, dealt, world)) if kept else []
        metrics.update(metric.evaluate(len(kept)))
    return metrics


def tables(scores: Sequence[ImageScore]) -> NDArray[np.int64]:
    """Return right and all per class of each image, shape (images, 2, K)."""
    counted = np.zeros((len(scores), 2, max(score.classes for score in scores)), dtype=np.int64)
    for table, score in zip(counted, scores, strict=True):
        for number, right, total in score.counts or ():
            table[:, number] = right, total
    return counted


def per_class(scores: Sequence[ImageScore]) -> list[float | None] | None:
    """Return right over all for each class, None for one that does not occur; None unless every image was judged."""
    if any(score.counts is None for score in scores):
        return None
    pooled = [[0, 0] for _ in range(max((score.classes for score in scores), default=0))]
    for score in scores:
        for number, right, total in score.counts or ():
            pooled[number][0] += right
            pooled[number][1] += total
    return [right / total if total else None for right, total in pooled] or None
