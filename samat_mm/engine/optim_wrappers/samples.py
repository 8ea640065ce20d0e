"""The passes over single samples: which of them the descent sees, and their squared gradients."""

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from mmengine.dist import all_reduce_params
from mmengine.logging import print_log
from torch import Tensor, nn

from samat_mm.engine.optim_wrappers.loss_scale import LossScale
from samat_mm.model_state import buffers_kept, unwrapped
from samat_mm.perturbations.vectors import global_norm
from samat_mm.perturbations.weights import Need, RunningMethod
from samat_mm.replay.replay import Replay


class SamplePasses:
    """Gives a method the losses or the squared gradients of single samples, if it asks for them.

    Args:
        method: asks for them.
        replay: the forward of the step.
        loss_scale: scale of its gradients.
        forward: the context in which the wrapped class runs a forward of a model.
    """

    def __init__(
        self,
        method: RunningMethod,
        replay: Replay,
        loss_scale: LossScale,
        forward: Callable[[nn.Module], AbstractContextManager],
    ) -> None:
        self.method, self.replay, self.loss_scale, self.forward = method, replay, loss_scale, forward
        self._told = False

    def selected(self, model: nn.Module) -> Tensor | None:
        """Return the samples of the second pass, None for all of them."""
        if Need.SAMPLE_LOSSES not in self.method.needs:
            return None
        before = self.replay.first_losses
        if before is None:
            self._tell_once('all samples take part in the second pass')
            return None

        def after(dtype: torch.dtype | None) -> Tensor:
            with torch.no_grad(), cast(model, dtype):
                losses = self.replay.losses_of_samples()
            torch.clear_autocast_cache()  # older torch would use casts made without gradients in the second pass
            return before if losses is None else losses  # None: not finite, which the second pass will show

        return self.method.select(before, after)

    def add_squares(self, weights: dict[str, Tensor], gradients: list[Tensor]) -> None:
        """Give the method the squares of the gradients of single samples, if it wants some now."""
        if self.method.fisher_samples() == 0:
            return
        parameters = list(weights.values())
        squares = [torch.zeros_like(parameter) for parameter in parameters]
        model: Any = self.replay.model
        with buffers_kept(model):  # to the end: the backward needs the buffers as its forward left them
            losses = None
            if not self._told:
                with self.forward(unwrapped(model)):
                    losses = self.replay.losses_of_samples()
            if losses is None:
                self._tell_once('the gradient of the batch counts as that of one sample')
                samples = torch.ones(())
                torch._foreach_addcmul_(squares, gradients, gradients)
            else:
                batch, losses = len(losses), losses[: self.method.fisher_samples()]
                samples, factor = torch.tensor(float(len(losses))), batch / self.loss_scale.factor()
                for loss in losses / batch:  # overflows no sooner than the loss of the batch
                    scaled = self.loss_scale.scaled(loss)
                    own = torch.autograd.grad(scaled, parameters, retain_graph=True, materialize_grads=True)
                    torch._foreach_mul_(own, factor)
                    torch._foreach_addcmul_(squares, own, own)
        samples = samples.to(parameters[0].device)
        all_reduce_params([*squares, samples], op='sum')
        if bool(torch.isfinite(global_norm(squares))):
            self.method.add_fisher(weights, squares, int(samples))

    def _tell_once(self, consequence: str) -> None:
        total = self.replay.total
        if not self._told and total is not None and bool(torch.isfinite(total)):
            self._told = True
            print_log(
                f'the loss of {type(unwrapped(self.replay.model)).__name__} is not a mean over samples, as '  # type: ignore[arg-type]
                f'{self.method.name} needs; {consequence}.',
                logger='current',
                level=logging.WARNING,
            )


def cast(model: nn.Module, dtype: torch.dtype | None) -> Any:
    """Return a context that runs forwards of ``model`` in ``dtype``, or as they are for None."""
    if dtype is None:
        return nullcontext()
    return torch.autocast(next(model.parameters()).device.type, dtype=dtype)
