"""Fisher SAM: the steepest ascent in the ball of the Fisher information."""

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from samat_mm.perturbations.checks import non_negative
from samat_mm.perturbations.vectors import blocks, global_norm, to_unit_length
from samat_mm.perturbations.weights.method import WeightPerturbation, parameter
from samat_mm.perturbations.weights.parts import Memory, Need, Parts, Transformation, Weights


@dataclass(frozen=True)
class FisherSAM(WeightPerturbation):
    """Fisher SAM, ``e = rho F^-1 g / sqrt(g' F^-1 g)`` with ``F^-1 = 1 / (1 + eta g^2)``.

    The diagonal of the Fisher information is the squared gradient of the batch. Unlike SAM's, this direction depends on
    the length of the gradient, which must be the gradient of the loss itself, not of a scaled one.

    Source: Kim et al., Fisher SAM: Information Geometry and Sharpness Aware Minimisation, ICML 2022.

    Args:
        rho: radius (the paper's gamma), 0.1 as published.
        eta: weight of the Fisher information, 1 as published; 0 is SAM.
    """

    rho: float = 0.1
    eta: float = parameter(1.0, non_negative)

    @cached_property
    def parts(self) -> Parts:
        """The steepest direction in the Fisher ball."""
        return Parts(before=(Transformation(self.apply),), needs=frozenset({Need.UNSCALED_GRADIENT}))

    def apply(self, weights: Weights, vectors: list[Tensor], memory: Memory) -> None:
        """Write ``F^-1 g / sqrt(g' F^-1 g)`` into the vectors."""
        norms = [global_norm([self._whitened(vector) for vector in vectors[block]]) for block in blocks(vectors)]
        for vector in vectors:
            vector.div_(torch.addcmul(vector.new_ones(()), vector, vector, value=self.eta))
        to_unit_length(vectors, torch.linalg.vector_norm(torch.stack(norms)))

    def _whitened(self, gradient: Tensor) -> Tensor:
        """Return ``F^-1/2 g``, without squares that overflow."""
        return gradient / torch.hypot(torch.ones_like(gradient), gradient * math.sqrt(self.eta))
