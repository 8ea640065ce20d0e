"""The losses that attacks maximise, by name."""

from samat_mm.errors import InputError
from samat_mm.perturbations.inputs.objectives.base import IGNORED_LABEL, Objective, Target, check_shapes
from samat_mm.perturbations.inputs.objectives.cross_entropy import CrossEntropy, has_class_255, wrong_share
from samat_mm.perturbations.inputs.objectives.margin import DifferenceOfLogitsRatio, TargetedDLR
from samat_mm.perturbations.inputs.objectives.model_loss import ModelLoss
from samat_mm.perturbations.inputs.objectives.pixelwise import PIXEL_LOSSES, PixelObjective, balanced_by

OBJECTIVES: dict[str, Objective] = {
    objective.name: objective for objective in (CrossEntropy(), DifferenceOfLogitsRatio(), ModelLoss())
} | {name: PixelObjective(name, losses) for name, losses in PIXEL_LOSSES.items()}


def objective_named(name: str | Objective) -> Objective:
    """Return the objective of that name; an objective is returned as it is.

    Raises:
        ValueError: if it is unknown; the message lists the known ones.
    """
    if isinstance(name, Objective):
        return name
    if name not in OBJECTIVES:
        raise InputError(f'objective must be one of {", ".join(OBJECTIVES)}; got {name!r}.')
    return OBJECTIVES[name]


__all__ = [
    'IGNORED_LABEL',
    'OBJECTIVES',
    'CrossEntropy',
    'DifferenceOfLogitsRatio',
    'ModelLoss',
    'Objective',
    'PixelObjective',
    'Target',
    'TargetedDLR',
    'balanced_by',
    'check_shapes',
    'has_class_255',
    'objective_named',
    'wrong_share',
]
