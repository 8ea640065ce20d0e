"""Margins between logits, in units that no rescaling of the logits changes."""

from dataclasses import dataclass

from torch import Tensor

from samat_mm.errors import InputError
from samat_mm.perturbations.inputs.objectives.base import IGNORED_LABEL, Objective, Target


@dataclass(frozen=True)
class DifferenceOfLogitsRatio(Objective):
    """How far the label's logit lies below the largest other one, in units of the spread of the three largest.

    ``-(z_y - max_{i != y} z_i) / (z_(1) - z_(3))``: positive exactly where the image is classified wrongly, and
    unchanged when the logits are shifted or scaled: a saturated softmax hides no gradient. An image whose label
    is ignored (255, where the model has no such class) has the ratio 0.

    Source: Croce and Hein, Reliable evaluation of adversarial robustness with an ensemble of diverse parameter-free
    attacks, ICML 2020, section 4.
    """

    name = 'dlr'

    def check(self, output: Tensor, target: Target) -> None:
        """Refuse anything but labels (N,) and logits of at least 3 classes."""
        if target is not None and (output.ndim != 2 or output.shape[1] < 3 or target.is_floating_point()):
            raise InputError(
                'dlr compares the logits of an image, so it needs logits (N, K) of at least 3 classes and labels '
                f'(N,); got logits {tuple(output.shape)} and a target of type {target.dtype}. '
                "Use objective='cross-entropy', or 'masked-cross-entropy' for a segmentor."
            )
        super().check(output, target)

    def losses(self, output: Tensor, target: Target, progress: float) -> Tensor:
        """Return the ratio per image, shape (N,)."""
        largest, classes = output.topk(3, dim=1)
        rival = largest[:, 0].where(classes[:, 0] != target, largest[:, 1])
        ignored = (target == IGNORED_LABEL) & (output.shape[1] <= IGNORED_LABEL)
        own = output.gather(1, target.masked_fill(ignored, 0)[:, None]).squeeze(1)
        return ((rival - own) / (largest[:, 0] - largest[:, 2] + 1e-12)).masked_fill(ignored, 0)


@dataclass(frozen=True, eq=False)
class TargetedDLR(Objective):
    """How far the label's logit lies below the logit of one other class, in units of the spread of the four largest.

    Source: Croce & Hein 2020, section 4.2.

    Args:
        aims: the other class of each image, shape (N,).
    """

    aims: Tensor
    name = 'targeted-dlr'

    def subset(self, rows: Tensor) -> 'TargetedDLR':
        """Return the objective for some images of the batch (indices, shape (n,))."""
        return TargetedDLR(self.aims[rows])

    def losses(self, output: Tensor, target: Target, progress: float) -> Tensor:
        """Return the ratio per image, shape (N,), for logits (N, K) of at least 4 classes and labels (N,)."""
        largest = output.topk(4, dim=1).values
        lead = (output.gather(1, self.aims[:, None]) - output.gather(1, target[:, None])).squeeze(1)
        return lead / (largest[:, 0] - largest[:, 2:].mean(1) + 1e-12)
