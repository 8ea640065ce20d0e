"""Cross-entropy and the measures that every attack on logits is judged by."""

import torch
from torch import Tensor
from torch.nn import functional as F

from samat_mm.errors import InputError
from samat_mm.perturbations.inputs.objectives.base import IGNORED_LABEL, Objective, check_shapes


class CrossEntropy(Objective):
    """Cross-entropy, averaged over the pixels that have a label.

    Takes logits (N, K) with targets (N,) or class probabilities (N, K), and logits (N, K, H, W) with targets
    (N, H, W), in which 255 is ignored: such a pixel has no loss, and an image of nothing else has the loss 0.
    """

    name = 'cross-entropy'
    output = 'logits'

    def __call__(self, output: Tensor, target: Tensor | None, step: int, steps: int) -> Tensor:
        """Return the cross-entropy per sample, shape (N,).

        Raises:
            ValueError: if logits and target do not fit together.
        """
        if target is None:
            raise InputError('cross-entropy needs a target; got none.')
        if step == 0:  # they do not change, and looking at values waits for the device
            check_shapes(output, target)
        if target.is_floating_point() or has_class_255(output):
            return F.cross_entropy(output, target, reduction='none')
        return mean_over_labels(label_losses(output, target), target)


def label_losses(logits: Tensor, target: Tensor) -> Tensor:
    """Return the cross-entropy of each label, of the shape of ``target``; 0 for ignored ones."""
    return F.cross_entropy(logits, target, reduction='none', ignore_index=IGNORED_LABEL)


def mean_over_labels(values: Tensor, target: Tensor) -> Tensor:
    """Return the mean over the labels of each sample that are not ignored, shape (N,); 0 where there is none."""
    labelled = (target != IGNORED_LABEL).reshape(len(target), -1)
    return (values.reshape(len(target), -1) * labelled).sum(1) / labelled.sum(1).clamp_min(1)


def wrong_share(logits: Tensor, target: Tensor) -> Tensor:
    """Return the share of the labels of each sample that are not the arg max of its logits, shape (N,).

    A classifier's image has one label, so that its share is 0 or 1. Of class probabilities, the largest is the label.
    """
    label = target.argmax(1) if target.is_floating_point() else target
    wrong = (logits.argmax(1) != label).to(torch.promote_types(logits.dtype, torch.float32))
    return wrong if has_class_255(logits) else mean_over_labels(wrong, label)


def has_class_255(logits: Tensor) -> bool:
    """Tell whether 255 is a class like any other: of a classifier with so many, ImageNet's for instance."""
    return logits.ndim == 2 and logits.shape[1] > IGNORED_LABEL
