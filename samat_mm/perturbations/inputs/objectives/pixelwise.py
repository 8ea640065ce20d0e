"""Objectives of dense attacks: pixels that are already wrong must not use up the gradient.

Each is a function of the cross-entropy of each pixel, averaged over the labelled pixels of an image. The weights of
pixels change from step to step, so iterates are ranked by the share of wrong pixels and then by the plain
cross-entropy, as in Croce et al., Towards Reliable Evaluation and Fast Training of Robust Semantic Segmentation Models,
ECCV 2024.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from samat_mm.errors import InputError
from samat_mm.perturbations.device import moved
from samat_mm.perturbations.inputs.objectives.base import IGNORED_LABEL, Objective, Target
from samat_mm.perturbations.inputs.objectives.cross_entropy import label_losses, mean_over_labels, wrong_share

# From the cross-entropy of each pixel (N, H, W), 0 for ignored ones, the logits (N, K, H, W), the labels (N, H, W), 255
# for ignored, and the share of the steps that are done, in [0, 1), to the loss of each pixel (N, H, W). The losses of
# ignored pixels do not count.
PixelLosses = Callable[[Tensor, Tensor, Tensor, float], Tensor]


@dataclass(frozen=True)
class PixelObjective(Objective):
    """A loss that treats the pixels of a label map according to how they are classified.

    Args:
        name: the ``objective=`` of an attack.
        pixel_losses: the loss of each pixel.
    """

    name: str  # type: ignore[misc]
    pixel_losses: PixelLosses

    def check(self, output: Tensor, target: Target) -> None:
        """Refuse anything but label maps and their logits."""
        if target is not None and (output.ndim != 4 or target.is_floating_point()):
            raise InputError(
                f'{self.name} weighs the pixels of a segmentation, so it needs logits (N, K, H, W) and labels '
                f'(N, H, W); got logits {tuple(output.shape)} and target {tuple(target.shape)}. '
                'Use PGD or APGD with cross-entropy for a classifier.'
            )
        super().check(output, target)

    def losses(self, output: Tensor, target: Target, progress: float) -> Tensor:
        """Return the loss per image, shape (N,)."""
        losses = label_losses(output, target)
        return mean_over_labels(self.pixel_losses(losses, output, target, progress), target)

    def rank(self, loss: Tensor, output: Tensor, target: Target) -> Tensor:
        """Return the share of wrong pixels and the mean cross-entropy, shape (N, 2)."""
        cross_entropy = mean_over_labels(label_losses(output, target), target)
        wrong = wrong_share(output, target)
        return torch.stack([wrong, cross_entropy.to(wrong)], dim=1)


def segpgd(losses: Tensor, logits: Tensor, target: Tensor, progress: float) -> Tensor:
    """Cross-entropy weighted by 1 - l where a pixel is right and by l where it is wrong, l rising from 0 to 1/2.

    ``l = t / (2 T)`` in step t = 0 .. T - 1: first the right pixels alone, in the end all pixels equally.

    Source: Gu et al., SegPGD, ECCV 2022, algorithm 1.
    """
    return torch.where(logits.argmax(1) == target, 1 - progress / 2, progress / 2) * losses


def cospgd(losses: Tensor, logits: Tensor, target: Tensor, progress: float) -> Tensor:
    """Cross-entropy weighted by the cosine between the softmax and the one-hot label; the weight has no gradient.

    Source: Agnihotri et al., CosPGD, ICML 2024, equations 6 and 7.
    """
    probabilities = logits.detach().softmax(1)
    label = target.masked_fill(target == IGNORED_LABEL, 0)[:, None]
    return probabilities.gather(1, label).squeeze(1) / probabilities.norm(dim=1) * losses


def masked(losses: Tensor, logits: Tensor, target: Tensor, progress: float) -> Tensor:
    """Cross-entropy of the pixels that are still right; the others have no loss.

    Source: Croce et al., ECCV 2024, section 3.4.
    """
    return (logits.argmax(1) == target) * losses


def balanced(
    losses: Tensor,
    logits: Tensor,
    target: Tensor,
    progress: float,
    class_pixels: tuple[float, ...] | None = None,
) -> Tensor:
    """Masked cross-entropy in which each class weighs the same, however many pixels it has.

    A pixel of class y is weighted by ``1 / N_y``, which aims at the mIoU. The paper counts N_y in the training images;
    an attack sees none of them, so by default it counts the pixels of the image itself.

    Source: Croce et al., ECCV 2024, section 3.4.
    """
    still_right = masked(losses, logits, target, progress)
    classes = logits.shape[1]
    labelled = target != IGNORED_LABEL
    flat = target.masked_fill(~labelled, 0).flatten(1)
    if class_pixels is None:
        counts = losses.new_zeros(len(target), classes).scatter_add_(1, flat, labelled.flatten(1).to(losses))
    elif len(class_pixels) == classes:
        counts = moved(torch.tensor(class_pixels, dtype=torch.float64), losses).expand(len(target), -1)
    else:
        raise InputError(
            f'class_pixels must have one count for each of the {classes} classes; got {len(class_pixels)}.'
        )
    # In units of the mean count, so that the loss does not depend on the size of the image.
    weights = torch.where(counts > 0, counts.mean(1, keepdim=True) / counts, 0)
    return weights.gather(1, flat).reshape_as(losses) * still_right


def jensen_shannon(losses: Tensor, logits: Tensor, target: Tensor, progress: float) -> Tensor:
    """Jensen-Shannon divergence between the softmax p and the one-hot label.

    ``log 2 + (p_y log p_y - (1 + p_y) log(1 + p_y)) / 2``, in [0, log 2]: its gradient vanishes with p_y, so pixels
    that are wrong lose their weight without a mask.

    Source: Croce et al., ECCV 2024, section 3.4.
    """
    own = (-losses).exp()
    return math.log(2) - (own * losses + (1 + own) * own.log1p()) / 2


PIXEL_LOSSES: dict[str, PixelLosses] = {
    'segpgd': segpgd,
    'cospgd': cospgd,
    'masked-cross-entropy': masked,
    'balanced-masked-cross-entropy': balanced,
    'jensen-shannon': jensen_shannon,
}


def balanced_by(class_pixels: tuple[float, ...] | None) -> PixelObjective:
    """Return the balanced objective with the pixels that each class has, in any unit; None counts in each image.

    Raises:
        ValueError: if a count is not greater than 0.
    """
    if class_pixels is not None and not all(count > 0 for count in class_pixels):
        raise InputError(f'class_pixels must all be greater than 0, for they are divided by; got {class_pixels}.')
    return PixelObjective('balanced-masked-cross-entropy', partial(balanced, class_pixels=class_pixels))
