"""A batch of a data set as an evaluation sees it: pixels to attack, and predictions to score."""

import copy
from collections.abc import Sequence
from typing import Any

import torch
from mmengine.runner.amp import autocast
from torch import Tensor, nn

from samat_mm.models.pixel_space import PixelSpace


class AttackedBatch:
    """A batch as the data set gave it, its pixels, and what a model predicts for other pixels.

    Args:
        model: the bare model.
        data_batch: ``inputs`` and ``data_samples``; it is not changed.
        fp16: predict as MMEngine's loops do with ``fp16=True``.
    """

    def __init__(self, model: Any, data_batch: dict[str, Any], fp16: bool = False) -> None:
        self.model, self.fp16 = model, fp16
        self.raw = copy.deepcopy(data_batch)  # preprocessors and models write into what they get
        self.data = model.data_preprocessor(copy.deepcopy(data_batch), False)
        self.space = PixelSpace(model, data_batch['inputs'], self.data['inputs'], self.data['data_samples'])

    def __len__(self) -> int:
        return len(self.data['inputs'])

    def subset(self, rows: Sequence[int]) -> 'AttackedBatch':
        """Return the batch of some of the images."""
        part = copy.copy(self)
        part.raw = {key: [values[row] for row in rows] for key, values in self.raw.items()}
        part.space = self.space.subset(torch.tensor(rows))
        part.data = {**self.data, 'inputs': part.space.inputs, 'data_samples': part.space.samples}
        return part

    def predict(self, pixels: Tensor | None = None) -> list[Any]:
        """Return the model's predictions, for its own pixels or others, with the ground truth beside them."""
        model: nn.Module = self.model
        inputs = self.data['inputs'] if pixels is None else self.space.to_inputs(pixels)
        samples = [copy.deepcopy(sample) for sample in self.data['data_samples']]
        with torch.no_grad(), autocast(enabled=self.fp16):
            return model.forward(inputs, samples, mode='predict')

    def single(self, row: int) -> dict[str, Any]:
        """Return one image as a batch of the data set, for metrics."""
        return {key: [values[row]] for key, values in self.raw.items()}
