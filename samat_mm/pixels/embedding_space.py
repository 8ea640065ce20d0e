"""Sentences as attacks see them: a perturbation of the embeddings of their tokens."""

from collections.abc import Sequence
from typing import Any, Self

import torch
from torch import Tensor, nn

from samat_mm.pixels.input_space import InputSpace
from samat_mm.tasks import Task

MASK = 'attention_mask'


class EmbeddingSpace(InputSpace):
    """A batch of tokens, and the model as a function of what is added to their embeddings.

    A point is a perturbation, shape (1, L, D), at first 0, in the units of the embeddings. Padding is never perturbed.
    The model looks the embeddings up in each forward, so their table is trained, and perturbed by sharpness-aware
    minimisation, like any other weight, while the perturbation stays.

    Args:
        model: a bare model with ``embed(tokens)``, which returns the embeddings (N, L, D) of tokens (N, L), and with a
            forward that takes a ``perturbation`` (N, L, D) and adds it to them.
        inputs: tokens, shape (N, L), filled up at their ends.
        samples: their data samples.
        rest: what the model's forward gets in addition: ``attention_mask``, shape (N, L), 1 for tokens
            and 0 for padding; without it there is no padding.
        task: the model's task; by default derived from the samples and the model's head.
    """

    box = None

    def __init__(
        self,
        model: Any,
        inputs: Tensor,
        samples: Sequence[Any],
        rest: dict[str, Any],
        *,
        task: Task | None = None,
    ) -> None:
        super().__init__(model, inputs, samples, task)
        self.rest = rest
        with torch.no_grad():
            self.pixels = torch.zeros_like(model.embed(inputs))[:, None]
        mask = torch.ones_like(inputs) if rest.get(MASK) is None else rest[MASK]
        self.sizes = [(length, self.pixels.shape[-1]) for length in mask.sum(1).tolist()]

    def arguments(self, pixels: Tensor) -> dict[str, Tensor]:
        """Return the perturbation."""
        return {'perturbation': pixels[:, 0]}

    def on(self, model: nn.Module, memory_format: torch.memory_format = torch.contiguous_format) -> Self:
        """Return the same batch with another model; tokens have no other memory format."""
        return super().on(model)


def embeds_tokens(model: nn.Module) -> bool:
    """Tell whether a model embeds tokens, as :class:`EmbeddingSpace` needs it."""
    return callable(getattr(model, 'embed', None))
