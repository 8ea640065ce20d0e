"""The inner maximisation over weights: one module per method."""

from samat_mm.perturbations.weights.asam import ASAM
from samat_mm.perturbations.weights.base import Displacement, WeightPerturbation
from samat_mm.perturbations.weights.sam import SAM

WEIGHT_PERTURBATION_TYPES: tuple[type[WeightPerturbation], ...] = (SAM, ASAM)

__all__ = ['ASAM', 'SAM', 'WEIGHT_PERTURBATION_TYPES', 'Displacement', 'WeightPerturbation']
