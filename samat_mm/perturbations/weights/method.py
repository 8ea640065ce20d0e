"""A sharpness-aware method: a frozen value of its parameters, which names its parts."""

import dataclasses
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, Self

from torch import Tensor

from samat_mm.perturbations.checks import non_negative
from samat_mm.perturbations.weights.parts import Need, Parts, Weights
from samat_mm.perturbations.weights.running import RunningMethod


def parameter(default: Any, check: Callable[..., Any], *given: Any) -> Any:
    """Return a field of a method.

    Args:
        default: default value.
        check: called with a value, ``given`` and the name of the field; returns the value to keep, or refuses it.
        *given: further arguments of the check.
    """
    return dataclasses.field(default=default, metadata={'check': lambda value, name: check(value, *given, name)})


@dataclasses.dataclass(frozen=True)
class WeightPerturbation:
    """One inner maximisation over the weights, ``max ||e|| <= rho  L(w + e)``, and how the descent uses it.

    Args:
        rho: radius of the ball, in the units of the weights.

    Raises:
        ValueError: if a parameter is out of its range.
    """

    rho: float

    def __post_init__(self) -> None:
        self._put('rho', non_negative(self.rho, 'rho'))
        for field in dataclasses.fields(self):
            if 'check' in field.metadata:
                self._put(field.name, field.metadata['check'](getattr(self, field.name), field.name))

    def _put(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in vars(self).items() if key != 'parts'}  # functions are not pickled

    @cached_property
    def parts(self) -> Parts:
        """The parts of this method itself, without those of a method that it builds on."""
        return Parts()

    @property
    def levels(self) -> tuple['WeightPerturbation', ...]:
        """This method, the one it builds on, and so on."""
        return (self,)

    @property
    def needs(self) -> frozenset[Need]:
        """The needs of a step with this method, which follow from the parts."""
        return frozenset().union(*(level.parts.all_needs() for level in self.levels))

    def start(self) -> RunningMethod:
        """Return the method with an empty memory, for one training."""
        return RunningMethod(type(self).__name__, self.rho, [level.parts for level in self.levels])

    def replace(self, **changes: Any) -> Self:
        """Return the same method with other parameters."""
        return dataclasses.replace(self, **changes)

    def ascend(self, weights: Weights, grads: Sequence[Tensor]) -> list[Tensor]:
        """Return the first ascent of a training, see :meth:`RunningMethod.ascend`."""
        return self.start().ascend(weights, grads)
