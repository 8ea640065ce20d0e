"""SAM: the steepest ascent in the Euclidean ball."""

from collections.abc import Mapping, Sequence

from torch import Tensor

from samat_mm.perturbations.weights.base import WeightPerturbation
from samat_mm.perturbations.weights.vectors import global_norm, to_unit_length


class SAM(WeightPerturbation):
    """Sharpness-aware minimisation, ``e = rho g / ||g||`` over all weights together.

    Source: Foret et al., Sharpness-Aware Minimization for Efficiently Improving Generalization, ICLR 2021, equation 2.

    Args:
        rho: radius, 0.05 as published.
    """

    def __init__(self, rho: float = 0.05) -> None:
        super().__init__(rho)

    def ascend(self, weights: Mapping[str, Tensor], grads: Sequence[Tensor]) -> list[Tensor]:
        """Return ``g / ||g||``, written into ``grads``."""
        offsets = list(grads)
        to_unit_length(offsets, global_norm(offsets))
        return offsets
