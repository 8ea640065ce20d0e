"""WSAM: sharpness as a regulariser with its own weight."""

from dataclasses import dataclass
from functools import cached_property

import torch

from samat_mm.errors import InputError
from samat_mm.perturbations.checks import one_of, share
from samat_mm.perturbations.weights.built_on import BuiltOn
from samat_mm.perturbations.weights.method import parameter
from samat_mm.perturbations.weights.parts import Memory, Named, Need, Parts


def _below_one(value: float, name: str) -> float:
    if value != 0 and share(value, name) == 1:
        raise InputError('gamma must be below 1, because the weight of the sharpness is gamma / (1 - gamma); got 1.')
    return float(value)


@dataclass(frozen=True)
class WSAM(BuiltOn):
    """Weighted SAM: minimises ``L(w) + a (L(w + e) - L(w))`` with ``a = gamma / (1 - gamma)``.

    Coupled, the optimizer gets ``(1 - a) g + a g_s``. Decoupled, it gets g, and the sharpness term ``a (g_s - g)``
    descends in addition by the plain learning rate, untouched by momentum and by adaptive scales (as AdamW does with
    weight decay); ``clip_grad`` then applies to g and to g_s, each by itself, as in the authors' code. gamma = 1/2 is
    SAM in the coupled form.

    Source: Yue et al., Sharpness-Aware Minimization Revisited: Weighted Sharpness as a Regularization Term, KDD 2023.

    Args:
        rho: radius; None for the radius of the direction (0.05).
        gamma: weight of the sharpness, 0.9 as published; below 1.
        form: 'decoupled' as published, or 'coupled'.
        direction: the ascent, SAM as published.
    """

    gamma: float = parameter(0.9, _below_one)
    form: str = parameter('decoupled', one_of, ('decoupled', 'coupled'))

    @cached_property
    def parts(self) -> Parts:
        """The mixture."""
        if self.form == 'coupled':
            return Parts(mix=self.mix_coupled)
        return Parts(mix=self.mix_decoupled, needs=frozenset({Need.CLIPPED_APART}))

    def mix_coupled(self, clean: Named, perturbed: Named | None, memory: Memory) -> tuple[Named, Named]:
        """Return ``(1 - a) g + a g_s``, in the tensors of ``perturbed``."""
        if perturbed is None:
            return clean, {}
        sharpness = self._sharpness(clean, perturbed)
        torch._foreach_add_(list(sharpness.values()), [clean[name] for name in sharpness])
        return perturbed, {}

    def mix_decoupled(self, clean: Named, perturbed: Named | None, memory: Memory) -> tuple[Named, Named]:
        """Return g, and ``a (g_s - g)`` to descend along after the step."""
        if perturbed is None:
            return clean, {}
        return clean, {name: term.clone() for name, term in self._sharpness(clean, perturbed).items()}

    def _sharpness(self, clean: Named, perturbed: Named) -> Named:
        """Return ``a (g_s - g)``, written into ``perturbed``."""
        sharpness = {name: gradient for name, gradient in perturbed.items() if name in clean}
        torch._foreach_sub_(list(sharpness.values()), [clean[name] for name in sharpness])
        torch._foreach_mul_(list(sharpness.values()), self.gamma / (1 - self.gamma))
        return sharpness
