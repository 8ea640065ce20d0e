"""The interface of a task: from a model and its data samples to logits, labels and the share that is wrong."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from mmengine.structures import BaseDataElement
from torch import Tensor, nn
from torch.nn import functional as F

from samat_mm.errors import InputError
from samat_mm.model_state import frozen
from samat_mm.perturbations.inputs import Attack
from samat_mm.perturbations.randomness import isolated_randomness
from samat_mm.tasks.samples import name_of, without_labels

AttackT = TypeVar('AttackT', bound=Attack)
ROUNDING = 1e-4  # in units of the largest score: nearer to a tie than this, either decision is right


class Task(ABC):
    """The decision of a model about the images of a data set.

    Attacks, scores, tables by class, pictures, sanity checks and TRADES all use it, so the decision that is attacked is
    the one that is scored. Forwards bypass the hooks of the outermost module: a training hook or a capture there must
    not see an attack.
    """

    @abstractmethod
    def target(self, samples: Sequence[Any], device: torch.device) -> Tensor:
        """Return the labels: (N,), class probabilities (N, K), or (N, H, W) with 255 ignored."""

    def training_target(self, samples: Sequence[Any], device: torch.device) -> Tensor:
        """Return the targets of training, which may be class probabilities where labels are scored."""
        return self.target(samples, device)

    @abstractmethod
    def logits(self, model: nn.Module, inputs: Tensor, samples: Sequence[Any]) -> Tensor:
        """Return logits (N, K) or (N, K, H, W), the latter at the labels' resolution; their arg max is the decision."""

    @abstractmethod
    def decided(self, prediction: Any) -> Tensor | None:
        """Return the class that ``predict`` chose, shape () or (H, W); None where it names none."""

    @abstractmethod
    def judge(self, prediction: Any) -> dict[str, Any]:
        """Score a prediction against the ground truth that it holds.

        Returns:
            ``wrong``, the share of the labels that are predicted wrong; ``loss``, the mean cross-entropy of the labels;
            ``counts``, (class, right, all) for each class that occurs; ``classes``, the number of classes. Empty where
            the prediction or its labels are of another kind.

        Raises:
            ValueError: if a label is not a class.
        """

    def in_training_geometry(self, samples: Sequence[Any], inputs: Tensor) -> list[Any]:
        """Return samples whose labels have the resolution of the network's input, as in training."""
        return list(samples)

    def fitted(self, attack: Attack) -> Attack:
        """Return an attack as it runs on this task.

        Raises:
            ValueError: if it has nothing to aim at, with the reason.
        """
        return attack if attack.objective.output == 'logits' else without_goal(attack)

    def check(self, model: Any, inputs: Tensor, samples: Sequence[Any]) -> None:
        """Compare the arg max of :meth:`logits` with the model's own predictions on clean images.

        Args:
            model: the bare model.
            inputs: preprocessed images, shape (N, C, H, W).
            samples: their data samples.

        Raises:
            ValueError: if they differ by more than rounding: an attack on such logits would aim at another decision
                than the one that is scored.
        """
        self.compared(model, inputs, samples)

    def compared(self, model: Any, inputs: Tensor, samples: Sequence[Any]) -> tuple[list[Any], Tensor]:
        """Compare as :meth:`check` does, and return the predictions and the logits."""
        with frozen(model), torch.no_grad():
            with _fixed_randomness(inputs.device):
                predictions = model.forward(inputs, without_labels(samples), mode='predict')
            with _fixed_randomness(inputs.device):
                logits = self.logits(model, inputs, samples)
        compared = []
        for sample, prediction, scores in zip(samples, predictions, logits, strict=True):
            chosen = self.decided(prediction) if isinstance(prediction, BaseDataElement) else None
            if chosen is not None:
                scores = scores[(slice(None), *map(slice, chosen.shape))]
                chosen = chosen.to(scores.device)
                compared.append((sample, scores, chosen, _differing(scores, chosen)))
        if compared and bool(
            torch.stack([differs.any() for *_, differs in compared]).any()
        ):  # waits for the device once
            _refuse(model, *next(entry for entry in compared if bool(entry[-1].any())))
        return list(predictions), logits


def _differing(scores: Tensor, chosen: Tensor) -> Tensor:
    """Return where the arg max of scores (K, ...) is clearly not the class that was chosen, shape (...)."""
    best, known = scores.max(0), chosen < len(scores)
    lead = best.values - scores.gather(0, chosen.where(known, 0)[None])[0]
    return ~known | (lead > ROUNDING * best.values.abs().clamp_min(1))


def _refuse(model: nn.Module, sample: Any, scores: Tensor, chosen: Tensor, differs: Tensor) -> None:
    raise InputError(
        f'{type(model).__name__} does not decide by the largest of its scores: for {name_of(sample)} it predicts '
        f'class {int(chosen[differs][0])} where that of class {int(scores.argmax(0)[differs][0])} is the largest. An '
        'attack on these scores would aim at another decision than the one that is scored; use '
        "objective='model-loss'."
    )


@dataclass(frozen=True)
class Undecided(Task):
    """Images without one class each, or per pixel: nothing to judge, and no logits of a known meaning.

    Attributes:
        reason: why an attack on logits has no target, and what to do.
        has_labels: whether there are labels of any kind, which the model's own loss needs.
    """

    reason: str
    has_labels: bool

    def target(self, samples: Sequence[Any], device: torch.device) -> Tensor:
        """Refuse; raises ValueError with the reason."""
        raise InputError(self.reason)

    def logits(self, model: nn.Module, inputs: Tensor, samples: Sequence[Any]) -> Tensor:
        """Refuse; raises ValueError with the reason."""
        raise InputError(self.reason)

    def decided(self, prediction: Any) -> Tensor | None:
        """Return None."""
        return None

    def judge(self, prediction: Any) -> dict[str, Any]:
        """Return nothing."""
        return {}

    def fitted(self, attack: Attack) -> Attack:
        """Refuse an attack on logits, and any attack where there are no labels; raises ValueError."""
        if attack.objective.output == 'logits' or not self.has_labels:
            raise InputError(self.reason)
        return super().fitted(attack)


def without_goal(attack: AttackT) -> AttackT:
    """Return the attack with the goal 'loss', for use where no single answer shows an error."""
    if getattr(attack, 'goal', 'loss') == 'loss':
        return attack
    return attack.replace(goal='loss')


@contextmanager
def _fixed_randomness(device: torch.device) -> Iterator[None]:
    with isolated_randomness(device):
        torch.manual_seed(0)
        yield


def cross_entropy(logits: Tensor, labels: Tensor) -> float:
    """Return the mean cross-entropy of logits (K, n) and labels (n,); 0 where there are none."""
    losses = F.cross_entropy(logits.float().T, labels, reduction='none')
    return float(losses.double().sum()) / max(1, len(labels))
