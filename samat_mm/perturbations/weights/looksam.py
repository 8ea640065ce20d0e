"""LookSAM: an ascent every few steps, its lesson used in between."""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from samat_mm.perturbations.checks import non_negative, whole_number
from samat_mm.perturbations.vectors import divided, dot, global_norm
from samat_mm.perturbations.weights.method import BuiltOn, WeightPerturbation, parameter
from samat_mm.perturbations.weights.parts import Memory, Mixing, Named, Parts, Schedule


@dataclass(frozen=True)
class LookSAM(BuiltOn):
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

    interval: int = parameter(5, whole_number)
    alpha: float = parameter(0.7, non_negative)
    direction: WeightPerturbation | None = None

    @cached_property
    def parts(self) -> Parts:
        """The mixture in between, and the schedule."""
        return Parts(mixing=OrthogonalMixing(self.alpha), schedule=EveryFewSteps(self.interval))


@dataclass(frozen=True)
class EveryFewSteps(Schedule):
    """An ascent every ``interval`` steps, and while there is no v yet."""

    interval: int

    def is_due(self, step: int, memory: Memory) -> bool:
        """Tell whether it is time."""
        return step % self.interval == 0 or not memory['orthogonal']


@dataclass(frozen=True)
class OrthogonalMixing(Mixing):
    """The gradient at the perturbed weights, or ``g + alpha (||g|| / ||v||) v`` where there is none."""

    alpha: float

    def memory(self) -> Memory:
        """Return no v."""
        return {'orthogonal': {}}

    def mix(self, clean: Named, perturbed: Named | None, memory: Memory) -> tuple[Named, Named]:
        """Mix, and keep v."""
        if perturbed is None:
            return self._with_orthogonal(clean, memory['orthogonal']), {}
        names = [name for name in perturbed if name in clean]
        plain, sharp = [clean[name] for name in names], [perturbed[name] for name in names]
        along = divided(dot(plain, sharp), dot(plain, plain))
        torch._foreach_mul_(plain, along.to(plain[0].dtype))
        memory['orthogonal'] = dict(zip(names, torch._foreach_sub(sharp, plain), strict=True))
        return perturbed, {}

    def _with_orthogonal(self, clean: Named, orthogonal: Named) -> Named:
        names = [name for name in clean if name in orthogonal]
        if names:
            kept: list[Tensor] = [orthogonal[name].to(clean[name]) for name in names]
            ratio = divided(global_norm(list(clean.values())), global_norm(kept))
            length = (self.alpha * ratio).to(torch.promote_types(kept[0].dtype, torch.float32))
            torch._foreach_add_([clean[name] for name in names], torch._foreach_mul(kept, length))
        return clean
