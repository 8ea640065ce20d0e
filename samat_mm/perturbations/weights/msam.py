"""MSAM: the momentum of the optimizer gives the direction, at the cost of one gradient per step."""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch.optim import Optimizer

from samat_mm.errors import UnsupportedError
from samat_mm.perturbations.weights.method import WeightPerturbation
from samat_mm.perturbations.weights.parts import Memory, Named, Parts, Source, Weights
from samat_mm.perturbations.weights.transformations import steepest


@dataclass(frozen=True)
class MSAM(WeightPerturbation):
    """Momentum SAM, ``e = -rho v / ||v||`` with the momentum v of the optimizer, over all weights together.

    The one gradient of a step is that at ``w + e``; the optimizer takes it at w, ``v <- mu v + g(w + e)`` and
    ``w <- w - lr v``. e points to where the optimizer is going, as Nesterov's momentum does, but with its own length.
    Between two steps the weights are w itself, which validation and checkpoints see; in the authors' code they are
    w + e until they are moved back. v is the ``momentum_buffer`` or ``exp_avg`` of the optimizer and includes the terms
    that the optimizer adds to the gradient (the weight decay of SGD). In the first step, where there is none, nothing
    is perturbed. The loss that is logged and the running statistics of batch normalisation are those at w + e, where
    the one forward runs. An optimizer without momentum is refused.

    Source: Becker et al., Momentum-SAM: Sharpness Aware Minimization without Computational Overhead, 2024,
    algorithm 1.

    Args:
        rho: radius; the paper searches for it, larger than SAM's. The default is SAM's.
    """

    rho: float = 0.05

    @cached_property
    def parts(self) -> Parts:
        """The momentum, and its direction."""
        return Parts(source=Source(self.vectors, self.check), before=(steepest(),))

    def check(self, optimizer: Optimizer) -> None:
        """Refuse an optimizer without momentum.

        Raises:
            TypeError: naming it.
        """
        if not any(group.get('momentum', 0) > 0 or group.get('betas', (0,))[0] > 0 for group in optimizer.param_groups):
            raise UnsupportedError(
                f'MSAM perturbs along the momentum of the optimizer, and {type(optimizer).__name__} keeps none with '
                'these settings; give it one (momentum=0.9 for SGD), or use another method.'
            )

    def vectors(self, weights: Weights, optimizer: Optimizer, memory: Memory) -> Named:
        """Return ``-v``, the way that the steps of the optimizer go."""
        states = {name: optimizer.state.get(weight, {}) for name, weight in weights.items()}
        buffers = {name: state.get('momentum_buffer', state.get('exp_avg')) for name, state in states.items()}
        found = {name: buffer for name, buffer in buffers.items() if buffer is not None}
        return dict(zip(found, torch._foreach_neg(list(found.values())), strict=True)) if found else {}
