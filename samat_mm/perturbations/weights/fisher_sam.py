"""Fisher SAM: the steepest ascent in the ball of the Fisher information."""

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from samat_mm.perturbations.checks import non_negative
from samat_mm.perturbations.weights.base import WeightPerturbation
from samat_mm.perturbations.weights.vectors import blocks, global_norm, to_unit_length


class FisherSAM(WeightPerturbation):
    """Fisher SAM, ``e = rho F^-1 g / sqrt(g' F^-1 g)`` with ``F^-1 = 1 / (1 + eta g^2)``.

    The diagonal of the Fisher information is the squared gradient of the batch. Unlike SAM's, this direction depends on
    the length of the gradient: it must be that of the loss itself, not of a scaled one.

    Source: Kim et al., Fisher SAM: Information Geometry and Sharpness Aware Minimisation, ICML 2022.

    Args:
        rho: radius (the paper's gamma), 0.1 as published.
        eta: weight of the Fisher information, 1 as published; 0 is SAM.

    Raises:
        ValueError: if either is negative.
    """

    scale_free = False

    def __init__(self, rho: float = 0.1, eta: float = 1.0) -> None:
        super().__init__(rho)
        self.eta = non_negative(eta, 'eta')

    def ascend(self, weights: Mapping[str, Tensor], grads: Sequence[Tensor]) -> list[Tensor]:
        """Return ``F^-1 g / sqrt(g' F^-1 g)``, written into ``grads``."""
        offsets = list(grads)
        norms = [global_norm([self._whitened(offset) for offset in offsets[block]]) for block in blocks(offsets)]
        for offset in offsets:
            offset.div_(torch.addcmul(offset.new_ones(()), offset, offset, value=self.eta))
        to_unit_length(offsets, torch.linalg.vector_norm(torch.stack(norms)))
        return offsets

    def _whitened(self, gradient: Tensor) -> Tensor:
        """Return ``F^-1/2 g``, without squares that overflow."""
        return gradient / torch.hypot(torch.ones_like(gradient), gradient * math.sqrt(self.eta))
