"""ASAM: the steepest ascent in a ball that scales with the weights."""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from samat_mm.perturbations.checks import non_negative, one_of
from samat_mm.perturbations.vectors import blocks
from samat_mm.perturbations.weights.method import WeightPerturbation, parameter
from samat_mm.perturbations.weights.parts import Parts, Weights
from samat_mm.perturbations.weights.transformations import steepest


@dataclass(frozen=True)
class ASAM(WeightPerturbation):
    """Adaptive SAM, ``e = rho T^2 g / ||T g||`` with the normalisation operator ``T = |w| + eta``.

    Source: Kwon et al., ASAM: Adaptive Sharpness-Aware Minimization for Scale-Invariant Learning of Deep Neural
    Networks, ICML 2021, equation 8; eta as in its section 5.

    Args:
        rho: radius, 0.5 as published. It is not a distance in weight space: good values are about ten times SAM's.
        eta: keeps weights near zero movable, 0.01 as published.
        scaled: 'weights' scales the tensors with ``weight`` in their name (normalisation layers included) and leaves
            ``T = 1`` for biases and the rest, as the authors' code does; 'all' scales every tensor. The widespread
            PyTorch port is ``eta=0, scaled='all'``, with which zero biases never move; a good rho differs about
            fourfold between the two.
    """

    rho: float = 0.5
    eta: float = parameter(0.01, non_negative)
    scaled: str = parameter('weights', one_of, ('weights', 'all'))

    @cached_property
    def parts(self) -> Parts:
        """The steepest direction in the rescaled ball."""
        return Parts(before=(steepest(self.rescale),))

    def rescale(self, weights: Weights, vectors: list[Tensor]) -> None:
        """Multiply by T, made anew and block by block, because a whole T would be another copy of the weights."""
        scaled = [self.scaled == 'all' or 'weight' in name.rpartition('.')[2] for name in weights]
        factors_of = [weight for weight, is_scaled in zip(weights.values(), scaled, strict=True) if is_scaled]
        multiplied = [vector for vector, is_scaled in zip(vectors, scaled, strict=True) if is_scaled]
        for block in blocks(factors_of):
            _multiply(multiplied[block], factors_of[block], self.eta)


def _multiply(vectors: list[Tensor], weights: list[Tensor], eta: float) -> None:
    # Not within the loop over blocks: there, the factors of one block would live until those of the next exist.
    factors = torch._foreach_abs([weight.detach() for weight in weights])
    torch._foreach_add_(factors, eta)
    torch._foreach_mul_(vectors, factors)
