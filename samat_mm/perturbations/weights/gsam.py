"""GSAM: descend on the perturbed loss and close the gap to the plain one."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch

from samat_mm.errors import InputError
from samat_mm.perturbations.checks import non_negative
from samat_mm.perturbations.vectors import divided, dot
from samat_mm.perturbations.weights.built_on import BuiltOn
from samat_mm.perturbations.weights.method import parameter
from samat_mm.perturbations.weights.parts import Memory, Named, Parts


@dataclass(frozen=True)
class GSAM(BuiltOn):
    """Surrogate gap guided SAM: descends along ``g_s - alpha g_o``.

    g_s is the gradient at the perturbed weights, g_o the part of the plain gradient orthogonal to it. The radius
    follows the learning rate, ``rho_min + (rho - rho_min) lr / lr_0``, where lr_0 is its highest value.

    Source: Zhuang et al., Surrogate Gap Minimization Improves Sharpness-Aware Training, ICLR 2022, algorithm 1; the
    defaults are those of its ResNets on ImageNet.

    Args:
        rho: radius at the full learning rate, 0.04 as published.
        rho_min: radius at learning rate 0, 0.02 as published.
        alpha: weight of the gap, 0.01 as published (0.4 for vision transformers).
        direction: the ascent, SAM as published.
    """

    rho: float = 0.04
    rho_min: float = parameter(0.02, non_negative)
    alpha: float = parameter(0.01, non_negative)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.rho_min > self.rho > 0:
            raise InputError(f'rho_min must not be above rho; got {self.rho_min:g} and {self.rho:g}.')

    @cached_property
    def parts(self) -> Parts:
        """The mixture and the radius."""
        return Parts(mix=self.mix, radius=self.radius)

    def radius(self, group: Mapping[str, Any], memory: Memory) -> float:
        """Return the radius at the learning rate of the group; a group whose rho is 0 keeps it."""
        rho = group['rho']
        # MMEngine's OneCycle begins below its peak, and notes the peak as max_lr.
        peak = max(group.get('initial_lr', group['lr']), group.get('max_lr', 0.0))
        if rho == 0 or peak == 0:
            return rho
        smallest = self.rho_min * (rho / self.rho if self.rho else 1)  # a multiple of rho is one of rho_min too
        return smallest + (rho - smallest) * min(group['lr'] / peak, 1.0)

    def mix(self, clean: Named, perturbed: Named | None, memory: Memory) -> tuple[Named, Named]:
        """Return ``g_s - alpha g_o``, in the tensors of ``perturbed``."""
        if perturbed is None:
            return clean, {}
        names = [name for name in perturbed if name in clean]
        plain, sharp = [clean[name] for name in names], [perturbed[name] for name in names]
        along = divided(dot(plain, sharp), dot(sharp, sharp))
        # g_s - alpha (g - along g_s) = (1 + alpha along) g_s - alpha g
        torch._foreach_mul_(sharp, (1 + self.alpha * along).to(sharp[0].dtype))
        torch._foreach_sub_(sharp, plain, alpha=self.alpha)
        return perturbed, {}
