"""Curvature of the loss: the largest eigenvalue of its Hessian, and the trace."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from samat_mm.errors import InputError
from samat_mm.sharpness.surface import LossSurface

MAX_ITERATIONS = 50


class Eigenvalue(NamedTuple):
    """An eigenvalue.

    Attributes:
        value: the estimate.
        error_bound: some eigenvalue is at most this far from the estimate (up to rounding).
        iterations: number of Hessian-vector products used.
    """

    value: float
    error_bound: float
    iterations: int


class Trace(NamedTuple):
    """An estimate of a trace and its standard error."""

    value: float
    standard_error: float


def top_eigenvalue(
    surface: LossSurface, seed: int = 0, tolerance: float = 1e-2, max_iterations: int = MAX_ITERATIONS
) -> Eigenvalue:
    """Return the largest eigenvalue of the Hessian, with its sign (not the one of largest magnitude).

    Uses the Lanczos iteration (Journal of Research of the National Bureau of Standards 1950) from a random vector,
    without reorthogonalisation. Rounding then repeats converged eigenvalues, which does not change the largest, and
    three vectors of the size of the weights are enough.

    Args:
        surface: the loss.
        seed: seed of the first vector.
        tolerance: stop when the error bound is below this fraction of the largest magnitude so far.
        max_iterations: maximum number of Hessian-vector products; ``error_bound`` gives the accuracy at that point.

    Raises:
        ValueError: if ``max_iterations`` is below 1.
    """
    if max_iterations < 1:
        raise InputError(f'max_iterations must be at least 1; got {max_iterations}.')
    numbers = _generator(seed)
    vector = _flat([torch.randn(weight.shape, generator=numbers).to(weight) for weight in surface.weights.values()])
    vector /= vector.norm()
    previous, beta = torch.zeros_like(vector), 0.0
    diagonal: list[float] = []
    off_diagonal: list[float] = []
    for iteration in range(1, max_iterations + 1):
        product = _flat_product(surface, vector).sub_(previous, alpha=beta)
        alpha = float(product @ vector)
        product.sub_(vector, alpha=alpha)
        beta = float(product.norm())
        diagonal.append(alpha)
        if not math.isfinite(alpha + beta):
            return Eigenvalue(math.nan, math.nan, iteration)
        ritz_values, ritz_vectors = torch.linalg.eigh(_tridiagonal(diagonal, off_diagonal))
        error_bound = beta * abs(float(ritz_vectors[-1, -1]))
        if error_bound <= tolerance * float(ritz_values.abs().max()):
            break
        off_diagonal.append(beta)
        previous, vector = vector, product.div_(beta)
    return Eigenvalue(float(ritz_values[-1]), error_bound, iteration)


def trace(surface: LossSurface, probes: int, seed: int = 0) -> Trace:
    """Estimate the trace of the Hessian with random signs.

    The mean of ``v' H v`` over vectors of random signs (Hutchinson, Communications in Statistics: Simulation and
    Computation 1990). For a diagonal Hessian one vector is exact.

    Args:
        surface: the loss.
        probes: number of vectors, each with one Hessian-vector product.
        seed: seed of the vectors.

    Raises:
        ValueError: if ``probes`` is below 2, too few for a standard error.
    """
    if probes < 2:
        raise InputError(f'a standard error needs at least 2 probes; got {probes}.')
    numbers = _generator(seed)
    values = torch.empty(probes, dtype=torch.float64)
    for index in range(probes):
        signs = [
            torch.randint(2, weight.shape, generator=numbers).mul_(2).sub_(1).to(weight)
            for weight in surface.weights.values()
        ]
        product = surface.hessian_vector_product(signs)
        values[index] = sum(float((one * other).sum()) for one, other in zip(signs, product, strict=True))
    return Trace(float(values.mean()), float(values.std()) / math.sqrt(probes))


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _tridiagonal(diagonal: list[float], off_diagonal: list[float]) -> Tensor:
    neighbours = torch.tensor(off_diagonal, dtype=torch.float64)
    return torch.diag(torch.tensor(diagonal, dtype=torch.float64)) + neighbours.diag(1) + neighbours.diag(-1)


def _flat(tensors: list[Tensor]) -> Tensor:
    return torch.cat([tensor.reshape(-1) for tensor in tensors])


def _flat_product(surface: LossSurface, vector: Tensor) -> Tensor:
    weights = list(surface.weights.values())
    parts = vector.split([weight.numel() for weight in weights])
    return _flat(
        surface.hessian_vector_product([part.view_as(weight) for part, weight in zip(parts, weights, strict=True)])
    )
