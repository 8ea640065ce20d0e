"""The optimizer's step of a method: mix the gradients of both passes, step elsewhere, correct the weights."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from mmengine.dist import all_reduce_params
from torch import Tensor

from samat_mm.engine.optim_wrappers.loss_scale import LossScale
from samat_mm.perturbations.weights import Displacement, Need, RunningMethod
from samat_mm.perturbations.weights.parts import Named
from samat_mm.perturbations.weights.passes import mix
from samat_mm.perturbations.weights.trained import TrainedWeight, named


class Descent:
    """Lets a method change the optimizer's step.

    Gradients are mixed once per step, after accumulation and averaging over processes and before clipping: they are the
    ones that the optimizer would have got, and a memory made of them is the same on every process.

    Args:
        method: mixes and corrects.
        loss_scale: tells which gradients are usable.
        displacement: moves the weights and puts them back.
    """

    def __init__(self, method: RunningMethod, loss_scale: LossScale, displacement: Displacement) -> None:
        self.method, self.loss_scale, self.displacement = method, loss_scale, displacement
        self._mixes = False
        self._clean: Named = {}
        self._place: tuple[list[Tensor], list[Tensor]] = ([], [])

    def begin(self, first: bool, mixes: bool) -> None:
        """Begin a forward; the first of a step forgets the remains of an interrupted one.

        Args:
            first: whether it is the first of its step.
            mixes: whether the method mixes, or learns from, the gradients of this step.
        """
        self._mixes = mixes
        if first:
            self._clean, self._place = {}, ([], [])

    def add_clean(self, gradients: Named) -> None:
        """Add the gradients at the weights to those of the forwards before."""
        clean = self._clean
        self._clean = clean | {name: clean[name] + g if name in clean else g for name, g in gradients.items()}

    def keep_place(self, weights: list[Tensor], offsets: list[Tensor]) -> None:
        """Remember where the weights are moved to, for a method that steps there."""
        if Need.STEP_PERTURBED in self.method.needs:
            self._place = (weights, list(offsets))

    @contextmanager
    def step(self, trained: list[TrainedWeight], clip: Callable[[], None] | None) -> Iterator[None]:
        """Run the optimizer's step inside the block.

        Args:
            trained: all weights that the step moves.
            clip: clips the gradients that the weights hold; None if nothing is clipped.
        """
        mixed = self._mix(trained, clip)
        place, self._place = self._place, ([], [])
        with self.displacement.kept_changes(*place):
            yield
        if mixed:
            self.method.correct(named(trained), {entry.name: entry.group['lr'] for entry in trained})

    def _mix(self, trained: list[TrainedWeight], clip: Callable[[], None] | None) -> bool:
        clean, self._clean = self._clean, {}
        mixes, self._mixes = self._mixes, False
        gradients = {entry.name: entry.weight.grad for entry in trained if entry.weight.grad is not None}
        if not mixes or not gradients or not self.loss_scale.is_descent_usable(list(gradients.values())):
            return False
        if clean:
            all_reduce_params(list(clean.values()), op='mean')
        if clip is not None and Need.CLIPPED_APART in self.method.needs:
            _clip_both(clip, clean, trained)
        mix(self.method, clean, gradients)
        return True


def _clip_both(clip: Callable[[], None], clean: Named, trained: list[TrainedWeight]) -> None:
    """Clip both gradients, because a term that is added after the step escapes the clipping of the step."""
    clip()
    entries = [entry for entry in trained if entry.name in clean]
    held = [entry.weight.grad for entry in entries]
    for entry in entries:
        entry.weight.grad = clean[entry.name]
    clip()
    for entry, gradient in zip(entries, held, strict=True):
        entry.weight.grad = gradient
