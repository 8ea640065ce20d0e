"""WSAM: sharpness as a regulariser with a weight of its own."""

from collections.abc import Mapping

import torch
from torch import Tensor

from samat_mm.errors import InputError
from samat_mm.perturbations.checks import one_of, share
from samat_mm.perturbations.weights.base import Named, WeightPerturbation
from samat_mm.perturbations.weights.composite import Composite

FORMS = ('decoupled', 'coupled')


class WSAM(Composite):
    """Weighted SAM: minimises ``L(w) + a (L(w + e) - L(w))`` with ``a = gamma / (1 - gamma)``.

    Coupled, the optimizer gets ``(1 - a) g + a g_s``. Decoupled, it gets g, and the sharpness term ``a (g_s - g)``
    descends beside it with the plain learning rate, untouched by momentum and by adaptive scales (as AdamW does with
    weight decay); ``clip_grad`` then applies to g and to g_s, each by itself, as in the authors' code. gamma = 1/2 is
    SAM in the coupled form.

    Source: Yue et al., Sharpness-Aware Minimization Revisited: Weighted Sharpness as a Regularization Term, KDD 2023.

    Args:
        rho: radius; None is that of the direction (0.05).
        gamma: weight of the sharpness, 0.9 as published; below 1.
        form: 'decoupled' as published, or 'coupled'.
        direction: the ascent, SAM as published.

    Raises:
        ValueError: if a parameter is out of its range.
    """

    mixes = True

    def __init__(
        self,
        rho: float | None = None,
        gamma: float = 0.9,
        form: str = 'decoupled',
        direction: WeightPerturbation | None = None,
    ) -> None:
        super().__init__(rho, direction)
        if gamma and share(gamma, 'gamma') == 1:
            raise InputError(
                'gamma must be below 1, because the weight of the sharpness is gamma / (1 - gamma); got 1.'
            )
        self.gamma = float(gamma)
        self.form = one_of(form, FORMS, 'form')
        self.corrects = form == 'decoupled'
        self._sharpness: Named = {}

    @property
    def weight(self) -> float:
        """The weight a of the sharpness term."""
        return self.gamma / (1 - self.gamma)

    def combine(self, clean: Named, perturbed: Named | None) -> Named:
        """Return ``(1 - a) g + a g_s``, or g while the rest waits for :meth:`correct`."""
        if perturbed is None:
            return clean
        names = [name for name in perturbed if name in clean]
        plain, sharp = [clean[name] for name in names], [perturbed[name] for name in names]
        torch._foreach_sub_(sharp, plain)
        torch._foreach_mul_(sharp, self.weight)
        if self.form == 'decoupled':
            self._sharpness = dict(zip(names, [tensor.clone() for tensor in sharp], strict=True))
            return clean
        torch._foreach_add_(sharp, plain)
        return perturbed

    def correct(self, weights: Mapping[str, Tensor], learning_rates: Mapping[str, float]) -> None:
        """Descend along the sharpness term of the last :meth:`combine`."""
        sharpness, self._sharpness = self._sharpness, {}
        with torch.no_grad():
            for name, term in sharpness.items():
                weights[name].sub_(term, alpha=learning_rates[name])
