"""The model's own training loss as an objective."""

from dataclasses import dataclass

from torch import Tensor

from samat_mm.errors import InputError
from samat_mm.perturbations.inputs.objectives.base import Objective, Target


@dataclass(frozen=True)
class ModelLoss(Objective):
    """The model's own training loss, for models without logits of a known meaning (detectors, for instance).

    ``predict`` returns the scalar that training would minimise. It has no value per sample, so the batch keeps or
    drops an iterate as one.
    """

    name = 'model-loss'
    output = 'loss'

    def check(self, output: Tensor, target: Target) -> None:
        """Refuse anything but a scalar."""
        if output.numel() != 1:
            raise InputError(f'model-loss expects one scalar loss from predict; got shape {tuple(output.shape)}.')

    def losses(self, output: Tensor, target: Target, progress: float) -> Tensor:
        """Return the scalar ``output`` as a tensor of shape (1,)."""
        return output.reshape(1)
