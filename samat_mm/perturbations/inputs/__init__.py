"""The inner maximisation over inputs: attacks and their objectives."""

from samat_mm.perturbations.inputs.base import Attack, Predict
from samat_mm.perturbations.inputs.objectives import CrossEntropy, ModelLoss, Objective
from samat_mm.perturbations.inputs.pgd import FGSM, PGD

ATTACK_TYPES: tuple[type[Attack], ...] = (FGSM, PGD)

__all__ = ['ATTACK_TYPES', 'FGSM', 'PGD', 'Attack', 'CrossEntropy', 'ModelLoss', 'Objective', 'Predict']
