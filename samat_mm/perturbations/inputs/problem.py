"""What an attack searches: a model as a function of its inputs, and a batch of them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.nn import functional as F

from samat_mm.errors import InputError
from samat_mm.perturbations.inputs.finite import check_finite
from samat_mm.perturbations.norms.base import Box
from samat_mm.perturbations.norms.region import PIXELS

Predict = Callable[[Tensor], Tensor]
Bound = TypeVar('Bound')


@dataclass(frozen=True)
class Problem:
    """Images to perturb, and the model that is to err on them.

    ``predict`` is asked about fewer images than it was given where some are done. One that is bound to the images of
    its batch has a method ``subset(rows)``, which returns the same for those rows. One that leaves early steps to
    another has a method ``at(step, steps)``, which returns what that step asks.

    Args:
        predict: maps inputs (N, ...) to what the attack's objective takes, differentiably.
        images: pixels (N, C, H, W) in the box, or inputs (N, ...) that are not pixels.
        target: labels (N,) or (N, H, W) with 255 ignored, class probabilities (N, K), or None where ``predict`` needs
            none.
        indices: the number of each image in its data set, for its random numbers. Defaults to 0..N-1.
        sizes: (height, width) of each image within its top left corner; the rest is padding, which is never perturbed.
            Defaults to the whole image.
        box: the smallest and the largest value of a pixel; None for inputs that are not pixels, of which nothing is
            clamped or checked.
        frame: what surrounds the images before ``predict`` sees them, (N, C, H', W'), 0 where they are.

    Attributes:
        numbers: the indices, also where none are given.

    Raises:
        ValueError: if there is not one index and one size per image.
    """

    predict: Predict
    images: Tensor
    target: Tensor | None = None
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

    @property
    def labels(self) -> Tensor:
        """The target of a search that has one."""
        assert self.target is not None
        return self.target

    def output(self, images: Tensor) -> Tensor:
        """Return what ``predict`` gives for changed images."""
        return self.predict(images if self.frame is None else self._framed(images))

    def logits(self, images: Tensor) -> Tensor:
        """Return the logits (N, K) of changed images.

        Raises:
            ValueError: if there are not as many rows as images.
            FloatingPointError: if a logit is not finite.
        """
        logits = self.output(images)
        check_finite(logits)
        return one_row_each(logits, images)

    def at(self, step: int, steps: int) -> 'Problem':
        """Return the problem that step ``step`` (from 0) of so many searches; this one, unless ``predict`` differs."""
        at: Any = getattr(self.predict, 'at', None)
        predict = self.predict if at is None else at(step, steps)
        return self if predict is self.predict else replace(self, predict=predict)

    def subset(self, rows: Tensor) -> 'Problem':
        """Return the problem of some images alone (indices, shape (n,))."""
        kept = rows.tolist()
        indices = [self.numbers[row] for row in kept]
        sizes = None if self.sizes is None else [self.sizes[row] for row in kept]
        target, frame = (None if values is None else values[rows] for values in (self.target, self.frame))
        return Problem(restricted(self.predict, rows), self.images[rows], target, indices, sizes, self.box, frame)

    def cropped(self, size: tuple[int, int]) -> 'Problem':
        """Return the problem without the padding, for images that are all of that (height, width)."""
        height, width = size
        if size == tuple(self.images.shape[2:]):
            return replace(self, sizes=None)
        frame = self.images.clone()
        frame[:, :, :height, :width] = 0
        return replace(self, images=self.images[:, :, :height, :width], sizes=None, frame=frame)

    def _framed(self, images: Tensor) -> Tensor:
        assert self.frame is not None
        below, right = (whole - part for whole, part in zip(self.frame.shape[2:], images.shape[2:], strict=True))
        return F.pad(images, (0, right, 0, below)) + self.frame


class Remaining:
    """The images of a problem that are not done.

    Attributes:
        problem: theirs alone.
        rows: their indices in the whole problem.
    """

    def __init__(self, problem: Problem) -> None:
        self.problem, self.rows = problem, torch.arange(len(problem.images), device=problem.images.device)

    def __len__(self) -> int:
        return len(self.rows)

    def drop(self, done: Tensor) -> Tensor | None:
        """Leave out the images that are done now, shape (n,), and return which of them go on; None if all do.

        To know the size of what is left, the host waits for the device.
        """
        kept = (~done).nonzero().flatten()
        if len(kept) == len(done):
            return None
        self.rows, self.problem = self.rows[kept], self.problem.subset(kept)
        return kept


def one_row_each(logits: Tensor, images: Tensor) -> Tensor:
    """Return the logits.

    Raises:
        ValueError: if there are not as many rows as images.
    """
    if len(logits) != len(images):
        raise InputError(
            f'predict must return one row of logits per image, also for a part of the batch; got {len(logits)} '
            f'rows for {len(images)} images. A predict that is bound to its batch needs a method subset(rows).'
        )
    return logits


def restricted(bound: Bound, rows: Tensor) -> Bound:
    """Return what is bound to the images of a batch for those rows alone, and anything else as it is.

    Args:
        bound: a ``predict`` or an objective; one that is bound to a batch has a method ``subset(rows)``.
        rows: indices, shape (n,).
    """
    restrict: Any = getattr(bound, 'subset', None)
    return bound if restrict is None else restrict(rows)
