"""The inner maximisation over inputs: attacks and their objectives."""

from samat_mm.perturbations.inputs.apgd import APGD
from samat_mm.perturbations.inputs.autoattack import AutoAttack
from samat_mm.perturbations.inputs.base import Attack
from samat_mm.perturbations.inputs.classification import ClassificationAttack
from samat_mm.perturbations.inputs.fab import FAB
from samat_mm.perturbations.inputs.fmn import FMN
from samat_mm.perturbations.inputs.objectives import OBJECTIVES, CrossEntropy, ModelLoss, Objective
from samat_mm.perturbations.inputs.pgd import FGSM, PGD
from samat_mm.perturbations.inputs.pixle import Pixle
from samat_mm.perturbations.inputs.problem import Predict, Problem
from samat_mm.perturbations.inputs.scaled_logits import ScaledLogits
from samat_mm.perturbations.inputs.sea import SEA
from samat_mm.perturbations.inputs.segpgd import CosPGD, SegPGD
from samat_mm.perturbations.inputs.square import Square
from samat_mm.perturbations.inputs.stadv import StAdv
from samat_mm.perturbations.inputs.torchattacks import Torchattacks

ATTACK_TYPES: tuple[type[Attack], ...] = (FGSM, PGD, APGD, SegPGD, CosPGD, SEA)
ATTACK_TYPES += (Square, FAB, FMN, Pixle, StAdv, AutoAttack, Torchattacks)  # for classifiers alone
ATTACK_TYPES += (ScaledLogits,)  # runs another one

__all__ = [
    'APGD',
    'ATTACK_TYPES',
    'FAB',
    'FGSM',
    'FMN',
    'OBJECTIVES',
    'PGD',
    'SEA',
    'Attack',
    'AutoAttack',
    'ClassificationAttack',
    'CosPGD',
    'CrossEntropy',
    'ModelLoss',
    'Objective',
    'Pixle',
    'Predict',
    'Problem',
    'ScaledLogits',
    'SegPGD',
    'Square',
    'StAdv',
    'Torchattacks',
]
