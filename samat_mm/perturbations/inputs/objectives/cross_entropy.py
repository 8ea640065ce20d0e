"""Cross-entropy, and the share of wrong labels."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from samat_mm.perturbations.inputs.objectives.base import IGNORED_LABEL, Objective, Target


@dataclass(frozen=True)
class CrossEntropy(Objective):
    """Cross-entropy, averaged over the pixels that have a label.

    Takes logits (N, K) with targets (N,) or class probabilities (N, K), and logits (N, K, H, W) with targets
    (N, H, W), in which 255 is ignored: such a pixel has no loss, and an image of nothing else has the loss 0.
    """

    name = 'cross-entropy'

    def losses(self, output: Tensor, target: Target, progress: float) -> Tensor:
        """Return the cross-entropy per sample, shape (N,)."""
        if target.is_floating_point() or has_class_255(output):
            return F.cross_entropy(output, target, reduction='none')
        return mean_over_labels(label_losses(output, target), target)


def label_losses(logits: Tensor, target: Tensor) -> Tensor:
    """Return the cross-entropy of each label, same shape as ``target``; 0 for ignored ones."""
    return F.cross_entropy(logits, target, reduction='none', ignore_index=IGNORED_LABEL)


def mean_over_labels(values: Tensor, target: Tensor) -> Tensor:
    """Return the mean over the labels of each sample that are not ignored, shape (N,); 0 where there is none."""
    labelled = (target != IGNORED_LABEL).reshape(len(target), -1)
    return (values.reshape(len(target), -1) * labelled).sum(1) / labelled.sum(1).clamp_min(1)


def wrong_share(logits: Tensor, target: Tensor) -> Tensor:
    """Return the share of the labels of each sample that are not the arg max of its logits, shape (N,).

    An image of a classifier has one label, so its share is 0 or 1. Of class probabilities, the largest is the label.
    """
    label = target.argmax(1) if target.is_floating_point() else target
    wrong = (logits.argmax(1) != label).to(torch.promote_types(logits.dtype, torch.float32))
    return wrong if has_class_255(logits) else mean_over_labels(wrong, label)


def has_class_255(logits: Tensor) -> bool:
    """Tell whether 255 is a class like any other, as it is for a classifier with more than 255 classes."""
    return logits.ndim == 2 and logits.shape[1] > IGNORED_LABEL
