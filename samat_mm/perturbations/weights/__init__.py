"""The inner maximisation over weights: one module per method.

A method is a frozen value (`method.py`) of parts (`parts.py`): functions, one slot each for

- the *direction*: a chain of transformations (an average taken out, a mask, the steepest direction of the ball),
  ``before`` and ``after`` those of the method it builds on; their ``source``, where that is not the gradient of a pass
  at the weights; and the number of ``ascents``;
- the *selection* of the samples that the descent sees (``select``);
- the *mixture* of the gradients of both passes (``mix``);
- the *schedule*: which steps ascend (``is_due``), and how far (``radius``).

What a step must provide (:class:`Need`) follows from the slots or is declared. A method without its own direction
builds on another one (`built_on.py`), which fills the slots that it leaves empty.

``method.start()`` gives the method in use (`running.py`), with the memory that checkpoints hold. Two loops drive it,
:func:`perturbed_step` in plain torch (`driver.py`) and the optimizer wrappers of MMEngine
(`samat_mm/engine/optim_wrappers`).

A new method is one module, and one row in WEIGHT_PERTURBATION_TYPES.
"""

from samat_mm.perturbations.weights.asam import ASAM
from samat_mm.perturbations.weights.awp import AWP
from samat_mm.perturbations.weights.built_on import BuiltOn
from samat_mm.perturbations.weights.displacement import Displacement
from samat_mm.perturbations.weights.driver import perturbed_step
from samat_mm.perturbations.weights.esam import ESAM
from samat_mm.perturbations.weights.fisher_sam import FisherSAM
from samat_mm.perturbations.weights.friendly_sam import FriendlySAM
from samat_mm.perturbations.weights.gsam import GSAM
from samat_mm.perturbations.weights.looksam import LookSAM
from samat_mm.perturbations.weights.method import WeightPerturbation
from samat_mm.perturbations.weights.msam import MSAM
from samat_mm.perturbations.weights.parts import Need, Parts, Source, Transformation
from samat_mm.perturbations.weights.running import RunningMethod
from samat_mm.perturbations.weights.sam import SAM
from samat_mm.perturbations.weights.sam_on import SAMON
from samat_mm.perturbations.weights.ssam import SSAMD, SSAMF
from samat_mm.perturbations.weights.stale_sam import StaleSAM
from samat_mm.perturbations.weights.transformations import steepest
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
    'Source',
    'StaleSAM',
    'Transformation',
    'WeightPerturbation',
    'perturbed_step',
    'steepest',
]
