"""The inner maximisation over weights: one module per method.

A method is a frozen value (`method.py`) of parts (`parts.py`), one slot each:

- *direction*: transformations in a chain (an average taken out, a mask, a rescaling, the steepest direction of the
  ball), ``before`` and ``after`` those of the method it builds on; their ``source``, where that is not the gradient of
  a pass of its own; and the number of ``ascents``;
- *selection* of the samples that the descent sees;
- *mixing* of the two gradients;
- *schedule*: which steps ascend, and how far;
- *step*: where the optimizer steps, at the weights or at the perturbed ones.

What a step needs (the clean gradient kept, losses of samples, squared gradients, an ascent shared by all processes,
unscaled gradients) is said by each part (:class:`Need`), and that of the method is their union. A method without a
direction of its own builds on another one, which fills the slots that it leaves empty.

Memory is not in the value: ``method.start()`` gives the method at work (`running.py`), which hands each part its memory
and is what checkpoints hold. Two loops drive it, :func:`perturbed_step` in plain torch (`driver.py`) and the optimizer
wrappers of MMEngine (`samat_mm/engine/optim_wrappers`).

A new method is one module, and one row in WEIGHT_PERTURBATION_TYPES.
"""

from samat_mm.perturbations.weights.asam import ASAM
from samat_mm.perturbations.weights.awp import AWP
from samat_mm.perturbations.weights.displacement import Displacement
from samat_mm.perturbations.weights.driver import perturbed_step
from samat_mm.perturbations.weights.esam import ESAM
from samat_mm.perturbations.weights.fisher_sam import FisherSAM
from samat_mm.perturbations.weights.friendly_sam import FriendlySAM
from samat_mm.perturbations.weights.gsam import GSAM
from samat_mm.perturbations.weights.looksam import LookSAM
from samat_mm.perturbations.weights.method import BuiltOn, WeightPerturbation
from samat_mm.perturbations.weights.msam import MSAM
from samat_mm.perturbations.weights.parts import Need, Parts
from samat_mm.perturbations.weights.running import RunningMethod
from samat_mm.perturbations.weights.sam import SAM
from samat_mm.perturbations.weights.sam_on import SAMON
from samat_mm.perturbations.weights.ssam import SSAMD, SSAMF
from samat_mm.perturbations.weights.stale_sam import StaleSAM
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
    MSAM,
    StaleSAM,
)

__all__ = [
    'ASAM',
    'AWP',
    'ESAM',
    'GSAM',
    'MSAM',
    'SAM',
    'SAMON',
    'SSAMD',
    'SSAMF',
    'WEIGHT_PERTURBATION_TYPES',
    'WSAM',
    'BuiltOn',
    'Displacement',
    'FisherSAM',
    'FriendlySAM',
    'LookSAM',
    'Need',
    'Parts',
    'RunningMethod',
    'StaleSAM',
    'WeightPerturbation',
    'perturbed_step',
]
