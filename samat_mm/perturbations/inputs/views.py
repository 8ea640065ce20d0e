"""A model as seen from some images of a batch."""

from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.nn import functional as F

from samat_mm.errors import InputError
from samat_mm.perturbations.inputs.base import Predict
from samat_mm.perturbations.inputs.finite import check_finite

Bound = TypeVar('Bound')


class View:
    """``predict`` for some images of a batch, and for the part of each that is not padding.

    Args:
        predict: maps pixels (N, C, H, W) to logits (N, K).
        inputs: the batch, shape (N, C, H, W).
        size: (height, width) of every image within its top left corner.
        check: is given the logits, to refuse those that are not finite at once or later.
    """

    def __init__(
        self,
        predict: Predict,
        inputs: Tensor,
        size: tuple[int, int],
        check: Callable[[Tensor], None] = check_finite,
    ) -> None:
        self.predict, self.inputs, self.size, self.check = predict, inputs, size, check

    @property
    def images(self) -> Tensor:
        """The images without their padding."""
        return self.inputs[:, :, : self.size[0], : self.size[1]]

    def __call__(self, pixels: Tensor) -> Tensor:
        """Return the logits (N, K) of changed images of the shape of :attr:`images`.

        Raises:
            ValueError: if there are not as many rows as images.
            FloatingPointError: if a logit is not finite.
        """
        logits = self.predict(self._on_canvas(pixels))
        self.check(logits)
        if len(logits) != len(pixels):
            raise InputError(
                f'predict must return one row of logits per image, also for a part of the batch; got {len(logits)} '
                f'rows for {len(pixels)} images. A predict that is bound to its batch needs a method subset(rows).'
            )
        return logits

    def at(self, step: int, steps: int) -> 'View':
        """Return the view that step ``step`` of so many asks; see :func:`at_step`."""
        predict = at_step(self.predict, step, steps)
        return self if predict is self.predict else View(predict, self.inputs, self.size, self.check)

    def subset(self, rows: Tensor) -> 'View':
        """Return the view of those rows of this one (indices, shape (n,))."""
        if len(rows) == len(self.inputs) and torch.equal(rows, torch.arange(len(rows), device=rows.device)):
            return self
        return View(restricted(self.predict, rows), self.inputs[rows], self.size, self.check)

    def _on_canvas(self, pixels: Tensor) -> Tensor:
        height, width = self.size
        below, right = self.inputs.shape[2] - height, self.inputs.shape[3] - width
        if not below and not right:
            return pixels
        padding = self.inputs.clone()
        padding[:, :, :height, :width] = 0
        return F.pad(pixels, (0, right, 0, below)) + padding


def restricted(bound: Bound, rows: Tensor) -> Bound:
    """Return what is bound to the images of a batch for those rows alone, and anything else as it is.

    Args:
        bound: a ``predict`` or an objective; one that is bound to a batch has a method ``subset(rows)``.
        rows: indices, shape (n,).
    """
    restrict: Any = getattr(bound, 'subset', None)
    return bound if restrict is None else restrict(rows)


def at_step(predict: Predict, step: int, steps: int) -> Predict:
    """Return what a step of an ascent asks: another predict where this one has a method ``at(step, steps)``.

    Args:
        predict: maps pixels to what the objective takes.
        step: index of the step, from 0.
        steps: the number of steps.
    """
    at: Any = getattr(predict, 'at', None)
    return predict if at is None else at(step, steps)
