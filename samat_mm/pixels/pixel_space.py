"""The function that attacks differentiate: pixels in [0, 1], then everything the model does to them."""

import copy
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

import torch
from mmengine.model import ImgDataPreprocessor
from torch import Tensor, nn

from samat_mm.errors import InputError
from samat_mm.model_state import frozen, refuse_activation_checkpointing
from samat_mm.perturbations.inputs import Attack
from samat_mm.perturbations.inputs.mixed import MixedPredict
from samat_mm.perturbations.inputs.objectives import wrong_share
from samat_mm.pixels.bfloat16 import InBfloat16
from samat_mm.pixels.passes import Passes
from samat_mm.pixels.pixel_range import (
    TOLERANCE,
    WIDE_TOLERANCE,
    Range,
    check_range,
    image_range,
    pixel_statistics,
)
from samat_mm.tasks import Classification, Task, task_of


class PixelSpace:
    """A preprocessed batch as pixels in [0, 1], and the model as a function of these pixels.

    The model's input is affine in the pixels, so a change of pixels is added to the input that the preprocessor
    produced: unchanged pixels give exactly that input. Padding has no pixels and does not change. Channels are in the
    order of the model's input.

    Args:
        model: the bare model (not its distributed wrapper).
        raw_inputs: the images before preprocessing, a batch or a list of (C, H, W).
        inputs: the same images after preprocessing, shape (N, C, H, W).
        samples: their preprocessed data samples.
        task: the model's task; by default derived from the samples and the model's head.
        pixel_range: the image values of pixels 0 and 1; by default 0 and 255, or 0 and 1 if the images are in that
            range.

    Raises:
        ValueError: if the images are not in that range.
    """

    def __init__(
        self,
        model: nn.Module,
        raw_inputs: Sequence[Tensor] | Tensor,
        inputs: Tensor,
        samples: Sequence[Any],
        *,
        task: Task | None = None,
        pixel_range: Range | None = None,
    ) -> None:
        self.model, self.inputs, self.samples = model, inputs, samples
        self.task = task or task_of(model, samples)
        self.passes = Passes()
        self.sizes = image_sizes(raw_inputs, inputs)
        self.range = image_range(model, raw_inputs, pixel_range)
        self.mean, self.std = pixel_statistics(model, inputs, self.range)
        pixels = torch.zeros_like(inputs)
        for row, image, (height, width) in zip(pixels, inputs, self.sizes, strict=True):
            row[:, :height, :width] = (image * self.std + self.mean)[:, :height, :width]
        check_range(pixels, raw_inputs, self.range, TOLERANCE if pixel_range is None else WIDE_TOLERANCE)
        self.pixels = pixels.clamp_(0, 1)

    @property
    def is_bgr(self) -> bool:
        """Whether the channels of the pixels are blue, green, red, as mmsegmentation and mmdetection load images."""
        preprocessor: Any = getattr(self.model, 'data_preprocessor', None)
        return isinstance(preprocessor, ImgDataPreprocessor) and not preprocessor._channel_conversion

    def to_inputs(self, pixels: Tensor) -> Tensor:
        """Return the model's input for changed pixels, shape (N, C, H, W)."""
        return self.inputs + (pixels - self.pixels) / self.std

    def attack(
        self, attack: Attack, indices: Sequence[int], *, training: bool = False, early: 'PixelSpace | None' = None
    ) -> Tensor:
        """Return adversarial pixels, leaving the model as it was.

        Args:
            attack: the attack to run.
            indices: index of each image in its data set, for its random start.
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
            return attack(predict, self.pixels, target, indices=indices, sizes=self.sizes)

    def output(self, attack: Attack, *, training: bool = False) -> Tensor:
        """Return the output that an attack sees for the unchanged images."""
        with frozen(self.model), torch.no_grad():
            return self._predict(attack, training)[0](self.pixels)

    def wrong(self, pixels: Tensor) -> Tensor:
        """Return which images a classifier gets wrong with these pixels, shape (N,); none for a segmentor."""
        if not isinstance(self.task, Classification):
            return torch.zeros(len(pixels), dtype=torch.bool, device=pixels.device)
        target = self.task.target(self.samples, pixels.device)
        with frozen(self.model), torch.no_grad():
            return wrong_share(Logits(self, self.samples)(pixels), target) > 0

    def on(self, model: nn.Module, memory_format: torch.memory_format = torch.contiguous_format) -> 'PixelSpace':
        """Return the same batch with another model, for instance a copy of this one."""
        other = copy.copy(self)
        other.model = model
        other.inputs, other.pixels = (
            values.contiguous(memory_format=memory_format) for values in (self.inputs, self.pixels)
        )
        return other

    def _predict(self, attack: Attack, training: bool) -> tuple[Callable[[Tensor], Tensor], Tensor | None]:
        if attack.objective.output == 'loss':
            if not training:
                _check_boxes(self.samples)
            return self._model_loss, None
        if not training:
            return Logits(self, self.samples), self.task.target(self.samples, self.inputs.device)
        samples = self.task.in_training_geometry(self.samples, self.inputs)
        return Logits(self, samples), self.task.training_target(samples, self.inputs.device)

    def subset(self, rows: Tensor) -> 'PixelSpace':
        """Return the same for some images of the batch (indices, shape (n,))."""
        part = copy.copy(self)
        part.inputs, part.pixels = self.inputs[rows], self.pixels[rows]
        part.samples, part.sizes = ([values[row] for row in rows.tolist()] for values in (self.samples, self.sizes))
        return part

    def _model_loss(self, pixels: Tensor) -> Tensor:
        samples = [sample.new() for sample in self.samples]
        losses = self.model.forward(self.to_inputs(pixels), samples, mode='loss')
        loss, _ = self.model.parse_losses(losses)  # type: ignore[operator]
        self.passes.count(loss, len(pixels))
        if not isinstance(loss, Tensor) or (not loss.requires_grad and torch.is_grad_enabled()):
            raise InputError(
                f'{type(self.model).__name__} has no training loss that depends on its input, so there is nothing to '
                'attack.'
            )
        return loss


class Logits:
    """The logits as a function of the pixels of a batch, or of some of its images."""

    def __init__(self, space: PixelSpace, samples: Sequence[Any]) -> None:
        self.space, self.samples = space, samples

    def __call__(self, pixels: Tensor) -> Tensor:
        """Return the task's logits, (N, K) or (N, K, H, W)."""
        logits = self.space.task.logits(self.space.model, self.space.to_inputs(pixels), self.samples)
        self.space.passes.count(logits, len(pixels))
        return logits

    def subset(self, rows: Tensor) -> 'Logits':
        """Return the same for some images of the batch, for attacks that leave out finished images."""
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


def image_sizes(raw_inputs: Sequence[Tensor] | Tensor, inputs: Tensor) -> list[tuple[int, int]]:
    """Return (height, width) of each image within the top left corner of its input."""
    return [(min(image.shape[-2], inputs.shape[-2]), min(image.shape[-1], inputs.shape[-1])) for image in raw_inputs]
