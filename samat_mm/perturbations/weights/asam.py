"""ASAM: the steepest ascent in a ball that scales with the weights."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from samat_mm.perturbations.checks import non_negative, one_of
from samat_mm.perturbations.weights.base import WeightPerturbation
from samat_mm.perturbations.weights.vectors import blocks, global_norm, to_unit_length

SCALED_TENSORS = ('weights', 'all')


class ASAM(WeightPerturbation):
    """Adaptive SAM, ``e = rho T^2 g / ||T g||`` with the normalisation operator ``T = |w| + eta``.

    Source: Kwon et al., ASAM: Adaptive Sharpness-Aware Minimization for Scale-Invariant Learning of Deep Neural
    Networks, ICML 2021, equation 8; eta as in its section 5.

    Args:
        rho: radius, 0.5 as published. It is no distance in weight space: good values are about ten times SAM's.
        eta: keeps weights near zero movable, 0.01 as published.
        scaled: 'weights' scales the tensors with ``weight`` in their name (normalisation layers included) and leaves
            ``T = 1`` for biases and the rest, as the authors' code does; 'all' scales every tensor. The widespread
            PyTorch port is ``eta=0, scaled='all'``, with which zero biases never move; a good rho differs about
            fourfold between the two.

    Raises:
        ValueError: if a radius is negative or ``scaled`` is unknown.
    """

    def __init__(self, rho: float = 0.5, eta: float = 0.01, scaled: str = 'weights') -> None:
        super().__init__(rho)
        self.eta = non_negative(eta, 'eta')
        self.scaled = one_of(scaled, SCALED_TENSORS, 'scaled')

    def ascend(self, weights: Mapping[str, Tensor], grads: Sequence[Tensor]) -> list[Tensor]:
        """Return ``T^2 g / ||T g||``, written into ``grads``."""
        offsets = list(grads)
        pairs = [(weight, offset) for (name, weight), offset in zip(weights.items(), offsets, strict=True)
                 if self._is_scaled(name)]  # fmt: skip
        self._scale(pairs)
        norm = global_norm(offsets)  # of T g
        self._scale(pairs)
        to_unit_length(offsets, norm)
        return offsets

    def _is_scaled(self, name: str) -> bool:
        return self.scaled == 'all' or 'weight' in name.rpartition('.')[2]

    def _scale(self, pairs: list[tuple[Tensor, Tensor]]) -> None:
        # T is made twice and block by block, so that no copy of the weights is held for it.
        for block in blocks([weight for weight, _ in pairs]):
            scales = torch._foreach_abs([weight.detach() for weight, _ in pairs[block]])
            torch._foreach_add_(scales, self.eta)
            torch._foreach_mul_([offset for _, offset in pairs[block]], scales)
