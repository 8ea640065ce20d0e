"""LookSAM: an ascent every few steps, its lesson used in between."""

from typing import Any

import torch
from torch import Tensor

from samat_mm.perturbations.checks import non_negative, whole_number
from samat_mm.perturbations.weights.base import Named, WeightPerturbation
from samat_mm.perturbations.weights.composite import Composite
from samat_mm.perturbations.weights.vectors import divided, dot, global_norm


class LookSAM(Composite):
    """LookSAM: a SAM step every ``interval`` steps, steps along ``g + alpha (||g|| / ||v||) v`` in between.

    v is the part of the last gradient at perturbed weights that is orthogonal to the plain gradient of that step. Inner
    products are those of all weights together. One copy of the weights is kept for v. The method rests on v changing
    slowly from batch to batch, which small batches do not give: ``benchmarks/looksam_direction.py`` measures it, and a
    smaller alpha helps.

    Source: Liu et al., Towards Efficient and Scalable Sharpness-Aware Minimization, CVPR 2022, algorithm 1.

    Args:
        rho: radius; None is that of the direction (0.05).
        interval: steps from one ascent to the next (the paper's k), 5 as published.
        alpha: weight of v, 0.7 as published.
        direction: the ascent, SAM as published.

    Raises:
        ValueError: if a parameter is out of its range.
    """

    mixes = True

    def __init__(
        self,
        rho: float | None = None,
        interval: int = 5,
        alpha: float = 0.7,
        direction: WeightPerturbation | None = None,
    ) -> None:
        super().__init__(rho, direction)
        self.interval = whole_number(interval, 'interval')
        self.alpha = non_negative(alpha, 'alpha')
        self._orthogonal: Named = {}

    def is_due(self, step: int) -> bool:
        """Tell whether it is time for an ascent: every ``interval`` steps, and while there is no v yet."""
        return step % self.interval == 0 or not self._orthogonal

    def combine(self, clean: Named, perturbed: Named | None) -> Named:
        """Return the gradient at the perturbed weights and keep v, or return ``g + alpha (||g|| / ||v||) v``."""
        if perturbed is None:
            return self._with_orthogonal(clean)
        names = [name for name in perturbed if name in clean]
        plain, sharp = [clean[name] for name in names], [perturbed[name] for name in names]
        along = divided(dot(plain, sharp), dot(plain, plain))
        torch._foreach_mul_(plain, along.to(plain[0].dtype))
        self._orthogonal = dict(zip(names, torch._foreach_sub(sharp, plain), strict=True))
        return perturbed

    def _with_orthogonal(self, clean: Named) -> Named:
        names = [name for name in clean if name in self._orthogonal]
        if names:
            kept: list[Tensor] = [self._orthogonal[name].to(clean[name]) for name in names]
            ratio = divided(global_norm(list(clean.values())), global_norm(kept))
            length = (self.alpha * ratio).to(torch.promote_types(kept[0].dtype, torch.float32))
            torch._foreach_add_([clean[name] for name in names], torch._foreach_mul(kept, length))
        return clean

    def state_dict(self) -> dict[str, Any]:
        """Return v."""
        return {**super().state_dict(), 'orthogonal': self._orthogonal}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a state of :meth:`state_dict`."""
        super().load_state_dict(state)
        self._orthogonal = {name: tensor.clone() for name, tensor in state.get('orthogonal', {}).items()}
