"""A sharpness-aware method: a frozen value that says which parts it is made of."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any, Self

from torch import Tensor

from samat_mm.errors import InputError
from samat_mm.perturbations.checks import non_negative
from samat_mm.perturbations.weights.parts import Need, Parts
from samat_mm.perturbations.weights.running import RunningMethod


def parameter(default: Any, check: Callable[..., Any], *given: Any) -> Any:
    """Return a field of a method: its default, and what returns the value to keep or refuses it.

    Args:
        default: its value where none is given.
        check: called with a value, ``given`` and the name of the field.
        *given: for the check.
    """
    return dataclasses.field(default=default, metadata={'check': lambda value, name: check(value, *given, name)})


@dataclasses.dataclass(frozen=True)
class WeightPerturbation:
    """One inner maximisation over the weights, ``max ||e|| <= rho  L(w + e)``, and what the descent makes of it.

    A method is the value of its parameters: :attr:`parts` says what it is made of, and :meth:`start` begins a training
    with it.

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

    @cached_property
    def parts(self) -> Parts:
        """What this method is made of, beside the parts of the one that it builds on."""
        return Parts()

    @property
    def levels(self) -> tuple['WeightPerturbation', ...]:
        """This method, the one it builds on, and so on."""
        return (self,)

    @property
    def needs(self) -> frozenset[Need]:
        """What a step with this method needs, which follows from the parts."""
        return frozenset(need for level in self.levels for part in level.parts.all() for need in part.needs)

    def start(self) -> RunningMethod:
        """Return the method with a memory, for one training."""
        return RunningMethod(self)

    def replace(self, **changes: Any) -> Self:
        """Return the same method with other parameters."""
        return dataclasses.replace(self, **changes)

    def ascend(self, weights: Mapping[str, Tensor], grads: Sequence[Tensor]) -> list[Tensor]:
        """Return the first ascent of a training, see :meth:`RunningMethod.ascend`."""
        return self.start().ascend(weights, grads)


@dataclasses.dataclass(frozen=True)
class BuiltOn(WeightPerturbation):
    """A method that changes something of another one, which fills the slots that it leaves empty.

    Its parameter ``direction`` is the method to build on, ``dict(type='ASAM')`` in a config.

    Args:
        rho: radius; None is that of the direction.

    Raises:
        ValueError: if ``direction`` is no weight perturbation, or has a part that does not go with those of this one.
    """

    rho: float | None = None  # type: ignore[assignment]

    def __post_init__(self) -> None:
        direction = self.usual_direction() if self._direction is None else self._direction
        if not isinstance(direction, WeightPerturbation):
            raise InputError(
                f"direction must be a weight perturbation, or its config such as dict(type='ASAM'); got {direction!r}."
            )
        self._put('direction', direction)
        self._put('rho', self.usual_radius(direction) if self.rho is None else self.rho)
        super().__post_init__()
        check_fit(self.levels)

    @property
    def levels(self) -> tuple[WeightPerturbation, ...]:
        """This method, the one it builds on, and so on."""
        return (self, *self._direction.levels)

    @property
    def _direction(self) -> Any:
        return vars(self)['direction']

    def usual_direction(self) -> WeightPerturbation:
        """Return the method to build on where none is given."""
        from samat_mm.perturbations.weights.sam import SAM

        return SAM()

    def usual_radius(self, direction: WeightPerturbation) -> float:
        """Return the radius where none is given."""
        return direction.rho


def check_fit(levels: tuple[WeightPerturbation, ...]) -> None:
    """Refuse a method whose parts do not go with those of the methods that it builds on."""
    outer, *inner = levels
    name = type(outer).__name__
    first_pass = {Need.CLEAN_GRADIENT, Need.SAMPLE_LOSSES, Need.SAMPLE_GRADIENTS}
    wanted = [need.value for part in outer.parts.all() for need in part.needs if need in first_pass]
    remembers = any(link.memory() for link in (*outer.parts.before, *outer.parts.after))
    for method in sorted(inner, key=lambda method: method.parts.mixing is None):
        other = type(method).__name__
        if outer.parts.mixing and method.parts.mixing:
            raise InputError(
                f'{name} and {other} each mix the gradients of the two passes in a way of their own; use one of them.'
            )
        if outer.parts.mixing and method.parts.selection:
            raise InputError(
                f'{name} compares the gradients of both passes, which must be of the same samples, but {other} selects '
                'samples for the second; give it gamma=1.'
            )
        if wanted and method.parts.source:
            raise InputError(
                f'{name} needs {wanted[0]}, from a pass at the weights themselves, which {other} leaves out; use '
                'another direction.'
            )
        if remembers and method.parts.ascents > 1:
            raise InputError(
                f'{name} keeps a memory of one ascent per step, but {other} takes {method.parts.ascents}; give it '
                'steps=1.'
            )
