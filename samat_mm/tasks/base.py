"""The base class of tasks: from a model and its data samples to logits, labels and the share of wrong labels."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from mmengine.structures import BaseDataElement
from torch import Tensor, nn

from samat_mm.model_state import frozen
from samat_mm.perturbations.inputs import Attack
from samat_mm.perturbations.randomness import isolated_randomness
from samat_mm.tasks.labels import without_labels
from samat_mm.tasks.scores import refuse_other_decisions

AttackT = TypeVar('AttackT', bound=Attack)


class Task(ABC):
    """A model's decision about the images of a data set.

    Attacks, scores, tables by class, pictures, sanity checks and TRADES all use it, so attacks aim at the scored
    decision. Forwards bypass the hooks of the outermost module, because training hooks and captures must not see an
    attack.
    """

    @abstractmethod
    def target(self, samples: Sequence[Any], device: torch.device) -> Tensor:
        """Return the labels: (N,), class probabilities (N, K), or (N, H, W) with 255 ignored."""

    def training_target(self, samples: Sequence[Any], device: torch.device) -> Tensor:
        """Return the training target, which may be class probabilities even if labels are scored."""
        return self.target(samples, device)

    @abstractmethod
    def logits(self, model: nn.Module, inputs: Tensor, samples: Sequence[Any]) -> Tensor:
        """Return logits (N, K) or (N, K, H, W), the latter at the labels' resolution; their arg max is the decision."""

    @abstractmethod
    def decided(self, prediction: Any) -> Tensor | None:
        """Return the class that ``predict`` chose, shape () or (H, W); None if it does not name one."""

    @abstractmethod
    def judge(self, prediction: Any) -> dict[str, Any]:
        """Compare a prediction with its ground truth.

        Returns:
            ``wrong``, the share of wrong labels; ``loss``, the mean cross-entropy of the labels; ``counts``, (class,
            right, all) for each class that occurs; ``classes``, the number of classes. Empty if the prediction or its
            labels are of another kind.

        Raises:
            ValueError: if a label is not a class.
        """

    def in_training_geometry(self, samples: Sequence[Any], inputs: Tensor) -> list[Any]:
        """Return samples whose labels have the resolution of the network's input, as in training."""
        return list(samples)

    def fitted(self, attack: Attack) -> Attack:
        """Return an attack as it runs on this task.

        Raises:
            ValueError: if it has no target, with the reason.
        """
        return attack if attack.objective.output == 'logits' else without_goal(attack)

    def check(self, model: Any, inputs: Tensor, samples: Sequence[Any]) -> None:
        """Compare the arg max of :meth:`logits` with the model's own predictions on clean images.

        Args:
            model: the bare model.
            inputs: preprocessed images, shape (N, C, H, W).
            samples: their data samples.

        Raises:
            ValueError: if they differ by more than rounding, because an attack on such logits would aim at another
                decision than the scored one.
        """
        self.compared(model, inputs, samples)

    def compared(self, model: Any, inputs: Tensor, samples: Sequence[Any]) -> tuple[list[Any], Tensor]:
        """Compare like :meth:`check`, and return the predictions and the logits."""
        with frozen(model), torch.no_grad():
            with _fixed_randomness(inputs.device):
                predictions = model.forward(inputs, without_labels(samples), mode='predict')
            with _fixed_randomness(inputs.device):
                logits = self.logits(model, inputs, samples)
        chosen = [self.decided(entry) if isinstance(entry, BaseDataElement) else None for entry in predictions]
        refuse_other_decisions(model, samples, logits, chosen)
        return list(predictions), logits


def without_goal(attack: AttackT) -> AttackT:
    """Return the attack with the goal 'loss', for tasks without a single answer, so that reports name what runs."""
    if getattr(attack, 'goal', 'loss') == 'loss':
        return attack
    return attack.replace(goal='loss')


@contextmanager
def _fixed_randomness(device: torch.device) -> Iterator[None]:
    with isolated_randomness(device):
        torch.manual_seed(0)
        yield
