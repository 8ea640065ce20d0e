"""Which optimizer steps of a training may perturb."""

import math
from dataclasses import dataclass

from samat_mm.errors import InputError
from samat_mm.perturbations.checks import share, whole_number


@dataclass(frozen=True)
class StepSchedule:
    """Perturbs at every ``interval``-th step, from a first one on.

    Args:
        interval: steps from one that may perturb to the next.
        start_iter: number of steps without perturbation at the beginning.
        last: share of the training, at its end, that perturbs; None for all of it.

    Raises:
        ValueError: if a parameter is out of its range, or the beginning is given twice.
    """

    interval: int = 1
    start_iter: int = 0
    last: float | None = None

    def __post_init__(self) -> None:
        whole_number(self.interval, 'interval')
        if isinstance(self.start_iter, bool) or not isinstance(self.start_iter, int) or self.start_iter < 0:
            raise InputError(f'start_iter must be a whole number of at least 0; got {self.start_iter!r}.')
        if self.last is not None:
            share(self.last, 'last')
            if self.start_iter:
                raise InputError(
                    f'start_iter={self.start_iter} and last={self.last} both say where perturbing begins; give one.'
                )

    def first_step(self, steps: int) -> int:
        """Return the number of the first step that perturbs.

        Args:
            steps: of the whole training; 0 or less where that is unknown.

        Raises:
            ValueError: if it depends on the length of a training whose length is unknown.
        """
        if self.last is None:
            return self.start_iter
        if steps <= 0:
            raise InputError(
                f'last={self.last} perturbs in the last part of a training, whose length is not known here: let a '
                'Runner train (it gives it to the optimizer wrapper), call initialize_count_status, or use start_iter.'
            )
        return steps - min(steps, max(1, math.ceil(self.last * steps - 1e-9)))

    def position(self, step: int, steps: int) -> int | None:
        """Return the number of step ``step`` among those that may perturb, None if it is not one of them."""
        passed = step - self.first_step(steps)
        return passed // self.interval if passed >= 0 and passed % self.interval == 0 else None
