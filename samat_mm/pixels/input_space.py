"""The input of a model as attacks see it: a point for each sample of a batch, and the model as a function of these."""

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any, Self

import torch
from torch import Tensor, nn

from samat_mm.errors import InputError
from samat_mm.model_state import frozen, refuse_activation_checkpointing
from samat_mm.perturbations.inputs import Attack
from samat_mm.perturbations.inputs.mixed import MixedPredict
from samat_mm.perturbations.inputs.objectives import wrong_share
from samat_mm.perturbations.norms.base import Box
from samat_mm.perturbations.norms.region import PIXELS
from samat_mm.pixels.bfloat16 import InBfloat16
from samat_mm.pixels.further_arguments import with_arguments
from samat_mm.pixels.passes import Passes
from samat_mm.replay.batch import subset
from samat_mm.tasks import Classification, Task, task_of


class InputSpace(ABC):
    """A preprocessed batch as points that an attack moves.

    Args:
        model: the bare model (not its distributed wrapper).
        inputs: its preprocessed inputs, N of them.
        samples: their preprocessed data samples.
        task: the model's task; by default derived from the samples and the model's head.

    Attributes:
        pixels: the points, shape (N, C, H, W).
        sizes: (height, width) of each point within its top left corner; the rest is padding, which never moves.
        rest: what the model's forward gets beside inputs, samples and mode.
        box: the smallest and the largest coordinate of a point, or None.
    """

    pixels: Tensor
    sizes: list[tuple[int, int]]
    box: Box | None = PIXELS

    def __init__(self, model: nn.Module, inputs: Tensor, samples: Sequence[Any], task: Task | None) -> None:
        self.model, self.inputs, self.samples = model, inputs, samples
        self.task = task or task_of(model, samples)
        self.passes = Passes()
        self.rest: dict[str, Any] = {}

    @abstractmethod
    def arguments(self, pixels: Tensor) -> dict[str, Tensor]:
        """Return what the model's forward gets for moved points, by the names of its arguments."""

    def function(self, pixels: Tensor) -> tuple[nn.Module, Tensor]:
        """Return a model and its inputs that give the output for moved points."""
        given = {'inputs': self.inputs, **self.rest, **self.arguments(pixels)}
        return with_arguments(self.model, given), given['inputs']

    def attack(
        self, attack: Attack, indices: Sequence[int], *, training: bool = False, early: 'InputSpace | None' = None
    ) -> Tensor:
        """Return adversarial points, leaving the model as it was.

        Args:
            attack: the attack to run.
            indices: index of each sample in its data set, for its random start.
            training: whether the labels are at the resolution of the model's input, as in training.
            early: the same batch with a model that computes nearly the same in bfloat16, for the early steps.

        Raises:
            ValueError: if the model has no output for the attack's objective.
        """
        refuse_activation_checkpointing(self.model)
        with frozen(self.model), nullcontext() if early is None else frozen(early.model):
            predict, target = self._predict(attack, training)
            if early is not None:
                predict = MixedPredict(predict, InBfloat16(early._predict(attack, training)[0]))
            return attack(predict, self.pixels, target, indices=indices, sizes=self.sizes, box=self.box)

    def output(self, attack: Attack, *, training: bool = False) -> Tensor:
        """Return the output that an attack sees for the unchanged samples."""
        with frozen(self.model), torch.no_grad():
            return self._predict(attack, training)[0](self.pixels)

    def wrong(self, pixels: Tensor) -> Tensor:
        """Return which samples a classifier gets wrong at these points, shape (N,); none for a segmentor."""
        if not isinstance(self.task, Classification):
            return torch.zeros(len(pixels), dtype=torch.bool, device=pixels.device)
        target = self.task.target(self.samples, pixels.device)
        with frozen(self.model), torch.no_grad():
            return wrong_share(Logits(self, self.samples)(pixels), target) > 0

    def on(self, model: nn.Module, memory_format: torch.memory_format = torch.contiguous_format) -> Self:
        """Return the same batch with another model, for instance a copy of this one."""
        other = copy.copy(self)
        other.model = model
        other.inputs, other.pixels = (
            values.contiguous(memory_format=memory_format) for values in (self.inputs, self.pixels)
        )
        return other

    def subset(self, rows: Tensor) -> Self:
        """Return the same for some samples of the batch (indices, shape (n,))."""
        part = copy.copy(self)
        part.inputs, part.pixels = self.inputs[rows], self.pixels[rows]
        part.samples, part.sizes = ([values[row] for row in rows.tolist()] for values in (self.samples, self.sizes))
        _, part.rest = subset((), self.rest, rows, len(self.samples))
        return part

    def _predict(self, attack: Attack, training: bool) -> tuple[Callable[[Tensor], Tensor], Tensor | None]:
        if attack.objective.output == 'loss':
            if not training:
                _check_boxes(self.samples)
            return self._model_loss, None
        if not training:
            return Logits(self, self.samples), self.task.target(self.samples, self.inputs.device)
        samples = self.task.in_training_geometry(self.samples, self.inputs)
        return Logits(self, samples), self.task.training_target(samples, self.inputs.device)

    def _model_loss(self, pixels: Tensor) -> Tensor:
        samples = [sample.new() for sample in self.samples]
        model, inputs = self.function(pixels)
        losses = model.forward(inputs, samples, mode='loss')
        loss, _ = self.model.parse_losses(losses)  # type: ignore[operator]
        self.passes.count(loss, len(pixels))
        if not isinstance(loss, Tensor) or (not loss.requires_grad and torch.is_grad_enabled()):
            raise InputError(
                f'{type(self.model).__name__} has no training loss that depends on its input, so there is nothing to '
                'attack.'
            )
        return loss


class Logits:
    """The logits as a function of the points of a batch, or of some of its samples."""

    def __init__(self, space: InputSpace, samples: Sequence[Any]) -> None:
        self.space, self.samples = space, samples

    def __call__(self, pixels: Tensor) -> Tensor:
        """Return the task's logits, (N, K) or (N, K, H, W)."""
        model, inputs = self.space.function(pixels)
        logits = self.space.task.logits(model, inputs, self.samples)
        self.space.passes.count(logits, len(pixels))
        return logits

    def subset(self, rows: Tensor) -> 'Logits':
        """Return the same for some samples of the batch, for attacks that leave out finished ones."""
        return Logits(self.space.subset(rows), [self.samples[row] for row in rows.tolist()])


def _check_boxes(samples: Sequence[Any]) -> None:
    """Refuse boxes that are not in the coordinates of the input, because a loss on them would be meaningless."""
    for sample in samples:
        factors = (
            torch.as_tensor(sample.metainfo.get('scale_factor', 1.0)) if 'gt_instances' in sample else torch.ones(1)
        )
        if not bool((factors == 1).all()):
            raise InputError(
                "the training loss of a detector needs its boxes at the input's size, but these are at the size of the "
                'file; put LoadAnnotations before Resize in the pipeline.'
            )
