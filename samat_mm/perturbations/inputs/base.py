"""What every attack is."""

import random
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from samat_mm.perturbations.inputs.objectives import Objective

Predict = Callable[[Tensor], Tensor]


class Attack(ABC):
    """One inner maximisation over the inputs, ``max ||d|| <= eps  L(x + d)``.

    An attack never holds a model. It leaves the global random state, the modes of modules and every ``.grad`` as it
    found them, and with the same seed it gives the same images.

    Attributes:
        objective: the loss that it drives up; ``objective.output`` says what ``predict`` has to return.
        seed: the random start of image i is drawn from (seed, i) alone, whatever the batch.
    """

    objective: Objective
    seed: int

    @abstractmethod
    def __call__(
        self,
        predict: Predict,
        inputs: Tensor,
        target: Tensor | None,
        *,
        indices: Sequence[int] | None = None,
        sizes: Sequence[tuple[int, int]] | None = None,
    ) -> Tensor:
        """Return adversarial images.

        Args:
            predict: maps pixels (N, C, H, W) in [0, 1] to what the objective takes, differentiably.
            inputs: pixels (N, C, H, W) in [0, 1].
            target: labels (N,) or (N, H, W) with 255 ignored.
            indices: the number of each image in its data set, for its random start. Defaults to 0..N-1.
            sizes: (height, width) of each image within its top left corner; the rest is padding, which is never
                perturbed. Defaults to the whole image.

        Returns:
            Pixels in [0, 1] of the shape of ``inputs``.

        Raises:
            ValueError: if inputs lie outside [0, 1] or do not fit the target.
        """

    @abstractmethod
    def describe(self) -> dict[str, str | float | int | bool]:
        """Return the type and the parameters for reports, in plain types."""

    def __repr__(self) -> str:
        return f'{type(self).__name__}({", ".join(f"{key}={value!r}" for key, value in self.describe().items())})'


def generator_for(*key: int) -> torch.Generator:
    """Return a generator whose stream depends on the numbers of ``key`` alone (a CPU one, alike on every device)."""
    return torch.Generator().manual_seed(random.Random('/'.join(map(str, key))).getrandbits(63))
