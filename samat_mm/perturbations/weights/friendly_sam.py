"""Friendly SAM: ascend along what is particular to the batch."""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from samat_mm.perturbations.checks import non_negative, share
from samat_mm.perturbations.weights.built_on import BuiltOn
from samat_mm.perturbations.weights.method import parameter
from samat_mm.perturbations.weights.parts import Memory, Need, Parts, Transformation, Weights


@dataclass(frozen=True)
class FriendlySAM(BuiltOn):
    """Friendly SAM: ascends along ``d = g - sigma m``, and then sets ``m = lambda m + (1 - lambda) g``.

    The average m stands for the gradient of all data, which should not be climbed. As in the authors' code it averages
    the batches before, and starts at the first gradient, along which the first ascent goes; in the paper's equations
    m takes the batch in before it is subtracted. It is as large as the weights. With several processes g is their
    average, and m the same everywhere.

    Source: Li et al., Friendly Sharpness-Aware Minimization, CVPR 2024.

    Args:
        rho: radius; None for the radius of the direction (0.05).
        sigma: share of the average that is taken out, 1 as published.
        momentum: lambda of the average, 0.9 as published.
        direction: the ascent that is given d instead of the gradient, SAM as published.
    """

    sigma: float = parameter(1.0, non_negative)
    momentum: float = parameter(0.9, lambda value, name: share(value, name) if value != 0 else 0.0)

    @cached_property
    def parts(self) -> Parts:
        """The average that is taken out of the gradient."""
        return Parts(
            before=(Transformation(self.apply),),
            memory=lambda: {'average': {}},
            needs=frozenset({Need.UNSCALED_GRADIENT, Need.SHARED_ASCENT}),
        )

    def apply(self, weights: Weights, vectors: list[Tensor], memory: Memory) -> None:
        """Take the average out, and the gradient into the average."""
        average = memory['average']
        known = [(name, vector) for name, vector in zip(weights, vectors, strict=True) if name in average]
        for name, vector in zip(weights, vectors, strict=True):
            if name not in average:
                average[name] = vector.clone()
            elif average[name].device != vector.device:
                average[name] = average[name].to(vector)
        if known:
            averages, gradients = [average[name] for name, _ in known], [vector for _, vector in known]
            torch._foreach_sub_(gradients, averages, alpha=self.sigma)
            # lambda m + (1 - lambda) g, where g is d + sigma m: it has been overwritten by d.
            torch._foreach_mul_(averages, self.momentum + (1 - self.momentum) * self.sigma)
            torch._foreach_add_(averages, gradients, alpha=1 - self.momentum)
