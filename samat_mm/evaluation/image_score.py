"""What is known about one image under one attack, and the metrics of a data set from that."""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from mmengine.dist import all_gather_object, get_rank, get_world_size
from mmengine.evaluator import Evaluator
from torch import Tensor
from torch.nn import functional as F

from samat_mm.perturbations.inputs.objectives import IGNORED_LABEL


@dataclass
class ImageScore:
    """One image under one attack, scored by the model itself.

    Attributes:
        results: for each metric, what it keeps of this image.
        wrong: share of the labels that are predicted wrong; 0 or 1 for a classifier.
        loss: cross-entropy, averaged over the labels.
        counts: right and all, per class: intersection and union in pixels, shape (2, K), or for a classifier 0 or 1
            and 1 at its label.
        forwards: how often the image went forward through the model while it was attacked.
        backwards: how many gradients with respect to it were taken.
        seconds: time for the attack and the prediction, the batch's shared evenly.
        sizes: height and width of what the network got, and of the label map.
        more: what else is known, such as the largest change of a pixel.
    """

    results: list[list[Any]]
    wrong: float = math.nan
    loss: float = math.nan
    counts: Tensor | None = None
    forwards: float = 0.0
    backwards: float = 0.0
    seconds: float = 0.0
    sizes: tuple[tuple[int, ...], ...] = ()
    more: dict[str, float] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return plain containers and tensors."""
        return asdict(self)


def metric_results(evaluator: Evaluator, data_batch: dict[str, Any], prediction: Any) -> list[list[Any]]:
    """Return what each metric keeps of one image, and leave the metrics empty."""
    evaluator.process(data_samples=[prediction], data_batch=data_batch)
    kept = [list(metric.results) for metric in evaluator.metrics]
    for metric in evaluator.metrics:
        metric.results.clear()
    return kept


def judge(prediction: Any, ignored: int = IGNORED_LABEL) -> dict[str, Any]:
    """Return ``wrong``, ``loss`` and ``counts`` of a predicted data sample; nothing where it has no labels of classes.

    Args:
        prediction: a data sample of a segmentor or a classifier, with its ground truth.
        ignored: the label without a class.
    """
    if 'seg_logits' in prediction and 'gt_sem_seg' in prediction:
        return _judge_map(prediction, ignored)
    if 'pred_score' in prediction and 'gt_label' in prediction and prediction.gt_label.numel() == 1:
        label = prediction.gt_label.reshape(-1).to(prediction.pred_score.device)
        scores = prediction.pred_score.double()
        right = int(scores.argmax()) == int(label)
        counts = torch.zeros(2, len(scores), dtype=torch.int32)
        counts[:, int(label)] = torch.tensor([int(right), 1], dtype=torch.int32)
        loss = -float(scores[int(label)].clamp_min(torch.finfo(torch.float32).tiny).log())
        return {'wrong': float(not right), 'loss': loss, 'counts': counts}
    return {}


def _judge_map(prediction: Any, ignored: int) -> dict[str, Any]:
    logits, predicted = prediction.seg_logits.data, prediction.pred_sem_seg.data.squeeze(0).long()
    label = prediction.gt_sem_seg.data.squeeze(0).long().to(logits.device)
    label = label.masked_fill(label == ignored, IGNORED_LABEL)
    labelled = label != IGNORED_LABEL
    if len(logits) == 1:  # a binary head: the foreground's probability
        logits = torch.cat([torch.zeros_like(logits), torch.logit(logits, eps=1e-6)])
    classes, total = len(logits), max(1, int(labelled.sum()))
    losses = F.cross_entropy(logits[None].float(), label[None], ignore_index=IGNORED_LABEL, reduction='none')
    truth, guess = label[labelled], predicted[labelled]
    right = torch.bincount(truth[truth == guess], minlength=classes)
    union = torch.bincount(truth, minlength=classes) + torch.bincount(guess, minlength=classes) - right
    return {
        'wrong': float((truth != guess).sum()) / total,
        'loss': float(losses.double().sum()) / total,
        'counts': torch.stack([right, union]).int().cpu(),
    }


def gather(scores: Mapping[int, ImageScore]) -> dict[int, ImageScore]:
    """Return the scores of all processes, by image, in order."""
    parts: Sequence[Mapping[int, ImageScore]] = all_gather_object(dict(scores))
    merged = {number: score for part in parts for number, score in part.items()}
    return dict(sorted(merged.items()))


def evaluate(evaluator: Evaluator, scores: Sequence[ImageScore]) -> dict[str, Any]:
    """Return the metrics of images that every process knows.

    Metrics collect from all processes what these have seen in turn, so the images are dealt out that way.
    """
    rank, world = get_rank(), get_world_size()
    metrics: dict[str, Any] = {}
    for position, metric in enumerate(evaluator.metrics):
        kept = [result for score in scores for result in score.results[position]]
        dealt = math.ceil(len(kept) / world) * world
        metric.results = list(itertools.islice(itertools.cycle(kept), rank, dealt, world)) if kept else []
        metrics.update(metric.evaluate(len(kept)))
    return metrics


def per_class(scores: Sequence[ImageScore]) -> list[float | None] | None:
    """Return right over all for each class, None for one that does not occur; None if nothing is known."""
    counts = [score.counts for score in scores if score.counts is not None]
    if not counts:
        return None
    right, total = torch.stack(counts).long().sum(0).double()
    return [float(a / b) if b > 0 else None for a, b in zip(right, total, strict=True)]
