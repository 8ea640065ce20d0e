"""Margins between logits, which no rescaling of them changes."""

from torch import Tensor

from samat_mm.errors import InputError
from samat_mm.perturbations.inputs.objectives.base import IGNORED_LABEL, Objective, check_shapes


class DifferenceOfLogitsRatio(Objective):
    """How far the label's logit lies below the largest other one, in units of the spread of the three largest.

    ``-(z_y - max_{i != y} z_i) / (z_(1) - z_(3))``: positive exactly where the image is classified wrongly, and
    unchanged when the logits are shifted or scaled, so that a saturated softmax hides no gradient. An image whose label
    is ignored (255, where the model has no such class) has the ratio 0.

    Source: Croce and Hein, Reliable evaluation of adversarial robustness with an ensemble of diverse parameter-free
    attacks, ICML 2020, section 4.
    """

    name = 'dlr'
    output = 'logits'

    def __call__(self, output: Tensor, target: Tensor | None, step: int, steps: int) -> Tensor:
        """Return the ratio per image, shape (N,).

        Raises:
            ValueError: if these are no logits of a classifier of at least 3 classes with one label per image.
        """
        if target is None:
            raise InputError('dlr needs a target; got none.')
        if step == 0:
            if output.ndim != 2 or output.shape[1] < 3 or target.is_floating_point():
                raise InputError(
                    'dlr compares the logits of an image, so it needs logits (N, K) of at least 3 classes and labels '
                    f'(N,); got logits {tuple(output.shape)} and a target of type {target.dtype}. '
                    "Use objective='cross-entropy', or 'masked-cross-entropy' for a segmentor."
                )
            check_shapes(output, target)
        largest, classes = output.topk(3, dim=1)
        rival = largest[:, 0].where(classes[:, 0] != target, largest[:, 1])
        ignored = (target == IGNORED_LABEL) & (output.shape[1] <= IGNORED_LABEL)
        own = output.gather(1, target.masked_fill(ignored, 0)[:, None]).squeeze(1)
        return ((rival - own) / (largest[:, 0] - largest[:, 2] + 1e-12)).masked_fill(ignored, 0)
