"""Stale SAM: the gradient of the step before gives the direction, at the cost of one gradient per step."""

from dataclasses import dataclass
from functools import cached_property

from torch.optim import Optimizer

from samat_mm.perturbations.weights.method import WeightPerturbation
from samat_mm.perturbations.weights.parts import Memory, Named, Parts, Source, Weights
from samat_mm.perturbations.weights.transformations import steepest


@dataclass(frozen=True)
class StaleSAM(WeightPerturbation):
    """SAM along the gradient of the step before, ``e_t = rho g_(t-1) / ||g_(t-1)||`` with ``g_t = grad L(w_t + e_t)``.

    The one gradient of a step is that at ``w + e``; the optimizer takes it at w, and the next step ascends along it,
    for which one copy of it is kept. In the first step, where there is none, nothing is perturbed. The loss that is
    logged and the running statistics of batch normalisation are those at w + e, where the one forward runs.
    With several processes or accumulated gradients g is the gradient that the optimizer got, before it was clipped.

    Source: SAM without its first pass, whose gradient is replaced by the last one at hand; a reference point for MSAM,
    not a published method.

    Args:
        rho: radius, as in SAM.
    """

    rho: float = 0.05

    @cached_property
    def parts(self) -> Parts:
        """The gradient of the step before, and its direction."""
        source = Source(self.vectors, learn=self.learn)
        return Parts(source=source, before=(steepest(),), memory=lambda: {'last': {}})

    def vectors(self, weights: Weights, optimizer: Optimizer, memory: Memory) -> Named:
        """Return copies of the last gradient."""
        last = memory['last']
        return {name: last[name].to(weight, copy=True) for name, weight in weights.items() if name in last}

    def learn(self, gradients: Named, memory: Memory) -> None:
        """Keep copies of the gradient."""
        kept = memory['last']
        for name, gradient in gradients.items():
            if name in kept and kept[name].shape == gradient.shape and kept[name].device == gradient.device:
                kept[name].copy_(gradient)
            else:
                kept[name] = gradient.detach().clone()
        for name in kept.keys() - gradients.keys():
            del kept[name]
