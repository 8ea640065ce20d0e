"""A method that changes something of another one."""

import dataclasses
from typing import ClassVar

from samat_mm.errors import InputError
from samat_mm.perturbations.weights.method import WeightPerturbation
from samat_mm.perturbations.weights.parts import Need
from samat_mm.perturbations.weights.sam import SAM


@dataclasses.dataclass(frozen=True)
class BuiltOn(WeightPerturbation):
    """A method that changes something of another one, which fills the slots that it leaves empty.

    Args:
        rho: radius; None for ``radius_ratio`` times the radius of the direction.
        direction: the method to build on, ``dict(type='ASAM')`` in a config.

    Raises:
        ValueError: if ``direction`` is not a weight perturbation, or has a part that does not go with those of this
            method.
    """

    rho: float | None = None  # type: ignore[assignment]
    direction: WeightPerturbation = dataclasses.field(default=SAM(), kw_only=True)

    radius_ratio: ClassVar[float] = 1

    def __post_init__(self) -> None:
        if not isinstance(self.direction, WeightPerturbation):
            raise InputError(
                "direction must be a weight perturbation, or its config such as dict(type='ASAM'); "
                f'got {self.direction!r}.'
            )
        if self.rho is None:
            self._put('rho', self.radius_ratio * self.direction.rho)
        super().__post_init__()
        check_fit(self, self.direction)

    @property
    def levels(self) -> tuple[WeightPerturbation, ...]:
        """This method, the one it builds on, and so on."""
        return (self, *self.direction.levels)


def check_fit(outer: WeightPerturbation, direction: WeightPerturbation) -> None:
    """Refuse a method whose parts do not go with those of the methods that it builds on."""
    name, parts = type(outer).__name__, outer.parts
    first_pass = {Need.CLEAN_GRADIENT, Need.SAMPLE_LOSSES, Need.SAMPLE_GRADIENTS} & parts.all_needs()
    remembers = bool(parts.memory()) and bool(parts.before or parts.after)
    for method in sorted(direction.levels, key=lambda level: level.parts.mix is None):
        other, inner = type(method).__name__, method.parts
        if parts.mix and inner.mix:
            raise InputError(
                f'{name} and {other} each mix the gradients of the two passes in their own way; use one of them.'
            )
        if parts.mix and inner.select:
            raise InputError(
                f'{name} compares the gradients of both passes, which must be of the same samples, but {other} selects '
                'samples for the second; give it gamma=1.'
            )
        if first_pass and inner.source:
            raise InputError(
                f'{name} needs {min(need.value for need in first_pass)}, from a pass at the weights themselves, which '
                f'{other} leaves out; use another direction.'
            )
        if remembers and inner.ascents > 1:
            raise InputError(
                f'{name} keeps a memory of one ascent per step, but {other} takes {inner.ascents}; give it steps=1.'
            )
