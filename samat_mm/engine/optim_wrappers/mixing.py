"""What a method does at the optimizer's step: mix the gradients of both passes, step elsewhere, correct the weights."""

from typing import Any

import torch
from mmengine.dist import all_reduce_params
from torch import Tensor

from samat_mm.engine.optim_wrappers.roster import Roster
from samat_mm.engine.optim_wrappers.settings import PerturbationSettings
from samat_mm.perturbations.weights import Displacement
from samat_mm.perturbations.weights.base import Named


class GradientMixing(PerturbationSettings):
    """Gives the perturbation its say at the optimizer's step.

    Gradients are mixed once per step, after accumulation and averaging over processes and before clipping: both are
    what the optimizer would have got, so that a memory made of them is the same on every process.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._roster = Roster()
        self._displacement = Displacement()
        self._mixing = False
        self._clean: Named = {}
        self._last: tuple[list[Tensor], list[Tensor]] = ([], [])

    def _begin(self, mixing: bool) -> None:
        """Begin a forward; the first of a step forgets what an interrupted one may have left."""
        self._mixing = mixing
        if self._inner_count % self._accumulative_counts == 0:
            self._clean, self._last = {}, ([], [])

    def _remember_clean(self, gradients: Named) -> None:
        """Add the gradients at the unperturbed weights, which are overwritten after this."""
        if self._mixing or self._feels_the_scale():
            torch._foreach_mul_(list(gradients.values()), 1 / self._loss_scale())
        if self._mixing:
            for name, gradient in gradients.items():
                self._clean[name] = self._clean[name] + gradient if name in self._clean else gradient.clone()

    def _feels_the_scale(self) -> bool:
        return not self.perturbation.scale_free or self.perturbation.fisher_samples() > 0

    def _keep_for_the_step(self, weights: list[Tensor], offsets: list[Tensor]) -> None:
        if self.perturbation.steps_displaced:
            self._last = (weights, list(offsets))

    @torch.compiler.disable
    def step(self, **kwargs: Any) -> None:
        """Step along the gradient that the perturbation makes of those of both passes."""
        mixed = self._mix()
        last, self._last = self._last, ([], [])
        with self._displacement.kept_changes(*last):
            super().step(**kwargs)
        if mixed:
            trained = self._roster.trained(self.optimizer)
            weights = {entry.name: entry.weight for entry in trained}
            self.perturbation.correct(weights, {entry.name: entry.group['lr'] for entry in trained})

    def _mix(self) -> bool:
        clean, self._clean = self._clean, {}
        mixing, self._mixing = self._mixing, False
        held = {entry.name: entry.weight.grad for entry in self._roster.trained(self.optimizer)}
        gradients = {name: gradient for name, gradient in held.items() if gradient is not None}
        if not mixing or not gradients or not self._is_descent_usable(list(gradients.values())):
            return False
        if clean:
            all_reduce_params(list(clean.values()), op='mean')
        if self.perturbation.corrects and self.clip_grad_kwargs:
            self._clip_both(clean)
        combined = self.perturbation.combine(clean, gradients) if clean else self.perturbation.combine(gradients, None)
        with torch.no_grad():
            for name, gradient in gradients.items():
                if combined.get(name, gradient) is not gradient:
                    gradient.copy_(combined[name])
        return True

    def _clip_both(self, clean: Named) -> None:
        """Clip both gradients, because a term that is added beside the step escapes the clipping of the step."""
        self._clip_grad()
        entries = [entry for entry in self._roster.trained(self.optimizer) if entry.name in clean]
        held = [entry.weight.grad for entry in entries]
        for entry in entries:
            entry.weight.grad = clean[entry.name]
        self._clip_grad()
        for entry, gradient in zip(entries, held, strict=True):
            entry.weight.grad = gradient

    # What mixed precision does otherwise

    def _scaled(self, loss: Tensor) -> Tensor:
        """Return what the first pass differentiates."""
        return loss

    def _loss_scale(self) -> float:
        """Return what the first pass's loss was multiplied by."""
        return 1.0

    def _is_usable(self, gradients: list[Tensor]) -> bool:
        """Tell whether the first gradient gives a direction."""
        return True

    def _is_descent_usable(self, gradients: list[Tensor]) -> bool:
        """Tell whether the gradients about to be descended along can be mixed; without a loss scale afterwards."""
        return True
