"""The function that an attack differentiates, in bfloat16."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from samat_mm.perturbations.inputs.problem import restricted


@dataclass(frozen=True)
class InBfloat16:
    """A ``predict`` under autocast to bfloat16, whose output is single precision."""

    predict: Callable[[Tensor], Tensor]

    def __call__(self, pixels: Tensor) -> Tensor:
        """Return the output for these pixels."""
        with torch.autocast(pixels.device.type, dtype=torch.bfloat16):
            return self.predict(pixels).float()

    def subset(self, rows: Tensor) -> 'InBfloat16':
        """Return the same for some images of the batch."""
        return InBfloat16(restricted(self.predict, rows))
