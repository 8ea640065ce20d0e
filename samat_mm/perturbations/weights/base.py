"""What every weight perturbation is, and the exact way to displace weights and bring them back."""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor


class WeightPerturbation(ABC):
    """One inner maximisation over the weights, ``max ||e|| <= rho  L(w + e)``.

    A method says in which direction the weights go; the radius, the schedule, the second pass and the way back belong
    to whoever drives it (:class:`samat_mm.engine.optim_wrappers.SharpnessAwareMixin` in MMEngine, a loop of yours in
    plain torch).

    Args:
        rho: radius of the ball, in the units of the weights.

    Raises:
        ValueError: if ``rho`` is not a finite number of at least 0.
    """

    def __init__(self, rho: float) -> None:
        self.rho = non_negative(rho, 'rho')

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

    def __repr__(self) -> str:
        return f'{type(self).__name__}({", ".join(f"{key}={value!r}" for key, value in vars(self).items())})'


def non_negative(value: float, name: str) -> float:
    """Return ``value`` as a float.

    Raises:
        ValueError: if it is not a finite number of at least 0.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value) or value < 0:
        raise ValueError(f'{name} must be a finite number of at least 0; got {value!r}.')
    return float(value)


def global_norm(tensors: Sequence[Tensor]) -> Tensor:
    """Return the Euclidean norm of all tensors together as a scalar tensor, without a device synchronisation.

    Squares under- and overflow in single precision, so they are added up in double: always on an accelerator, where it
    costs nothing, and on a CPU, where it is seven times slower, if the fast sum says that it is needed.
    """
    if not all(tensor.is_cpu for tensor in tensors):
        return _norm(tensors, torch.float64)
    norm = _norm(tensors, None)
    return norm if 1e-15 < float(norm) < 1e15 else _norm(tensors, torch.float64)


def _norm(tensors: Sequence[Tensor], dtype: torch.dtype | None) -> Tensor:
    norms = torch._foreach_norm(list(tensors), dtype=dtype)
    return torch.linalg.vector_norm(torch.stack([norm.to(norms[0].device) for norm in norms]))


def to_unit_length(vectors: list[Tensor], norm: Tensor) -> None:
    """Divide the vectors, in place, by their common norm; a norm of zero leaves them as they are."""
    torch._foreach_mul_(vectors, norm.clamp_min(torch.finfo(torch.float32).tiny).reciprocal())


def owning_their_memory(gradients: Sequence[Tensor | None]) -> list[Tensor | None]:
    """Return the gradients, those copied that share memory with another or with themselves.

    The gradients of two weights that the model adds are one tensor, and that of a sum is one number seen many times;
    neither can be overwritten.
    """
    taken: set[int] = set()
    own: list[Tensor | None] = []
    for gradient in gradients:
        if gradient is not None:
            storage = gradient.untyped_storage()
            if storage.data_ptr() in taken or storage.nbytes() < gradient.numel() * gradient.element_size():
                gradient = gradient.clone(memory_format=torch.contiguous_format)
            taken.add(storage.data_ptr())
        own.append(gradient)
    return own


class Displacement:
    """Adds offsets to weights for the length of a ``with`` block and puts the very same bits back after it.

    Subtracting the offsets again would not: ``fl(fl(w + e) - e)`` differs from ``w``. One buffer of the size of the
    weights is kept and used again at every step.
    """

    def __init__(self) -> None:
        self._saved: dict[int, Tensor] = {}

    @contextmanager
    def __call__(self, weights: list[Tensor], offsets: list[Tensor]) -> Iterator[None]:
        """Displace ``weights`` by ``offsets`` inside the block, also when it raises.

        The tensors keep their identity, storage and memory format. ``offsets`` is not needed in the block any more.
        """
        if not weights:
            yield
            return
        saved = [self._buffer(weight) for weight in weights]
        _copy(saved, weights)
        try:
            with torch.no_grad():
                torch._foreach_add_(weights, offsets)
            yield
        finally:
            _copy(weights, saved)

    def _buffer(self, weight: Tensor) -> Tensor:
        buffer = self._saved.get(id(weight))
        if buffer is None or (buffer.shape, buffer.dtype, buffer.device) != (weight.shape, weight.dtype, weight.device):
            buffer = self._saved[id(weight)] = torch.empty_like(weight)
        return buffer


@torch.no_grad()
def _copy(to: list[Tensor], source: list[Tensor]) -> None:
    torch._foreach_copy_(to, source)
