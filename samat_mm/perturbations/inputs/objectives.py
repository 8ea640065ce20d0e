"""What an attack maximises: functions of the model's output and the target, one value per sample."""

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import Tensor
from torch.nn import functional as F

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


class CrossEntropy(Objective):
    """Cross-entropy, averaged over the pixels that have a label.

    Takes logits (N, K) with targets (N,) or class probabilities (N, K), and logits (N, K, H, W) with targets
    (N, H, W), in which 255 is ignored: such a pixel has no loss, and an image of nothing else has the loss 0.
    """

    name = 'cross-entropy'
    output = 'logits'

    def __call__(self, output: Tensor, target: Tensor | None, step: int, steps: int) -> Tensor:
        """Return the cross-entropy per sample, shape (N,).

        Raises:
            ValueError: if logits and target do not fit together.
        """
        if target is None:
            raise ValueError('cross-entropy needs a target; got none.')
        if step == 0:  # they do not change, and looking at values waits for the device
            check_shapes(output, target)
        if target.is_floating_point():
            return F.cross_entropy(output, target, reduction='none')
        loss = F.cross_entropy(output, target, reduction='none', ignore_index=IGNORED_LABEL)
        if loss.ndim == 1:
            return loss
        labelled = (target != IGNORED_LABEL).flatten(1).sum(1).clamp_min(1)
        return loss.flatten(1).sum(1) / labelled


class ModelLoss(Objective):
    """The model's own training loss, for models without logits of a known meaning (detectors, for instance).

    ``predict`` returns the scalar that training would minimise. It has no value per sample, so the batch keeps or
    drops an iterate as one.
    """

    name = 'model-loss'
    output = 'loss'

    def __call__(self, output: Tensor, target: Tensor | None, step: int, steps: int) -> Tensor:
        """Return the scalar ``output`` as a tensor of shape (1,)."""
        if output.numel() != 1:
            raise ValueError(f'model-loss expects one scalar loss from predict; got shape {tuple(output.shape)}.')
        return output.reshape(1)


OBJECTIVES: dict[str, Objective] = {objective.name: objective for objective in (CrossEntropy(), ModelLoss())}


def objective_named(name: str) -> Objective:
    """Return the objective of that name.

    Raises:
        ValueError: if it is unknown; the message lists the known ones.
    """
    if name not in OBJECTIVES:
        raise ValueError(f'objective must be one of {", ".join(OBJECTIVES)}; got {name!r}.')
    return OBJECTIVES[name]


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
        raise ValueError(
            'predict must return logits (N, K) for targets (N,), or (N, K, H, W) for targets (N, H, W); '
            f'got logits {tuple(logits.shape)} and target {tuple(target.shape)}.'
        )
    if not target.is_floating_point():
        labels = target[target != IGNORED_LABEL]
        if labels.numel() and not 0 <= int(labels.min()) <= int(labels.max()) < logits.shape[1]:
            raise ValueError(
                f'labels must lie in 0..{logits.shape[1] - 1}, or be {IGNORED_LABEL} for ignored; '
                f'got {int(labels.min())}..{int(labels.max())}.'
            )
