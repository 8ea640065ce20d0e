"""Friendly SAM: ascend along what is particular to the batch."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from samat_mm.perturbations.checks import non_negative, share
from samat_mm.perturbations.weights.base import Named, WeightPerturbation
from samat_mm.perturbations.weights.composite import Composite


class FriendlySAM(Composite):
    """Friendly SAM: ascends along ``d = g - sigma m``, and then sets ``m = lambda m + (1 - lambda) g``.

    The average m stands for the gradient of all data, which should not be climbed. As in the authors' code it is that
    of the batches before, and starts at the first gradient, along which the first ascent goes; in the paper's equations
    m takes the batch in before it is subtracted. One copy of the weights is kept for it. With several processes g is
    their average, so that m is the same everywhere.

    Source: Li et al., Friendly Sharpness-Aware Minimization, CVPR 2024.

    Args:
        rho: radius; None is that of the direction (0.05).
        sigma: share of the average that is taken out, 1 as published.
        momentum: lambda of the average, 0.9 as published.
        direction: the ascent that is given d instead of the gradient, SAM as published.

    Raises:
        ValueError: if a parameter is out of its range.
    """

    scale_free = False
    synchronised = True

    def __init__(
        self,
        rho: float | None = None,
        sigma: float = 1.0,
        momentum: float = 0.9,
        direction: WeightPerturbation | None = None,
    ) -> None:
        super().__init__(rho, direction)
        self.sigma = non_negative(sigma, 'sigma')
        self.momentum = share(momentum, 'momentum') if momentum else 0.0
        self._average: Named = {}

    def ascend(self, weights: Mapping[str, Tensor], grads: Sequence[Tensor]) -> list[Tensor]:
        """Return the direction's ascent along d, written into ``grads``."""
        known = [(name, gradient) for name, gradient in zip(weights, grads, strict=True) if name in self._average]
        for name, gradient in zip(weights, grads, strict=True):
            if name not in self._average:
                self._average[name] = gradient.clone()
            elif self._average[name].device != gradient.device:
                self._average[name] = self._average[name].to(gradient)
        if known:
            averages, gradients = [self._average[name] for name, _ in known], [gradient for _, gradient in known]
            torch._foreach_sub_(gradients, averages, alpha=self.sigma)
            # lambda m + (1 - lambda) g, where g is d + sigma m: it has been overwritten by d.
            torch._foreach_mul_(averages, self.momentum + (1 - self.momentum) * self.sigma)
            torch._foreach_add_(averages, gradients, alpha=1 - self.momentum)
        return super().ascend(weights, grads)

    def state_dict(self) -> dict[str, Any]:
        """Return the average."""
        return {**super().state_dict(), 'average': self._average}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a state of :meth:`state_dict`."""
        super().load_state_dict(state)
        self._average = {name: tensor.clone() for name, tensor in state.get('average', {}).items()}
