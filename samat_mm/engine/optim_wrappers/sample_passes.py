"""The passes that look at single samples: which of them the descent sees, and how their gradients differ."""

import logging
from contextlib import nullcontext
from typing import Any

import torch
from mmengine.dist import all_reduce_params
from mmengine.logging import print_log
from torch import Tensor, nn

from samat_mm.engine.optim_wrappers.mixing import GradientMixing
from samat_mm.models.replay import Replay, unwrapped
from samat_mm.models.state import buffers_kept
from samat_mm.perturbations.weights.vectors import global_norm


class SamplePasses(GradientMixing):
    """Gives the perturbation the losses or the squared gradients of single samples, if it asks for them."""

    _replay: Replay
    _told_of_missing_sample_losses = False

    def _selected(self, model: nn.Module) -> Tensor | None:
        """Return the samples of the second pass, None for all of them."""
        before = self._replay.first_losses
        if before is None or not self.perturbation.selects_samples:
            if self.perturbation.selects_samples:
                self._tell_of_missing_sample_losses('all samples take part in the second pass')
            return None

        def after(dtype: torch.dtype | None) -> Tensor:
            with torch.no_grad(), cast(model, dtype):
                losses = self._replay.losses_of_samples()
            torch.clear_autocast_cache()  # older torch would use casts made without gradients in the second pass
            return before if losses is None else losses  # None: not finite, which the second pass will show

        return self.perturbation.select(before, after)

    def _add_fisher(self, weights: dict[str, Tensor], gradients: list[Tensor]) -> None:
        """Give the perturbation the squares of the gradients of single samples."""
        model: Any = self._replay.model
        parameters = list(weights.values())
        squares = [torch.zeros_like(parameter) for parameter in parameters]
        with buffers_kept(model):  # to the end: the backward needs the buffers as its forward left them
            losses = None
            if not self._told_of_missing_sample_losses:
                with super().optim_context(unwrapped(model)):
                    losses = self._replay.losses_of_samples()
            if losses is None:
                self._tell_of_missing_sample_losses('the gradient of the batch counts as that of one sample')
                samples = torch.ones(())
                torch._foreach_addcmul_(squares, gradients, gradients)
            else:
                batch, losses = len(losses), losses[: self.perturbation.fisher_samples()]
                samples, factor = torch.tensor(float(len(losses))), batch / self._loss_scale()
                for loss in losses / batch:  # which overflow no sooner than the loss of the batch
                    found = torch.autograd.grad(self._scaled(loss), parameters, retain_graph=True, allow_unused=True)
                    own = [torch.zeros_like(p) if g is None else g for p, g in zip(parameters, found, strict=True)]
                    torch._foreach_mul_(own, factor)
                    torch._foreach_addcmul_(squares, own, own)
        samples = samples.to(parameters[0].device)
        all_reduce_params([*squares, samples], op='sum')
        if bool(torch.isfinite(global_norm(squares))):
            self.perturbation.add_fisher(weights, squares, int(samples))

    def _tell_of_missing_sample_losses(self, consequence: str) -> None:
        total = self._replay.total
        if not self._told_of_missing_sample_losses and total is not None and bool(torch.isfinite(total)):
            self._told_of_missing_sample_losses = True
            print_log(
                f'the loss of {type(unwrapped(self._replay.model)).__name__} is no mean over samples, as '  # type: ignore[arg-type]
                f'{type(self.perturbation).__name__} needs; {consequence}.',
                logger='current',
                level=logging.WARNING,
            )


def cast(model: nn.Module, dtype: torch.dtype | None) -> Any:
    """Return a context that runs forwards of ``model`` in ``dtype``, or as they are for None."""
    if dtype is None:
        return nullcontext()
    return torch.autocast(next(model.parameters()).device.type, dtype=dtype)
