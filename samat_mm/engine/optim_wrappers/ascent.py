"""From the loss of the first pass to the offsets of the weights."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import torch
from mmengine.dist import all_reduce_params, get_world_size
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from samat_mm.engine.optim_wrappers.loss_scale import LossScale
from samat_mm.engine.optim_wrappers.samples import SamplePasses
from samat_mm.perturbations.weights import Need, RunningMethod
from samat_mm.perturbations.weights.parts import Named
from samat_mm.perturbations.weights.passes import Gradients, first_ascent, gradients_of, offsets_along, zero_filled
from samat_mm.perturbations.weights.trained import TrainedWeight


class Ascent:
    """Takes the gradients of an ascent, which never enter ``.grad``.

    Args:
        method: makes a direction of them.
        loss_scale: scales losses and tells which gradients are usable.
        samples: passes over single samples.
        sync: average the gradients over all processes.
    """

    def __init__(self, method: RunningMethod, loss_scale: LossScale, samples: SamplePasses, sync: bool) -> None:
        self.method, self.loss_scale, self.samples = method, loss_scale, samples
        self.sync = sync or Need.SHARED_ASCENT in method.needs

    def first(
        self, loss: Tensor, part: float, trained: list[TrainedWeight]
    ) -> tuple[list[TrainedWeight], list[Tensor], Named]:
        """Return the weights that move, their offsets, and the gradients at the weights if the descent needs them.

        Nothing moves where the gradient cannot be used.

        Args:
            loss: at the weights.
            part: factor that gradient accumulation put into it.
            trained: all that the descent moves.
        """
        unscaled = Need.UNSCALED_GRADIENT in self.method.needs or self.method.fisher_samples() > 0

        def differentiate(entries: list[TrainedWeight]) -> Gradients:
            gradients = self._gradients(loss, entries)
            found = [gradient for gradient in gradients if gradient is not None]
            if not found or not self.loss_scale.is_usable(found):
                return [None] * len(entries)
            if unscaled or Need.CLEAN_GRADIENT in self.method.needs:
                torch._foreach_mul_(found, 1 / self.loss_scale.factor())
            return gradients

        def prepare(weights: Named, gradients: list[Tensor]) -> None:
            if unscaled:
                torch._foreach_mul_(gradients, 1 / part)
            self.samples.add_squares(weights, gradients)

        return first_ascent(self.method, trained, differentiate, prepare)

    def further(
        self,
        model: nn.Module,
        entries: list[TrainedWeight],
        move: Callable[[list[TrainedWeight], list[Tensor]], None],
    ) -> None:
        """Take the other ascents of a method with several, each from where the last one led.

        Args:
            model: runs the forwards.
            entries: the weights that move.
            move: moves them to other offsets.
        """
        for _ in range(self.method.ascents - 1 if entries else 0):
            with without_synchronisation(model), self.samples.forward(model):
                loss = self.samples.replay()
            gradients = zero_filled(self._gradients(loss, entries), entries)
            if not self.loss_scale.is_usable(gradients):
                return
            if Need.UNSCALED_GRADIENT in self.method.needs:
                torch._foreach_mul_(gradients, 1 / self.loss_scale.factor())
            move(entries, offsets_along(self.method, entries, gradients))

    def _gradients(self, loss: Tensor, entries: list[TrainedWeight]) -> Gradients:
        gradients = gradients_of(self.loss_scale.scaled(loss), entries)
        if not gradients or not (self.sync or get_world_size() > 1):
            return gradients
        filled = zero_filled(gradients, entries)  # every process must have, and reduce, the same tensors
        if self.sync:
            all_reduce_params(filled, op='mean')
        return list(filled)


def without_synchronisation(model: nn.Module) -> AbstractContextManager:
    """Return a context for a forward whose backward is of this process alone."""
    return model.no_sync() if isinstance(model, DistributedDataParallel) else nullcontext()
