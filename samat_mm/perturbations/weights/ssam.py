"""SSAM: SAM under a mask that leaves most of the ascent to the weights that matter."""

from dataclasses import dataclass
from functools import cached_property

from samat_mm.errors import InputError
from samat_mm.perturbations.checks import non_negative, share, whole_number
from samat_mm.perturbations.weights.masks import DynamicMask, FisherMask, Masked
from samat_mm.perturbations.weights.method import BuiltOn, WeightPerturbation, parameter
from samat_mm.perturbations.weights.parts import Parts

CIFAR_EPOCH = 391  # steps with batches of 128


def _sparsity(value: float, name: str) -> float:
    if non_negative(value, name) >= 1:
        raise InputError(f'sparsity must be below 1, or no weight is perturbed; got {value}.')
    return float(value)


@dataclass(frozen=True)
class SSAMF(BuiltOn):
    """Sparse SAM by Fisher information: ``e = m * rho g / ||g||``.

    The mask m is 1 for the ``1 - sparsity`` share of the weights with the largest sum of squared per-sample gradients
    (where the model's loss is no mean over samples, of squared gradients of batches). Until the first ``samples``
    samples are seen, it is 1 everywhere, so that the run begins as SAM.

    Source: Mi et al., Make Sharpness-Aware Minimization Stronger: A Sparsified Perturbation Approach, NeurIPS 2022.

    Args:
        rho: radius; None is that of the direction (0.05).
        sparsity: share of the weights that stay, 0.5 as published.
        samples: samples to sum over, 128 as published (up to 1024).
        update_interval: ascents from one mask to the next, by default an epoch of CIFAR with batches of 128.
        direction: the ascent under the mask, SAM as published.

    Raises:
        ValueError: if a parameter is out of its range.
    """

    sparsity: float = parameter(0.5, _sparsity)
    samples: int = parameter(128, whole_number)
    update_interval: int = parameter(CIFAR_EPOCH, whole_number)
    direction: WeightPerturbation | None = None

    @cached_property
    def parts(self) -> Parts:
        """The mask."""
        return Parts(before=(FisherMask(self.sparsity, self.samples, self.update_interval),), after=(Masked(),))


@dataclass(frozen=True)
class SSAMD(BuiltOn):
    """Sparse SAM with a dynamic mask, ``e = m * rho g / ||g||``.

    The mask m begins at random; every update drops the share ``drop_rate`` of its weights, those with the smallest
    gradients, and grows as many at random among the others.

    Source: Mi et al., Make Sharpness-Aware Minimization Stronger: A Sparsified Perturbation Approach, NeurIPS 2022.

    Args:
        rho: radius; None is that of the direction (0.05).
        sparsity: share of the weights that stay, 0.5 as published.
        drop_rate: share of the mask that an update changes, 0.5 as published.
        update_interval: ascents from one mask to the next, by default an epoch of CIFAR with batches of 128.
        decay_ascents: ascents over which drop_rate falls to 0 along half a cosine, as published over the whole
            training; None keeps it.
        direction: the ascent under the mask, SAM as published.
        seed: of the mask's random numbers, which are the same on all processes.

    Raises:
        ValueError: if a parameter is out of its range.
    """

    sparsity: float = parameter(0.5, _sparsity)
    drop_rate: float = parameter(0.5, share)
    update_interval: int = parameter(CIFAR_EPOCH, whole_number)
    decay_ascents: int | None = parameter(
        None, lambda value, name: None if value is None else whole_number(value, name)
    )
    direction: WeightPerturbation | None = None
    seed: int = 0

    @cached_property
    def parts(self) -> Parts:
        """The mask."""
        mask = DynamicMask(self.sparsity, self.drop_rate, self.update_interval, self.decay_ascents, self.seed)
        return Parts(before=(mask,), after=(Masked(),))
