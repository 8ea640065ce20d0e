"""Image classifiers: one class per image."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from samat_mm.errors import InputError
from samat_mm.tasks.base import Task
from samat_mm.tasks.decisions import as_two_classes, same_up_to_temperature, tensor_scores
from samat_mm.tasks.labels import check_label, refuse_unlabelled, without_labels

SEVERAL_LABELS = "cross-entropy attacks need one label per image; these have several. Use objective='model-loss'."


@dataclass(frozen=True)
class Classification(Task):
    """A classifier, whose logits are the scores before the softmax of ``predict``.

    Attributes:
        scores: function of a model, its inputs and samples that returns scores (N, K), or (N, 1) for a single logit.
        threshold: for a single logit, the probability above which the class is 1.
    """

    scores: Callable[[Any, Tensor, list[Any]], Any] = tensor_scores
    threshold: float = 0.5

    def target(self, samples: Sequence[Any], device: torch.device) -> Tensor:
        """Return the scored labels (N,), or class probabilities (N, K) if there are no labels.

        Raises:
            ValueError: if an image has several labels, or none.
        """
        refuse_unlabelled(samples, 'gt_label', 'gt_score')
        if not all('gt_label' in sample for sample in samples):
            return self.training_target(samples, device)
        labels = [torch.as_tensor(sample.gt_label).reshape(-1) for sample in samples]
        if any(len(label) != 1 for label in labels):
            raise InputError(SEVERAL_LABELS)
        return torch.cat(labels).long().to(device)

    def training_target(self, samples: Sequence[Any], device: torch.device) -> Tensor:
        """Return the training target: class probabilities (N, K) if labels were mixed, else the labels.

        Raises:
            ValueError: if an image has several labels, or none.
        """
        if not all('gt_score' in sample for sample in samples):
            return self.target(samples, device)
        scores = torch.stack([sample.gt_score for sample in samples]).float().to(device)
        if not torch.allclose(scores.sum(1), torch.ones_like(scores[:, 0])):
            raise InputError(SEVERAL_LABELS)
        # A preprocessor that can mix labels writes all of them as probabilities.
        return scores.argmax(1) if bool((scores.amax(1) == 1).all()) else scores

    def logits(self, model: nn.Module, inputs: Tensor, samples: Sequence[Any]) -> Tensor:
        """Return the classification scores, shape (N, K); for a single logit z, ``[0, z]`` minus the threshold's logit.

        Raises:
            ValueError: if the model does not return such scores.
        """
        output = self.scores(model, inputs, without_labels(samples))
        if not isinstance(output, Tensor) or output.ndim != 2:
            raise InputError(
                f"{type(model).__name__} does not return logits (N, K) in mode='tensor'; use objective='model-loss'."
            )
        return as_two_classes(output, self.threshold) if output.shape[1] == 1 else output

    def decided(self, prediction: Any) -> Tensor | None:
        """Return the class that ``predict`` chose, shape ().

        Raises:
            ValueError: if it chose several classes, or none.
        """
        if 'pred_label' not in prediction:
            return None
        label = torch.as_tensor(prediction.pred_label).reshape(-1)
        if len(label) != 1:
            raise InputError(SEVERAL_LABELS)
        return label[0].long()

    def check(self, model: Any, inputs: Tensor, samples: Sequence[Any]) -> None:
        """Compare the predicted labels, and the probabilities that metrics read, with the logits.

        Raises:
            ValueError: if they do not follow from these logits, up to a temperature.
        """
        predictions, logits = self.compared(model, inputs, samples)
        if not all('pred_score' in prediction for prediction in predictions):
            return
        probabilities = torch.stack([prediction.pred_score.reshape(-1) for prediction in predictions]).double()
        if probabilities.shape == logits.shape and not same_up_to_temperature(probabilities, logits.double()):
            raise InputError(
                f'the probabilities (pred_score) that {type(model).__name__} predicts do not follow from its logits, '
                'so metrics may score another decision than the attacked one; use '
                "objective='model-loss'."
            )

    def judge(self, prediction: Any) -> dict[str, Any]:
        """Judge an image: its one label is right or wrong."""
        label = _label(prediction)
        if 'pred_score' not in prediction or label is None:
            return {}
        scores = prediction.pred_score.double().cpu().reshape(-1)
        scores = torch.cat([1 - scores, scores]) if len(scores) == 1 else scores
        check_label(label, len(scores), prediction)
        chosen = self.decided(prediction)
        right = int(scores.argmax() if chosen is None else chosen) == int(label)
        probability = scores[int(label)].clamp_min(torch.finfo(torch.float32).tiny)
        return {
            'wrong': float(not right),
            'loss': -float(probability.log()),
            'counts': [(int(label), int(right), 1)],
            'classes': len(scores),
        }


def _label(sample: Any) -> Tensor | None:
    """Return an image's single label, shape (1,), or its most probable class; None if it has neither."""
    if 'gt_label' in sample:
        label = torch.as_tensor(sample.gt_label).reshape(-1).long().cpu()
    elif 'gt_score' in sample:
        label = sample.gt_score.argmax(-1, keepdim=True).cpu()
    else:
        return None
    return label if len(label) == 1 else None
