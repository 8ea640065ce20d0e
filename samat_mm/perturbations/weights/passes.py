"""How a step of any training loop uses a method: the passes of the ascent, and the mixture for the descent."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.optim import Optimizer

from samat_mm.perturbations.vectors import owning_their_memory
from samat_mm.perturbations.weights.parts import Named, Need
from samat_mm.perturbations.weights.running import RunningMethod
from samat_mm.perturbations.weights.trained import TrainedWeight, movable, named, tensors

Gradients = list[Tensor | None]


def gradients_of(loss: Tensor, entries: Sequence[TrainedWeight]) -> Gradients:
    """Return the gradient of a loss for each weight, in tensors that may be overwritten; None where there is none."""
    if not entries:
        return []
    return owning_their_memory(torch.autograd.grad(loss, tensors(entries), allow_unused=True))


def zero_filled(gradients: Gradients, entries: Sequence[TrainedWeight]) -> list[Tensor]:
    """Return the gradients, with zeros where there is none."""
    return [torch.zeros_like(e.weight) if g is None else g for g, e in zip(gradients, entries, strict=True)]


def offsets_along(method: RunningMethod, entries: Sequence[TrainedWeight], vectors: list[Tensor]) -> list[Tensor]:
    """Return the offset of each weight along the ascent that the method makes of vectors, which are overwritten."""
    if not entries:
        return []
    found = method.ascend(named(entries), vectors)
    torch._foreach_mul_(found, [method.radius(entry.group) for entry in entries])
    return found


def first_ascent(
    method: RunningMethod,
    trained: Sequence[TrainedWeight],
    differentiate: Callable[[list[TrainedWeight]], Gradients],
    prepare: Callable[[Named, list[Tensor]], None],
) -> tuple[list[TrainedWeight], list[Tensor], Named]:
    """Return the weights that move, their offsets, and the gradients at the weights if the descent needs them.

    Args:
        method: makes a direction of the gradients.
        trained: all weights that the descent moves.
        differentiate: returns the gradient for each entry, None where it does not exist or cannot be used.
        prepare: called with the weights that move and their gradients, before the ascent overwrites them.
    """
    moving = _chosen(method, trained)
    keep = Need.CLEAN_GRADIENT in method.needs
    asked = list(trained) if keep else moving
    found = [(entry, g) for entry, g in zip(asked, differentiate(asked), strict=True) if g is not None]
    clean = {entry.name: gradient.clone() for entry, gradient in found} if keep else {}
    names = {entry.name for entry in moving}
    used = [(entry, gradient) for entry, gradient in found if entry.name in names]
    del found
    entries, vectors = [entry for entry, _ in used], [gradient for _, gradient in used]
    if entries:
        prepare(named(entries), vectors)
    return entries, offsets_along(method, entries, vectors), clean


def known_ascent(
    method: RunningMethod, trained: Sequence[TrainedWeight], optimizer: Optimizer
) -> tuple[list[TrainedWeight], list[Tensor]]:
    """Return the weights that move, and their offsets, by the vectors that a method knows before the forward."""
    entries = _chosen(method, trained)
    vectors = method.known_vectors(named(entries), optimizer)
    known = [entry for entry in entries if entry.name in vectors]
    return known, offsets_along(method, known, [vectors[entry.name] for entry in known])


def _chosen(method: RunningMethod, trained: Sequence[TrainedWeight]) -> list[TrainedWeight]:
    entries = movable(trained)
    names = set(method.choose(named(entries), {entry.name: entry.owner for entry in entries}))
    return [entry for entry in entries if entry.name in names]


@torch.no_grad()
def mix(method: RunningMethod, clean: Named, gradients: Named) -> None:
    """Write the gradient for the optimizer, see :meth:`RunningMethod.combine`, into the tensors that it will take.

    Args:
        method: mixes.
        clean: gradients at the weights, empty in a step without an ascent.
        gradients: gradients that the weights hold.
    """
    combined = method.combine(clean, gradients) if clean else method.combine(gradients, None)
    for name, gradient in gradients.items():
        if combined.get(name, gradient) is not gradient:
            gradient.copy_(combined[name])
