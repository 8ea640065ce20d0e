"""What every weight perturbation is: a direction of ascent, and what a method may vary besides."""

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from samat_mm.perturbations.checks import non_negative

Named = dict[str, Tensor]


class WeightPerturbation(ABC):
    """One inner maximisation over the weights, ``max ||e|| <= rho  L(w + e)``, and what the descent makes of it.

    A method varies on three axes. *Direction*: :meth:`choose` which weights move, :meth:`ascend` whereto, and
    :meth:`select` the samples that the second pass sees. *Mixing*: :meth:`combine` the gradients of both passes.
    *Schedule*: :meth:`is_due` and :meth:`radius`. Only ``ascend`` must be written. The second pass and the way back
    belong to whoever drives the method (:class:`samat_mm.engine.optim_wrappers.SharpnessAwareMixin` in MMEngine, a loop
    of yours in plain torch).

    Args:
        rho: radius of the ball, in the units of the weights.

    Attributes:
        scale_free: a multiple of the gradient gives the same ascent, so that loss scales need not be taken out.
        synchronised: all processes must ascend along the same, averaged gradient, because it goes into a state.
        selects_samples: the second pass runs on the samples that :meth:`select` returns.
        mixes: the descent takes :meth:`combine`, not simply the gradient at the perturbed weights.
        corrects: :meth:`correct` moves the weights beside the step; clipping applies to both gradients before it.
        interval: steps from one ascent to the next.
        steps_displaced: the optimizer steps at the perturbed weights, which come back only after it.

    Raises:
        ValueError: if ``rho`` is not a finite number of at least 0.
    """

    scale_free: bool = True
    synchronised: bool = False
    selects_samples: bool = False
    mixes: bool = False
    steps_displaced: bool = False
    corrects: bool = False
    interval: int = 1

    def __init__(self, rho: float) -> None:
        self.rho = non_negative(rho, 'rho')

    # Direction

    def choose(self, weights: Mapping[str, Tensor], owners: Mapping[str, nn.Module]) -> list[str]:
        """Return the names of the weights that move in this step, before any gradient is taken.

        Args:
            weights: the parameters that may move, by name.
            owners: the module that each of them belongs to.
        """
        return list(weights)

    @abstractmethod
    def ascend(self, weights: Mapping[str, Tensor], grads: Sequence[Tensor]) -> list[Tensor]:
        """Return the maximiser of the linearised loss over the ball of radius 1.

        Args:
            weights: the parameters to perturb, by name.
            grads: the gradient of the loss for each of them, in the same order. The method may overwrite these
                tensors and return them, so that no second copy of the weights is needed.

        Returns:
            One offset per weight. A zero gradient gives zero offsets, a non-finite one gives non-finite offsets.
        """

    def select(self, before: Tensor, after: Callable[[torch.dtype | None], Tensor]) -> Tensor:
        """Return the indices of the samples that the second pass sees.

        Args:
            before: loss of each sample at the weights, shape (N,).
            after: gives the same at the perturbed weights, by a forward in the precision asked for (None: as it is).
        """
        return torch.arange(len(before), device=before.device)

    def fisher_samples(self) -> int:
        """Return from how many more samples the method wants squared gradients, see :meth:`add_fisher`."""
        return 0

    def add_fisher(self, weights: Mapping[str, Tensor], squares: Sequence[Tensor], samples: int) -> None:  # noqa: B027
        """Take squared per-sample gradients, summed over ``samples`` samples."""

    # Mixing

    def combine(self, clean: Named, perturbed: Named | None) -> Named:
        """Return the gradient that the optimizer descends along; may overwrite the tensors it is given.

        Args:
            clean: gradient at the weights, by name; over all trained weights, not only those that move.
            perturbed: gradient at the perturbed weights; None in a step that :meth:`is_due` let pass without ascent.
        """
        return clean if perturbed is None else perturbed

    def correct(self, weights: Mapping[str, Tensor], learning_rates: Mapping[str, float]) -> None:  # noqa: B027
        """Change the weights after the optimizer's step, for methods with a term of their own beside it."""

    # Schedule

    def is_due(self, step: int) -> bool:
        """Tell whether step number ``step`` needs an ascent."""
        return step % self.interval == 0

    def radius(self, group: Mapping[str, Any]) -> float:
        """Return the radius for a parameter group of the optimizer, whose ``rho`` schedulers drive."""
        return group['rho']

    # State

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed run needs, empty for methods without memory."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:  # noqa: B027
        """Continue from a state of :meth:`state_dict`."""

    def __repr__(self) -> str:
        parameters = {
            name: getattr(self, name) for name in inspect.signature(type(self)).parameters if hasattr(self, name)
        }
        return f'{type(self).__name__}({", ".join(f"{name}={value!r}" for name, value in parameters.items())})'
