"""Segmentors: one class per pixel."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from samat_mm.errors import InputError
from samat_mm.perturbations.inputs import Attack
from samat_mm.perturbations.inputs.objectives import IGNORED_LABEL
from samat_mm.tasks.base import Task, without_goal
from samat_mm.tasks.decisions import deciding_between_two, from_probabilities
from samat_mm.tasks.labels import check_label, cross_entropy, refuse_unlabelled, without_labels


@dataclass(frozen=True)
class Segmentation(Task):
    """A segmentor, whose logits are those that ``predict`` takes the arg max of, in whole or sliding inference.

    Attributes:
        ignored: the label that is neither attacked nor scored; None if there is none. 255 is never attacked.
        threshold: for a head with one output channel, the probability above which a pixel is foreground; None for a
            head with one channel per class.
        classes: number of classes to score; None for the number of classes of the model.
    """

    ignored: int | None = IGNORED_LABEL
    threshold: float | None = None
    classes: int | None = None

    def target(self, samples: Sequence[Any], device: torch.device) -> Tensor:
        """Return the label maps, padded with 255 to a common size, shape (N, H, W).

        Raises:
            ValueError: if an image has no label map.
        """
        refuse_unlabelled(samples, 'gt_sem_seg')
        return pad_to_common_size([self.label_map(sample) for sample in samples], IGNORED_LABEL).to(device)

    def label_map(self, sample: Any) -> Tensor:
        """Return the labels of an image, shape (H, W), with ignored pixels set to 255."""
        label = sample.gt_sem_seg.data.squeeze(0).long()
        return label if self.ignored is None else label.masked_fill(label == self.ignored, IGNORED_LABEL)

    def logits(self, model: nn.Module, inputs: Tensor, samples: Sequence[Any]) -> Tensor:
        """Return the scores of ``predict`` at the labels' native resolution, shape (N, K, H, W)."""
        with deciding_between_two(model, self.threshold):
            results = model.forward(inputs, without_labels(samples), mode='predict')
        logits = pad_to_common_size([self.scores(result) for result in results], 0)
        if logits.shape[1] > IGNORED_LABEL:
            raise InputError(
                f'{type(model).__name__} has {logits.shape[1]} classes, and attacks on segmentors ignore the label '
                f"{IGNORED_LABEL}, which would be one of them; use objective='model-loss'."
            )
        return logits

    def scores(self, prediction: Any) -> Tensor:
        """Return the logits (K, H, W) of a prediction; from one channel, the foreground's probability."""
        logits = prediction.seg_logits.data
        return logits if len(logits) > 1 else from_probabilities(logits[None], self._threshold)[0]

    @property
    def _threshold(self) -> float:
        return 0.5 if self.threshold is None else self.threshold

    def decided(self, prediction: Any) -> Tensor | None:
        """Return the classes that ``predict`` chose, shape (H, W)."""
        return class_map(prediction) if 'pred_sem_seg' in prediction else None

    def judge(self, prediction: Any) -> dict[str, Any]:
        """Return the accuracy of the pixels, and intersection and union by class as in mmsegmentation's IoUMetric."""
        if 'seg_logits' not in prediction or 'gt_sem_seg' not in prediction:
            return {}
        scores, predicted = self.scores(prediction), self.decided(prediction)
        label = prediction.gt_sem_seg.data.squeeze(0).long().to(scores.device)
        predicted = scores.argmax(0) if predicted is None else predicted
        scored = torch.ones_like(label, dtype=torch.bool) if self.ignored is None else label != self.ignored
        labelled = scored & ((label != IGNORED_LABEL) | (len(scores) > IGNORED_LABEL))
        truth, guess = label[labelled], predicted[labelled]
        check_label(truth, len(scores), prediction)
        right = torch.bincount(truth[truth == guess], minlength=len(scores))
        # If the metric ignores another label than 255, a prediction of 255 still counts as predicted.
        union = torch.bincount(truth, minlength=len(scores)) + torch.bincount(predicted[scored], minlength=len(scores))
        classes = self.classes or len(scores)
        pairs = enumerate(zip(right.tolist(), (union - right).tolist(), strict=True))
        return {
            'wrong': float((truth != guess).sum()) / max(1, len(truth)),
            'loss': cross_entropy(scores[:, labelled], truth),
            'counts': [(number, *pair) for number, pair in pairs if pair[1] and number < classes],
            'classes': classes,
        }

    def fitted(self, attack: Attack) -> Attack:
        """Return the attack with the goal 'loss': one wrong pixel does not finish an image."""
        return without_goal(attack)

    def in_training_geometry(self, samples: Sequence[Any], inputs: Tensor) -> list[Any]:
        """Return samples whose metainfo states no resize, flip or padding, because labels are at the input's size."""
        size = tuple(inputs.shape[2:])
        geometry = {
            'ori_shape': size,
            'img_shape': size,
            'pad_shape': size,
            'padding_size': [0] * 4,
            'img_padding_size': [0] * 4,
            'flip': False,
        }
        return [_with_metainfo(sample, geometry) for sample in samples]


def class_map(prediction: Any) -> Tensor:
    """Return the classes of a prediction, shape (H, W)."""
    return prediction.pred_sem_seg.data.squeeze(0).long()


def pad_to_common_size(maps: Sequence[Tensor], value: float) -> Tensor:
    """Stack tensors of shape (..., H, W), padded on the right and at the bottom to a common size."""
    height, width = (max(entry.shape[axis] for entry in maps) for axis in (-2, -1))
    return torch.stack(
        [F.pad(entry, (0, width - entry.shape[-1], 0, height - entry.shape[-2]), value=value) for entry in maps]
    )


def _with_metainfo(sample: Any, geometry: dict[str, Any]) -> Any:
    changed = sample.new()
    changed.set_metainfo(geometry)
    return changed
