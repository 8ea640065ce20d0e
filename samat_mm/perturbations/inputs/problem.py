"""The problem that an attack searches: a model as a function of its inputs, and a batch of them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.nn import functional as F

from samat_mm.errors import InputError
from samat_mm.perturbations.device import row_indices, true_rows
from samat_mm.perturbations.inputs.finite import check_finite
from samat_mm.perturbations.norms.base import Box
from samat_mm.perturbations.norms.region import PIXELS

Predict = Callable[[Tensor], Tensor]
Bound = TypeVar('Bound')


@dataclass(frozen=True, eq=False)
class Problem:
    """Images to perturb, and the model that is to err on them.

    ``predict`` is asked about fewer images than it was given once some are done. A ``predict`` that is bound to the
    images of its batch has a method ``subset(rows)``, which returns the same for those rows. One that leaves early
    steps to another has a method ``at(step, steps)``, which returns the function for that step.

    Args:
        predict: maps inputs (N, ...) to the output that the attack's objective takes, differentiably.
        images: pixels (N, C, H, W) in the box, or inputs (N, ...) that are not pixels.
        target: labels (N,) or (N, H, W) with 255 ignored, class probabilities (N, K), or None where ``predict`` needs
            none.
        indices: the number of each image in its data set, for its random numbers. Defaults to 0..N-1.
        sizes: (height, width) of each image within its top left corner; the rest is padding, which is never perturbed.
            Defaults to the whole image.
        box: the smallest and the largest value of a pixel; None for inputs that are not pixels, which are neither
            clamped nor checked.
        frame: surroundings of the images, added before ``predict`` sees them, (N, C, H', W'), 0 where the images are.

    Attributes:
        numbers: the indices, also where none are given.

    Raises:
        ValueError: if there is not one index and one size per image.
    """

    predict: Predict
    images: Tensor
    target: Any = None
    indices: Sequence[int] | None = None
    sizes: Sequence[tuple[int, int]] | None = None
    box: Box | None = PIXELS
    frame: Tensor | None = None
    numbers: Sequence[int] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        count = len(self.images) if self.images.ndim else 0
        counts = [count if given is None else len(given) for given in (self.indices, self.sizes)]
        if counts != [count, count]:
            raise InputError(
                f'indices and sizes must have one entry for each of the {count} images; '
                f'got {counts[0]} and {counts[1]}.'
            )
        object.__setattr__(self, 'images', self.images.detach())
        object.__setattr__(self, 'numbers', range(count) if self.indices is None else self.indices)

    def output(self, images: Tensor) -> Tensor:
        """Return the output of ``predict`` for changed images."""
        if self.frame is not None:
            below, right = (whole - part for whole, part in zip(self.frame.shape[2:], images.shape[2:], strict=True))
            images = F.pad(images, (0, right, 0, below)) + self.frame
        return self.predict(images)

    def logits(self, images: Tensor) -> Tensor:
        """Return the logits (N, K) of changed images.

        Raises:
            ValueError: if there is not one row per image.
            FloatingPointError: if a logit is not finite.
        """
        logits = self.output(images)
        check_finite(logits)
        return one_row_each(logits, images)

    def at(self, step: int, steps: int) -> 'Problem':
        """Return the problem that this step (from 0) searches: this one, unless ``predict`` depends on the step."""
        at: Any = getattr(self.predict, 'at', None)
        predict = self.predict if at is None else at(step, steps)
        return self if predict is self.predict else replace(self, predict=predict)

    def subset(self, rows: Sequence[int]) -> 'Problem':
        """Return the problem of some images alone, by their indices; without waiting for the device."""
        indices = [self.numbers[row] for row in rows]
        sizes = None if self.sizes is None else [self.sizes[row] for row in rows]
        there = row_indices(rows, self.images)
        target, frame = (None if values is None else values[there] for values in (self.target, self.frame))
        return Problem(restricted(self.predict, there), self.images[there], target, indices, sizes, self.box, frame)

    def cropped(self, size: tuple[int, int]) -> 'Problem':
        """Return the problem without the padding, for images that are all of that (height, width)."""
        height, width = size
        if size == tuple(self.images.shape[2:]):
            return replace(self, sizes=None)
        frame = self.images.clone()
        frame[:, :, :height, :width] = 0
        return replace(self, images=self.images[:, :, :height, :width], sizes=None, frame=frame)


class Remaining:
    """The images of a problem that are not done.

    Attributes:
        problem: the problem of these images alone.
        rows: their indices in the whole problem, shape (n,).
    """

    def __init__(self, problem: Problem) -> None:
        self.problem, self.rows = problem, torch.arange(len(problem.images), device=problem.images.device)

    def __len__(self) -> int:
        return len(self.rows)

    def drop(self, done: Tensor) -> Tensor | None:
        """Leave out the images that are done now, shape (n,), and return the indices of the others; None if all remain.

        The host waits for the device once.
        """
        kept = true_rows(~done)
        if len(kept) == len(done):
            return None
        there = row_indices(kept, self.rows)
        self.rows, self.problem = self.rows[there], self.problem.subset(kept)
        return there


def one_row_each(logits: Tensor, images: Tensor) -> Tensor:
    """Return the logits.

    Raises:
        ValueError: if there is not one row per image.
    """
    if len(logits) != len(images):
        raise InputError(
            f'predict must return one row of logits per image, also for a part of the batch; got {len(logits)} '
            f'rows for {len(images)} images. A predict that is bound to its batch needs a method subset(rows).'
        )
    return logits


def restricted(bound: Bound, rows: Tensor) -> Bound:
    """Return a ``predict`` or an objective for some images (indices, shape (n,)), if it is bound to a batch."""
    restrict: Any = getattr(bound, 'subset', None)
    return bound if restrict is None else restrict(rows)
