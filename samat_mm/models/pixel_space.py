"""The function that attacks differentiate: pixels in [0, 1], then everything the model does to them."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from mmengine.model import ImgDataPreprocessor
from torch import Tensor, nn

from samat_mm.errors import InputError
from samat_mm.models.state import frozen, refuse_activation_checkpointing
from samat_mm.models.tasks import Classification, Task, task_of
from samat_mm.perturbations.inputs import Attack
from samat_mm.perturbations.inputs.objectives import wrong_share


class PixelSpace:
    """A preprocessed batch seen as pixels in [0, 1], and the way from such pixels back into the model.

    The model's input is affine in the pixels, so a change of pixels is added to the very input that the preprocessor
    made: unchanged pixels give exactly that input. Padding has no pixels and stays as it is. Channels are in the
    order of the model's input.

    Args:
        model: the bare model (not its distributed wrapper).
        raw_inputs: the images before preprocessing, a batch or a list of (C, H, W).
        inputs: the same after preprocessing, shape (N, C, H, W).
        samples: their preprocessed data samples.

    Raises:
        ValueError: if the images are not what the preprocessor's normalisation is meant for.
    """

    def __init__(
        self, model: nn.Module, raw_inputs: Sequence[Tensor] | Tensor, inputs: Tensor, samples: Sequence[Any]
    ) -> None:
        self.model, self.inputs, self.samples = model, inputs, samples
        self.passes = Passes()
        self.sizes = [
            (min(image.shape[-2], inputs.shape[-2]), min(image.shape[-1], inputs.shape[-1])) for image in raw_inputs
        ]
        self.mean, self.std = _pixel_statistics(model, raw_inputs, inputs)
        pixels = torch.zeros_like(inputs)
        for row, image, (height, width) in zip(pixels, inputs, self.sizes, strict=True):
            row[:, :height, :width] = (image * self.std + self.mean)[:, :height, :width]
        if inputs.numel() and not (float(pixels.min()) > -0.5 and float(pixels.max()) < 1.5):
            raise InputError(
                'the preprocessed images do not go back to pixels in [0, 1] (they reach '
                f'[{float(pixels.min()):g}, {float(pixels.max()):g}]); the mean and std of the data preprocessor and '
                'the range of the images it gets must belong together.'
            )
        self.pixels = pixels.clamp_(0, 1)

    @property
    def is_bgr(self) -> bool:
        """Whether the channels of the pixels are blue, green, red, as mmsegmentation and mmdetection load images."""
        preprocessor: Any = getattr(self.model, 'data_preprocessor', None)
        return isinstance(preprocessor, ImgDataPreprocessor) and not preprocessor._channel_conversion

    def to_inputs(self, pixels: Tensor) -> Tensor:
        """Return the model's input for changed pixels, shape (N, C, H, W)."""
        return self.inputs + (pixels - self.pixels) / self.std

    def attack(self, attack: Attack, indices: Sequence[int], *, training: bool = False) -> Tensor:
        """Return adversarial pixels, leaving the model as it was.

        Args:
            attack: what to run.
            indices: the number of each image in its data set, for its random start.
            training: whether the labels are at the resolution of the model's input, as in training.

        Raises:
            ValueError: if the model has no output that the attack's objective could use.
        """
        refuse_activation_checkpointing(self.model)
        with frozen(self.model):
            predict, target = self._predict(attack, training)
            return attack(predict, self.pixels, target, indices=indices, sizes=self.sizes)

    def output(self, attack: Attack, *, training: bool = False) -> Tensor:
        """Return what an attack gets to see of the unchanged images."""
        with frozen(self.model), torch.no_grad():
            return self._predict(attack, training)[0](self.pixels)

    def wrong(self, pixels: Tensor) -> Tensor:
        """Return which images a classifier gets wrong with these pixels, shape (N,); none where it is a segmentor."""
        task = task_of(self.samples, self.model)
        if not isinstance(task, Classification):
            return torch.zeros(len(pixels), dtype=torch.bool, device=pixels.device)
        target = task.target(self.model, self.samples, pixels.device)
        with frozen(self.model), torch.no_grad():
            return wrong_share(Logits(self, task, self.samples)(pixels), target) > 0

    def on(self, model: nn.Module, memory_format: torch.memory_format = torch.contiguous_format) -> 'PixelSpace':
        """Return the same before another model, a copy of this one for instance."""
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
        task: Task = task_of(self.samples, self.model)
        samples = task.in_training_geometry(self.samples, self.inputs) if training else self.samples
        target = task.target(self.model, samples, self.inputs.device)
        return Logits(self, task, samples), target

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


@dataclass
class Passes:
    """How many images went forward through the model, and how many gradients came back."""

    forwards: int = 0
    backwards: int = 0

    def count(self, output: Any, images: int) -> None:
        """Count a forward pass of so many images, and each backward pass through its output to come."""
        self.forwards += images
        if isinstance(output, Tensor) and output.requires_grad:
            output.register_hook(lambda _: self._count_backward(images))

    def _count_backward(self, images: int) -> None:
        self.backwards += images


class Logits:
    """The logits as a function of the pixels of a batch, or of some of its images."""

    def __init__(self, space: PixelSpace, task: Task, samples: Sequence[Any]) -> None:
        self.space, self.task, self.samples = space, task, samples

    def __call__(self, pixels: Tensor) -> Tensor:
        """Return what the task takes for logits, (N, K) or (N, K, H, W)."""
        logits = self.task.logits(self.space.model, self.space.to_inputs(pixels), self.samples)
        self.space.passes.count(logits, len(pixels))
        return logits

    def subset(self, rows: Tensor) -> 'Logits':
        """Return the same for some images of the batch, for attacks that leave out images that are done."""
        return Logits(self.space.subset(rows), self.task, [self.samples[row] for row in rows.tolist()])


def _check_boxes(samples: Sequence[Any]) -> None:
    """Refuse boxes that are not in the coordinates of the input: a loss on them would mean nothing."""
    for sample in samples:
        factors = (
            torch.as_tensor(sample.metainfo.get('scale_factor', 1.0)) if 'gt_instances' in sample else torch.ones(1)
        )
        if not bool((factors == 1).all()):
            raise InputError(
                "the training loss of a detector needs its boxes at the input's size, but these are at the size of the "
                'file; put LoadAnnotations before Resize in the pipeline.'
            )


def _pixel_statistics(model: nn.Module, raw_inputs: Sequence[Tensor] | Tensor, inputs: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and std, shape (C, 1, 1), with ``input = (pixel - mean) / std`` for pixels in [0, 1].

    The preprocessor's own numbers are in the units of the images it gets, 0..255 in OpenMMLab. Statistics that do not
    exceed 1 show that they are in [0, 1] already; without any, the type of the raw images has to tell.
    """
    preprocessor: Any = getattr(model, 'data_preprocessor', None)
    eight_bit = all(image.dtype == torch.uint8 for image in raw_inputs)
    if getattr(preprocessor, '_enable_normalize', False):
        mean, std = (getattr(preprocessor, name).to(inputs) for name in ('mean', 'std'))
        largest = 255 if eight_bit or max(float(mean.max()), float(std.max())) > 1 else 1
    else:
        mean, std = inputs.new_zeros(1, 1, 1), inputs.new_ones(1, 1, 1)
        largest = 255 if eight_bit else 1
    return mean / largest, std / largest
