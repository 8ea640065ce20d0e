"""A batch of a data set in an evaluation: pixels to attack, and predictions to score."""

import copy
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import torch
from mmengine.runner.amp import autocast
from torch import Tensor, nn

from samat_mm.pixels.pixel_range import Range
from samat_mm.pixels.pixel_space import PixelSpace, image_sizes
from samat_mm.tasks import Task, task_of


class AttackedBatch:
    """A batch as the data set gave it, its pixels, and the predictions of a model for other pixels.

    Args:
        model: the bare model.
        data_batch: ``inputs`` and ``data_samples``; it is not changed.
        fp16: predict as MMEngine's loops do with ``fp16=True``.
        task: the task of the model; by default the one that the samples and the model's head show.
        pixel_range: values of the images that stand for the pixels 0 and 1, see :class:`PixelSpace`.
    """

    def __init__(
        self,
        model: Any,
        data_batch: dict[str, Any],
        fp16: bool = False,
        *,
        task: Task | None = None,
        pixel_range: Range | None = None,
    ) -> None:
        self.model, self.fp16, self.pixel_range = model, fp16, pixel_range
        self.raw = copy.deepcopy(data_batch)  # preprocessors and models write into their arguments
        self.data = model.data_preprocessor(copy.deepcopy(data_batch), False)
        self.task = task or task_of(model, self.data['data_samples'])
        self.sizes = image_sizes(self.raw['inputs'], self.data['inputs'])

    def __len__(self) -> int:
        return len(self.data['inputs'])

    @cached_property
    def space(self) -> PixelSpace:
        """The pixels, which only attacks need: clean images are tested in any range."""
        return PixelSpace(
            self.model,
            self.raw['inputs'],
            self.data['inputs'],
            self.data['data_samples'],
            task=self.task,
            pixel_range=self.pixel_range,
        )

    def range(self) -> Range:
        """Return the values that stand for the pixels 0 and 1; raises ValueError, see :class:`PixelSpace`."""
        return self.space.range

    def check(self) -> None:
        """Refuse a model that does not decide by its task's logits; see :meth:`Task.check`."""
        self.task.check(self.model, self.data['inputs'], self.data['data_samples'])

    def subset(self, rows: Sequence[int]) -> 'AttackedBatch':
        """Return the batch of some of the images."""
        part = copy.copy(self)
        vars(part).pop('space', None)
        part.raw = {key: [values[row] for row in rows] for key, values in self.raw.items()}
        samples = [self.data['data_samples'][row] for row in rows]
        part.data = {**self.data, 'inputs': self.data['inputs'][list(rows)], 'data_samples': samples}
        part.sizes = [self.sizes[row] for row in rows]
        return part

    def predict(self, pixels: Tensor | None = None) -> list[Any]:
        """Return the model's predictions, for its own pixels or others, together with the ground truth."""
        model: nn.Module = self.model
        inputs = self.data['inputs'] if pixels is None else self.space.to_inputs(pixels)
        samples = [copy.deepcopy(sample) for sample in self.data['data_samples']]
        with torch.no_grad(), autocast(enabled=self.fp16):
            return model.forward(inputs, samples, mode='predict')

    def single(self, row: int) -> dict[str, Any]:
        """Return one image as a batch of the data set, for metrics."""
        return {key: [values[row]] for key, values in self.raw.items()}
