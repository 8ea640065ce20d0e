"""What a method does at the optimizer's step: mix the gradients of both passes, step elsewhere, correct the weights."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from mmengine.dist import all_reduce_params
from torch import Tensor

from samat_mm.engine.optim_wrappers.precision import FullPrecision
from samat_mm.perturbations.weights import Displacement, Need, RunningMethod
from samat_mm.perturbations.weights.parts import Named
from samat_mm.perturbations.weights.trained import TrainedWeight, mix, named


class Descent:
    """Gives a method its say at the optimizer's step.

    Gradients are mixed once per step, after accumulation and averaging over processes and before clipping: both are
    what the optimizer would have got, so that a memory made of them is the same on every process.

    Args:
        method: whose say it is.
        precision: scales losses and tells which gradients are usable.
        displacement: moves the weights and puts them back.
    """

    def __init__(self, method: RunningMethod, precision: FullPrecision, displacement: Displacement) -> None:
        self.method, self.precision, self.displacement = method, precision, displacement
        self._reads = False
        self._clean: Named = {}
        self._last: tuple[list[Tensor], list[Tensor]] = ([], [])

    def begin(self, first: bool, reads: bool) -> None:
        """Begin a forward; the first of a step forgets what an interrupted one may have left.

        Args:
            first: whether it is the first of its step.
            reads: whether the method has a say at this step.
        """
        self._reads = reads
        if first:
            self._clean, self._last = {}, ([], [])

    def keep_clean(self, gradients: Named) -> None:
        """Add copies of the gradients at the weights."""
        clean = self._clean
        added = {name: clean[name] + g if name in clean else g.clone() for name, g in gradients.items()}
        self._clean = {**clean, **added}

    @contextmanager
    def undone_on_failure(self) -> Iterator[None]:
        """Forget what was kept in a block that fails: it is not part of the step."""
        clean = self._clean
        try:
            yield
        except BaseException:
            self._clean = clean
            raise

    def keep_place(self, weights: list[Tensor], offsets: list[Tensor]) -> None:
        """Remember where the weights are moved to, for a method that steps there."""
        if Need.STEP_PERTURBED in self.method.needs:
            self._last = (weights, list(offsets))

    @contextmanager
    def step(self, trained: list[TrainedWeight], clip: Callable[[], None] | None) -> Iterator[None]:
        """Run the optimizer's step inside the block.

        Args:
            trained: what it moves.
            clip: clips the gradients that the weights hold; None if nothing is clipped.
        """
        mixed = self._mix(trained, clip)
        last, self._last = self._last, ([], [])
        with self.displacement.kept_changes(*last):
            yield
        if mixed:
            self.method.correct(named(trained), {entry.name: entry.group['lr'] for entry in trained})

    def _mix(self, trained: list[TrainedWeight], clip: Callable[[], None] | None) -> bool:
        clean, self._clean = self._clean, {}
        reads, self._reads = self._reads, False
        gradients = {entry.name: entry.weight.grad for entry in trained if entry.weight.grad is not None}
        if not reads or not gradients or not self.precision.is_descent_usable(list(gradients.values())):
            return False
        if clean:
            all_reduce_params(list(clean.values()), op='mean')
        if clip is not None and Need.CLIPPED_APART in self.method.needs:
            _clip_both(clip, clean, trained)
        mix(self.method, clean, gradients)
        return True


def _clip_both(clip: Callable[[], None], clean: Named, trained: list[TrainedWeight]) -> None:
    """Clip both gradients, because a term that is added beside the step escapes the clipping of the step."""
    clip()
    entries = [entry for entry in trained if entry.name in clean]
    held = [entry.weight.grad for entry in entries]
    for entry in entries:
        entry.weight.grad = clean[entry.name]
    clip()
    for entry, gradient in zip(entries, held, strict=True):
        entry.weight.grad = gradient
