"""LookSAM: an ascent every few steps, whose direction is reused in between."""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from samat_mm.perturbations.checks import non_negative, whole_number
from samat_mm.perturbations.vectors import divided, dot, global_norm
from samat_mm.perturbations.weights.built_on import BuiltOn
from samat_mm.perturbations.weights.method import parameter
from samat_mm.perturbations.weights.parts import Memory, Named, Parts


@dataclass(frozen=True)
class LookSAM(BuiltOn):
    """LookSAM: a SAM step every ``interval`` steps, steps along ``g + alpha (||g|| / ||v||) v`` in between.

    v is the part of the last gradient at perturbed weights that is orthogonal to the plain gradient of that step. Inner
    products run over all weights together. v is as large as the weights. The method rests on v changing slowly from
    batch to batch, which small batches do not give: ``benchmarks/looksam_direction.py`` measures it, and a smaller
    alpha helps.

    Source: Liu et al., Towards Efficient and Scalable Sharpness-Aware Minimization, CVPR 2022, algorithm 1.

    Args:
        rho: radius; None for the radius of the direction (0.05).
        interval: steps from one ascent to the next (the paper's k), 5 as published.
        alpha: weight of v, 0.7 as published.
        direction: the ascent, SAM as published.
    """

    interval: int = parameter(5, whole_number)
    alpha: float = parameter(0.7, non_negative)

    @cached_property
    def parts(self) -> Parts:
        """The mixture in between, and the schedule."""
        is_due = self.is_due if self.interval > 1 else None
        return Parts(mix=self.mix, is_due=is_due, memory=lambda: {'orthogonal': {}})

    def is_due(self, step: int, memory: Memory) -> bool:
        """Tell whether it is time, or v does not exist yet."""
        return step % self.interval == 0 or not memory['orthogonal']

    def mix(self, clean: Named, perturbed: Named | None, memory: Memory) -> tuple[Named, Named]:
        """Return the gradient at the perturbed weights and keep v, or mix v in where there is none."""
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
