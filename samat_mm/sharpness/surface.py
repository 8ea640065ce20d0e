"""A loss as a deterministic function of the weights alone, in plain torch."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from samat_mm.errors import InputError
from samat_mm.perturbations.weights import Displacement

Term = tuple[float, Callable[[], Tensor]]

NO_SECOND_DERIVATIVE = (
    'the Hessian needs second derivatives, which an operator of the model lacks ({}); skip the Hessian with probes=0.'
)
# The code that all functions with this decorator share.
ONCE_DIFFERENTIABLE = once_differentiable(lambda context: None).__code__


class LossSurface:
    """The value and derivatives of a weighted sum of losses of the same weights.

    Only one term is in memory at a time. Derivatives are returned, never written to ``.grad``.

    Args:
        weights: the arguments of the loss, by name; each requires a gradient.
        terms: pairs of a weight factor and a function that computes a loss at the current weights, with the same result
            at every call.
        on_pass: called after every pass over all terms, to show progress.

    Raises:
        ValueError: if there are no weights or no terms.
    """

    def __init__(
        self, weights: Mapping[str, Tensor], terms: Sequence[Term], on_pass: Callable[[], None] = lambda: None
    ) -> None:
        if not weights or not terms:
            raise InputError(
                'a loss surface needs weights that require a gradient and at least one batch; '
                f'got {len(weights)} weights and {len(terms)} batches.'
            )
        self.weights = dict(weights)
        self._tensors = list(self.weights.values())
        self._terms, self._on_pass = list(terms), on_pass
        self._displacement = Displacement()

    def displaced(self, offsets: list[Tensor]) -> AbstractContextManager[None]:
        """Move the weights by ``offsets``, one per weight, inside a ``with`` block, and restore them bit for bit."""
        return self._displacement(self._tensors, offsets)

    def value(self) -> float:
        """Return the loss at the current weights."""
        with torch.no_grad():
            total = sum(share * float(loss()) for share, loss in self._terms)
        self._on_pass()
        return total

    def value_and_gradient(self) -> tuple[float, list[Tensor]]:
        """Return the loss and its gradient, one tensor per weight, which the caller may overwrite."""
        total, gradient = 0.0, [torch.zeros_like(tensor) for tensor in self._tensors]
        for share, loss in self._terms:
            with torch.enable_grad():
                value = loss()
            parts = torch.autograd.grad(value, self._tensors, materialize_grads=True)
            torch._foreach_add_(gradient, parts, alpha=share)
            total += share * float(value.detach())
        self._on_pass()
        return total, gradient

    def hessian_vector_product(self, vector: Sequence[Tensor]) -> list[Tensor]:
        """Return the Hessian at the current weights times ``vector``, by differentiating the gradient.

        This keeps the graph of the gradient, so it takes more memory than a training step.

        Args:
            vector: one tensor per weight, of the same shape.

        Raises:
            ValueError: if an operator of the model has no second derivative.
        """
        product = [torch.zeros_like(tensor) for tensor in self._tensors]
        for share, loss in self._terms:
            parts = self._term_product(loss, vector)
            torch._foreach_add_(product, parts, alpha=share)
        self._on_pass()
        return product

    def _term_product(self, loss: Callable[[], Tensor], vector: Sequence[Tensor]) -> list[Tensor]:
        # The fused attention kernels have no second derivative.
        with torch.enable_grad(), torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
            value = loss()
            refuse_once_differentiable(value)
            gradient = torch.autograd.grad(value, self._tensors, create_graph=True, materialize_grads=True)
            # Weights that the gradient does not depend on, such as the bias of a single linear layer, have no graph.
            slopes = [(part * direction).sum() for part, direction in zip(gradient, vector, strict=True)]
            slopes = [slope for slope in slopes if slope.requires_grad]
        if not slopes:
            return [torch.zeros_like(tensor) for tensor in self._tensors]
        try:
            return list(torch.autograd.grad(slopes, self._tensors, materialize_grads=True))
        except RuntimeError as error:
            if 'not implemented' not in str(error):
                raise
            raise InputError(NO_SECOND_DERIVATIVE.format(error)) from error


def refuse_once_differentiable(value: Tensor) -> None:
    """Refuse results of ``once_differentiable`` functions, whose part of the Hessian would silently be zero.

    Raises:
        ValueError: naming the function.
    """
    waiting, seen = [value.grad_fn], set()
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        function: Any = getattr(node, '_forward_cls', None)
        if getattr(getattr(function, 'backward', None), '__code__', None) is ONCE_DIFFERENTIABLE:
            raise InputError(NO_SECOND_DERIVATIVE.format(f'{function.__name__} is once_differentiable'))
        waiting.extend(following for following, _ in node.next_functions)
