"""An objective: from the model's output and the target to one loss per sample."""

from abc import ABC, abstractmethod
from typing import Any, ClassVar

from torch import Tensor

from samat_mm.errors import InputError
from samat_mm.perturbations.device import extremes

IGNORED_LABEL = 255

# Labels (N,), or (N, H, W) with 255 ignored; class probabilities (N, K); None for an objective that needs no target.
Target = Any


class Objective(ABC):
    """A per-sample loss to be driven up, as a function of the output of ``predict`` and the labels.

    Attributes:
        name: the ``objective=`` of an attack.
        output: the output of the model that it takes: 'logits', or the model's own training 'loss'.
    """

    name: ClassVar[str]
    output: ClassVar[str] = 'logits'

    def __call__(self, output: Tensor, target: Target, step: int, steps: int) -> Tensor:
        """Return one loss per sample, shape (N,), in step ``step`` (from 0) of ``steps``.

        Raises:
            ValueError: if output and target do not fit; only step 0 checks it, because that waits for the device.
        """
        if step == 0:
            self.check(output, target)
        return self.losses(output, target, step / steps)

    @abstractmethod
    def losses(self, output: Tensor, target: Target, progress: float) -> Tensor:
        """Return one loss per sample, shape (N,); no sample may depend on the others of its batch.

        ``progress`` is the share of the steps that are done, in [0, 1).
        """

    def check(self, output: Tensor, target: Target) -> None:
        """Refuse an output or a target that the objective cannot take.

        Raises:
            ValueError: if they do not fit.
        """
        if target is None:
            raise InputError(f'{self.name} needs a target; got none.')
        check_shapes(output, target)

    def rank(self, loss: Tensor, output: Tensor, target: Target) -> Tensor:
        """Return the keys by which iterates are compared, the first key first, shape (N, keys).

        They must not depend on the step, or iterates of different steps could not be compared. The last key is
        continuous: adaptive step sizes follow it. ``loss`` is the objective's value for this output, shape (N,).
        """
        return loss[:, None]


def check_shapes(logits: Tensor, target: Tensor) -> None:
    """Refuse targets that do not belong to these logits.

    Raises:
        ValueError: if the shapes or the types do not fit, or a label is outside the classes.
    """
    mixed = target.is_floating_point()
    expected = tuple(logits.shape) if mixed else (logits.shape[0], *logits.shape[2:])
    if logits.ndim not in ((2,) if mixed else (2, 4)) or tuple(target.shape) != expected:
        raise InputError(
            'predict must return logits (N, K) for targets (N,), or (N, K, H, W) for targets (N, H, W); '
            f'got logits {tuple(logits.shape)} and target {tuple(target.shape)}.'
        )
    if not mixed and target.numel():
        lowest, highest = extremes(target.where(target != IGNORED_LABEL, 0))
        if lowest < 0 or highest >= logits.shape[1]:
            labels = target[target != IGNORED_LABEL]
            raise InputError(
                f'labels must lie in 0..{logits.shape[1] - 1}, or be {IGNORED_LABEL} for ignored; '
                f'got {int(labels.min())}..{int(labels.max())}.'
            )
