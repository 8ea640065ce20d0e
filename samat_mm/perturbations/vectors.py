"""Arithmetic on lists of tensors that are one long vector: norms that do not overflow, dot products."""

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

Rescaling = Callable[[list[Tensor]], None]  # multiplies vectors in place
BLOCK = 1 << 22  # elements: large enough for few kernel launches, small enough for negligible scratch memory


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


def row_norms(tensor: Tensor) -> Tensor:
    """Return the norm of each row of a tensor (N, ...), shape (N,): the number :func:`global_norm` has for the row."""
    rows = tensor.flatten(1)
    if not tensor.is_cpu:
        return torch.linalg.vector_norm(rows, dim=1, dtype=torch.float64)
    norms = torch.linalg.vector_norm(rows, dim=1)
    safe = (norms > 1e-15) & (norms < 1e15)
    if bool(safe.all()):
        return norms
    norms = norms.double()
    norms[~safe] = torch.linalg.vector_norm(rows[~safe], dim=1, dtype=torch.float64)
    return norms


def tensor_norms(tensors: Sequence[Tensor]) -> list[Tensor]:
    """Return the norm of each tensor, in double where :func:`global_norm` would need it."""
    norms = list(torch._foreach_norm(list(tensors)))
    if all(tensor.is_cpu for tensor in tensors) and all(1e-15 < float(norm) < 1e15 for norm in norms):
        return norms
    return list(torch._foreach_norm(list(tensors), dtype=torch.float64))


def dot(first: Sequence[Tensor], second: Sequence[Tensor]) -> Tensor:
    """Return the inner product of two vectors given as lists of tensors, in double as :func:`global_norm` is."""
    if all(tensor.is_cpu for tensor in first):
        product = _dot(first, second, None)
        if 1e-30 < abs(float(product)) < 1e30:
            return product
    return _dot(first, second, torch.float64)


def _dot(first: Sequence[Tensor], second: Sequence[Tensor], dtype: torch.dtype | None) -> Tensor:
    products = [torch.dot(a.flatten().to(dtype), b.flatten().to(dtype)) for a, b in zip(first, second, strict=True)]
    return torch.stack([product.double().to(products[0].device) for product in products]).sum()


def divided(numerator: Tensor, denominator: Tensor) -> Tensor:
    """Return the quotient of two scalars, and 0 where the denominator is 0."""
    return torch.where(denominator == 0, torch.zeros_like(numerator), numerator / denominator)


def unit_factor(norm: Tensor, dtype: torch.dtype) -> Tensor:
    """Return the factor that gives vectors of this norm and type length 1; where the norm is 0, a finite one."""
    factor = norm.clamp_min(torch.finfo(torch.float32).tiny).reciprocal()
    # In the type of the vectors, one kernel multiplies all of them.
    return factor.to(torch.promote_types(dtype, torch.float32))


def to_unit_length(vectors: list[Tensor], norm: Tensor) -> None:
    """Divide the vectors, in place, by their common norm; a norm of zero leaves them as they are."""
    torch._foreach_mul_(vectors, unit_factor(norm, vectors[0].dtype))


def blocks(tensors: Sequence[Tensor]) -> Iterator[slice]:
    """Cut a list of tensors into runs of about :data:`BLOCK` elements, for scratch memory of that size."""
    start = size = 0
    for index, tensor in enumerate(tensors):
        size += tensor.numel()
        if size >= BLOCK:
            yield slice(start, index + 1)
            start, size = index + 1, 0
    if start < len(tensors):
        yield slice(start, len(tensors))


def owning_their_memory(gradients: Sequence[Tensor | None]) -> list[Tensor | None]:
    """Return the gradients, with copies of any that share memory with another or with themselves.

    The gradients of two weights that the model adds are one tensor, and the gradient of a sum is one number repeated;
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
