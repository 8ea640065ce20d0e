"""Images whose labels give logits no target."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from samat_mm.errors import InputError
from samat_mm.perturbations.inputs import Attack
from samat_mm.tasks.base import Task


@dataclass(frozen=True)
class Undecided(Task):
    """Images without one class each, or per pixel: nothing to judge, and no logits of a known meaning.

    Attributes:
        reason: why an attack on logits has no target, and how to mend it.
        has_labels: whether there are labels of any kind, which the model's own loss needs.
    """

    reason: str
    has_labels: bool

    def target(self, samples: Sequence[Any], device: torch.device) -> Tensor:
        """Refuse; raises ValueError with the reason."""
        raise InputError(self.reason)

    def logits(self, model: nn.Module, inputs: Tensor, samples: Sequence[Any]) -> Tensor:
        """Refuse; raises ValueError with the reason."""
        raise InputError(self.reason)

    def decided(self, prediction: Any) -> Tensor | None:
        """Return None."""
        return None

    def judge(self, prediction: Any) -> dict[str, Any]:
        """Return nothing."""
        return {}

    def fitted(self, attack: Attack) -> Attack:
        """Refuse an attack on logits, and any attack without labels; raises ValueError."""
        if attack.objective.output == 'logits' or not self.has_labels:
            raise InputError(self.reason)
        return super().fitted(attack)
