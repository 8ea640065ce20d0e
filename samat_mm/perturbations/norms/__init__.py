"""Norms by name: the one ball that weight and input perturbations share."""

from samat_mm.errors import InputError
from samat_mm.perturbations.norms.base import Norm
from samat_mm.perturbations.norms.l1 import L1
from samat_mm.perturbations.norms.l2 import L2
from samat_mm.perturbations.norms.linf import Linf

NORMS: dict[str, Norm] = {norm.name: norm for norm in (Linf(), L2(), L1())}


def norm_named(name: str) -> Norm:
    """Return the norm of that name.

    Raises:
        ValueError: if it is unknown; the message lists the known ones.
    """
    if name not in NORMS:
        raise InputError(f'norm must be one of {", ".join(NORMS)}; got {name!r}.')
    return NORMS[name]


__all__ = ['NORMS', 'Norm', 'norm_named']
