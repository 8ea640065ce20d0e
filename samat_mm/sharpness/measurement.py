"""The sharpness values that are reported, under the same names everywhere."""

import math
from dataclasses import dataclass

import numpy as np

from samat_mm.errors import InputError, NonFiniteError
from samat_mm.perturbations.weights import ASAM, SAM
from samat_mm.sharpness.hessian import MAX_ITERATIONS, top_eigenvalue, trace
from samat_mm.sharpness.rise import loss_rises
from samat_mm.sharpness.surface import LossSurface


@dataclass(frozen=True)
class Measurement:
    """Which values to measure: worst-case rises of the loss, and the curvature.

    Args:
        rho: radius of SAM's ball, in the units of the weights.
        asam_rho: radius of ASAM's ball, which scales with the weights.
        steps: number of steps of the ascent that is measured in addition to training's single step.
        probes: number of random vectors for the estimate of the trace; 0 skips the Hessian.
        seed: seed of the random vectors.

    Raises:
        ValueError: if a value is out of its range.
    """

    rho: float = 0.05
    asam_rho: float = 0.5
    steps: int = 5
    probes: int = 10
    seed: int = 0

    def __post_init__(self) -> None:
        self._balls()
        if self.steps < 1:
            raise InputError(f'steps must be at least 1; got {self.steps}.')
        if self.probes < 0 or self.probes == 1:
            raise InputError(f'probes must be 0, for no Hessian, or at least 2; got {self.probes}.')

    @property
    def names(self) -> tuple[str, ...]:
        """What :meth:`measure` returns."""
        rises = [name for ball in self._balls() for name in (ball, self._best_of(ball))]
        hessian = ('top_eigenvalue', 'top_eigenvalue_error', 'trace', 'trace_standard_error') if self.probes else ()
        return tuple(dict.fromkeys(('loss', *rises, *hessian)))

    def most_passes(self) -> int:
        """Return the maximum number of passes over the batches; the eigenvalue may need fewer."""
        return 1 + len(self._balls()) * (self.steps + 1) + self.probes + (MAX_ITERATIONS if self.probes else 0)

    def measure(self, surface: LossSurface) -> dict[str, float]:
        """Return the values by name.

        ``sam`` and ``asam`` are the rises of the loss at the points to which SAM and ASAM move the weights, and
        ``sam-5-step`` is the largest rise found by 5 steps in the same ball.

        Raises:
            FloatingPointError: if the loss is not finite.
            ValueError: if an operator of the model has no second derivative.
        """
        results = {'loss': surface.value()}
        if not math.isfinite(results['loss']):
            raise NonFiniteError(
                f'the loss at the weights is not finite ({results["loss"]}), so its sharpness cannot be measured.'
            )
        for name, ball in self._balls().items():
            rises = loss_rises(surface, ball, self.steps)
            results[self._best_of(name)] = float(np.max(rises))  # unlike max(), NaN if one of them is
            results[name] = rises[0]
        if self.probes:
            results['top_eigenvalue'], results['top_eigenvalue_error'], _ = top_eigenvalue(surface, self.seed)
            results['trace'], results['trace_standard_error'] = trace(surface, self.probes, self.seed)
        return {name: results[name] for name in self.names}

    def _balls(self) -> dict[str, SAM | ASAM]:
        return {'sam': SAM(self.rho), 'asam': ASAM(self.asam_rho)}

    def _best_of(self, name: str) -> str:
        return name if self.steps == 1 else f'{name}-{self.steps}-step'
