"""The inner maximisation over weights: one module per method."""

from samat_mm.perturbations.weights.asam import ASAM
from samat_mm.perturbations.weights.awp import AWP
from samat_mm.perturbations.weights.base import WeightPerturbation
from samat_mm.perturbations.weights.composite import Composite
from samat_mm.perturbations.weights.displacement import Displacement
from samat_mm.perturbations.weights.esam import ESAM
from samat_mm.perturbations.weights.fisher_sam import FisherSAM
from samat_mm.perturbations.weights.friendly_sam import FriendlySAM
from samat_mm.perturbations.weights.gsam import GSAM
from samat_mm.perturbations.weights.looksam import LookSAM
from samat_mm.perturbations.weights.sam import SAM
from samat_mm.perturbations.weights.sam_on import SAMON
from samat_mm.perturbations.weights.ssam import SSAMD, SSAMF
from samat_mm.perturbations.weights.wsam import WSAM

WEIGHT_PERTURBATION_TYPES: tuple[type[WeightPerturbation], ...] = (
    SAM,
    ASAM,
    ESAM,
    LookSAM,
    SSAMF,
    SSAMD,
    FisherSAM,
    SAMON,
    GSAM,
    FriendlySAM,
    WSAM,
    AWP,
)

__all__ = [
    'ASAM',
    'AWP',
    'ESAM',
    'GSAM',
    'SAM',
    'SAMON',
    'SSAMD',
    'SSAMF',
    'WEIGHT_PERTURBATION_TYPES',
    'WSAM',
    'Composite',
    'Displacement',
    'FisherSAM',
    'FriendlySAM',
    'LookSAM',
    'WeightPerturbation',
]
