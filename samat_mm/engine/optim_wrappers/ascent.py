"""From the loss of the first pass to the offsets of the weights."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager

import torch
from mmengine.dist import all_reduce_params, get_world_size
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from samat_mm.engine.optim_wrappers.precision import FullPrecision
from samat_mm.engine.optim_wrappers.samples import SamplePasses
from samat_mm.perturbations.vectors import owning_their_memory
from samat_mm.perturbations.weights import Displacement, Need, RunningMethod
from samat_mm.perturbations.weights.parts import Named
from samat_mm.perturbations.weights.trained import TrainedWeight, chosen, named, offsets


class Ascent:
    """Takes the gradients of an ascent, which never enter ``.grad``.

    Args:
        method: makes a direction of them.
        precision: scales losses and tells which gradients are usable.
        samples: what looks at single samples.
        sync: average the gradients over all processes.
    """

    def __init__(self, method: RunningMethod, precision: FullPrecision, samples: SamplePasses, sync: bool) -> None:
        self.method, self.precision, self.samples = method, precision, samples
        self.keeps_clean = Need.CLEAN_GRADIENT in method.needs
        self.sync = sync or Need.SHARED_ASCENT in method.needs

    def first(
        self,
        loss: Tensor,
        part: float,
        trained: list[TrainedWeight],
        movable: list[TrainedWeight],
        keep: Callable[[Named], None],
    ) -> tuple[list[TrainedWeight], list[Tensor]]:
        """Return what moves, and how far; nothing where the gradient cannot be used.

        Args:
            loss: at the weights.
            part: what it was multiplied by for gradient accumulation.
            trained: all that the descent moves.
            movable: what the radius lets move.
            keep: is given the gradients at the weights, which are overwritten after it, if the descent needs them.
        """
        moving = chosen(self.method, movable)
        asked = trained if self.keeps_clean else moving
        gradients = self._gradients(loss, asked)
        used = [(entry, gradient) for entry, gradient in zip(asked, gradients, strict=True) if gradient is not None]
        del gradients
        if not used or not self.precision.is_usable([gradient for _, gradient in used]):
            return [], []
        unscaled = Need.UNSCALED_GRADIENT in self.method.needs or self.method.fisher_samples() > 0
        if unscaled or self.keeps_clean:
            torch._foreach_mul_([gradient for _, gradient in used], 1 / self.precision.scale())
        if self.keeps_clean:
            keep({entry.name: gradient for entry, gradient in used})
        names = {entry.name for entry in moving}
        used = [(entry, gradient) for entry, gradient in used if entry.name in names]
        entries, vectors = [entry for entry, _ in used], [gradient for _, gradient in used]
        del used
        if unscaled:
            torch._foreach_mul_(vectors, 1 / part)
        self.samples.add_squares(named(entries), vectors)
        return entries, offsets(self.method, entries, vectors)

    def further(self, model: nn.Module, entries: list[TrainedWeight], displacement: Displacement) -> None:
        """Take the other ascents of a method with several, each from where the last one led."""
        for _ in range(self.method.ascents - 1 if entries else 0):
            with without_synchronisation(model), self.samples.forward(model):
                loss = self.samples.replay()
            found = self._gradients(loss, entries)
            gradients = [torch.zeros_like(e.weight) if g is None else g for e, g in zip(entries, found, strict=True)]
            if not self.precision.is_usable(gradients):
                return
            if Need.UNSCALED_GRADIENT in self.method.needs:
                torch._foreach_mul_(gradients, 1 / self.precision.scale())
            displacement.move([entry.weight for entry in entries], offsets(self.method, entries, gradients))

    def _gradients(self, loss: Tensor, entries: list[TrainedWeight]) -> list[Tensor | None]:
        if not entries:
            return []
        weights = [entry.weight for entry in entries]
        gradients = owning_their_memory(torch.autograd.grad(self.precision.scaled(loss), weights, allow_unused=True))
        if self.sync or (self.keeps_clean and get_world_size() > 1):
            # Every process must have, and reduce, the same tensors.
            gradients = [torch.zeros_like(w) if g is None else g for g, w in zip(gradients, weights, strict=True)]
        if self.sync:
            all_reduce_params(gradients, op='mean')
        return gradients


@contextmanager
def without_synchronisation(model: nn.Module) -> Iterator[None]:
    """Run a forward whose backward is of this process alone."""
    context: AbstractContextManager = model.no_sync() if isinstance(model, DistributedDataParallel) else ExitStack()
    with context:
        yield
