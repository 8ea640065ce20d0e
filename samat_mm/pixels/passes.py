"""The number of passes through a model."""

from dataclasses import dataclass
from typing import Any

from torch import Tensor


@dataclass
class Passes:
    """How many images went forward through the model, and how many gradients came back."""

    forwards: int = 0
    backwards: int = 0

    def count(self, output: Any, images: int) -> None:
        """Count a forward pass of ``images`` images, and every later backward pass through its output."""
        self.forwards += images
        if isinstance(output, Tensor) and output.requires_grad:
            output.register_hook(lambda _: self._count_backward(images))

    def _count_backward(self, images: int) -> None:
        self.backwards += images
