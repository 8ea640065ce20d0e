"""Passes of images through a model: their number, and their precision."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from samat_mm.perturbations.inputs.problem import restricted


@dataclass
class Passes:
    """The number of images that went forward through a model, and of gradients that came back."""

    forwards: int = 0
    backwards: int = 0

    def count(self, output: Any, images: int) -> None:
        """Count a forward pass of ``images`` images, and each later backward pass through its output."""
        self.forwards += images
        if isinstance(output, Tensor) and output.requires_grad:
            output.register_hook(lambda _: self._count_backward(images))

    def _count_backward(self, images: int) -> None:
        self.backwards += images


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
