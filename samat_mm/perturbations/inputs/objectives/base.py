"""What an attack maximises: functions of the model's output and the target, one value per sample."""

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import Tensor

from samat_mm.errors import InputError
from samat_mm.perturbations.device import extremes

IGNORED_LABEL = 255


class Objective(ABC):
    """A per-sample loss to be driven up.

    ``output`` says which output of the model it is a function of, so that whoever builds ``predict`` knows what to
    return: 'logits', or the model's own training 'loss'.
    """

    name: ClassVar[str]
    output: ClassVar[str]

    @abstractmethod
    def __call__(self, output: Tensor, target: Tensor | None, step: int, steps: int) -> Tensor:
        """Return one loss per sample, shape (N,), so that no sample depends on the others of its batch.

        Args:
            output: what ``predict`` returned.
            target: the labels.
            step: index of the current step, from 0.
            steps: the number of steps.
        """

    def rank(self, loss: Tensor, output: Tensor, target: Tensor | None) -> Tensor:
        """Return by what the iterates of a sample are compared, shape (N, keys): the first key, then the next.

        It must not depend on the step, or iterates of different steps could not be compared. The last key is
        continuous: adaptive step sizes follow it.

        Args:
            loss: what the objective gave for this output, shape (N,).
            output: what ``predict`` returned.
            target: the labels.
        """
        return loss[:, None]


def check_shapes(logits: Tensor, target: Tensor) -> None:
    """Refuse targets that do not belong to these logits.

    Raises:
        ValueError: if the shapes or the types do not fit, or a label is outside the classes.
    """
    if target.is_floating_point():
        expected: tuple[int, ...] = tuple(logits.shape)
    else:
        expected = (logits.shape[0], *logits.shape[2:])
    dimensions = (2,) if target.is_floating_point() else (2, 4)
    if logits.ndim not in dimensions or tuple(target.shape) != expected:
        raise InputError(
            'predict must return logits (N, K) for targets (N,), or (N, K, H, W) for targets (N, H, W); '
            f'got logits {tuple(logits.shape)} and target {tuple(target.shape)}.'
        )
    if not target.is_floating_point():
        labelled = target.where(target != IGNORED_LABEL, 0).flatten()
        lowest, highest = extremes(labelled) if len(labelled) else (0, 0)
        if lowest < 0 or highest >= logits.shape[1]:
            labels = target[target != IGNORED_LABEL]
            raise InputError(
                f'labels must lie in 0..{logits.shape[1] - 1}, or be {IGNORED_LABEL} for ignored; '
                f'got {int(labels.min())}..{int(labels.max())}.'
            )
