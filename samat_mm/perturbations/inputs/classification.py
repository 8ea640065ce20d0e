"""What attacks on classifiers share: which images they search for, and how they ask the model about them."""

import random
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

from samat_mm.errors import InputError
from samat_mm.perturbations.inputs.base import Attack, Predict
from samat_mm.perturbations.inputs.finite import check_finite
from samat_mm.perturbations.inputs.objectives import IGNORED_LABEL, CrossEntropy, check_shapes
from samat_mm.perturbations.inputs.region import check_pixels
from samat_mm.perturbations.inputs.views import View


class ClassificationAttack(Attack):
    """An attack whose aim is another class, so that an image is done once the model errs on it.

    Images that the model gets wrong already are returned as they are, and so are those without a label (255, where
    the model has no such class). Labels as class probabilities (N, K) count as their most probable class.

    A subclass gives :meth:`search`, which sees images of one size that the model classifies correctly. What it draws
    for image i has to come from (seed, i) alone.

    ``predict`` is asked about fewer images than it was given where some are done. A ``predict`` that is bound to the
    images of its batch has a method ``subset(rows)``, which returns the same for those rows.
    """

    objective = CrossEntropy()

    def __call__(
        self,
        predict: Predict,
        inputs: Tensor,
        target: Tensor | None,
        *,
        indices: Sequence[int] | None = None,
        sizes: Sequence[tuple[int, int]] | None = None,
    ) -> Tensor:
        """Return adversarial images; see :meth:`Attack.__call__`.

        Raises:
            ValueError: if the model is a segmentor, or inputs, target and logits do not fit.
            FloatingPointError: if a logit is not finite.
        """
        inputs = inputs.detach()
        check_pixels(inputs)
        self.check_images(inputs)
        if target is None:
            raise InputError(f'{type(self).__name__} needs a target, the labels (N,); got none.')
        numbers = list(range(len(inputs)) if indices is None else indices)
        sizes = [(inputs.shape[2], inputs.shape[3])] * len(inputs) if sizes is None else sizes
        if not len(inputs) == len(numbers) == len(sizes):
            raise InputError(
                f'indices and sizes must have one entry for each of the {len(inputs)} images; '
                f'got {len(numbers)} and {len(sizes)}.'
            )
        result = inputs.clone()
        if self.moves_nothing() or not len(inputs):
            return result
        with isolated_randomness(inputs.device), torch.no_grad():
            labels, correct = self._clean(predict, inputs, target)
            for size in sorted({(int(height), int(width)) for height, width in sizes}):
                same = torch.tensor([tuple(other) == size for other in sizes], device=inputs.device)
                rows = (correct & same).nonzero().flatten()
                if not len(rows):
                    continue
                view = View(predict, inputs, size).subset(rows)
                found = self.search(view, view.images, labels[rows], [numbers[row] for row in rows.tolist()])
                result[rows, :, : size[0], : size[1]] = found.to(result.dtype)
        return result

    def _clean(self, predict: Predict, inputs: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Return the labels and which images the model gets right, both (N,)."""
        logits = predict(inputs)
        if logits.ndim != 2:
            raise InputError(
                f'{type(self).__name__} attacks classifiers, whose logits are (N, K); got {tuple(logits.shape)}. '
                'For a segmentor use an attack with a dense objective, PGD for instance.'
            )
        if target.is_floating_point():
            check_shapes(logits, target)
            target = target.argmax(1)
        ignored = (target == IGNORED_LABEL) & (logits.shape[1] <= IGNORED_LABEL)
        labels = target.masked_fill(ignored, 0)
        check_shapes(logits, torch.where(labels == IGNORED_LABEL, 0, labels))  # it takes 255 for ignored
        check_finite(logits)
        return labels, (logits.argmax(1) == labels) & ~ignored

    @abstractmethod
    def search(self, view: View, images: Tensor, labels: Tensor, indices: Sequence[int]) -> Tensor:
        """Return adversarial images for images that the model classifies correctly; gradients are off around it.

        Args:
            view: maps pixels of the shape of ``images`` to logits (N, K).
            images: pixels (N, C, H, W).
            labels: classes (N,).
            indices: the number of each image in its data set.
        """

    def check_images(self, inputs: Tensor) -> None:
        """Refuse images that the parameters do not fit."""

    def moves_nothing(self) -> bool:
        """Return whether the parameters leave every image as it is."""
        return False


@contextmanager
def isolated_randomness(device: torch.device) -> Iterator[None]:
    """Put every global random state back that the block moves: torch's, NumPy's and Python's."""
    numpy_state, python_state = np.random.get_state(), random.getstate()
    try:
        with torch.random.fork_rng(devices=[device] if device.type == 'cuda' else []):
            yield
    finally:
        np.random.set_state(numpy_state)
        random.setstate(python_state)


def margins(logits: Tensor, labels: Tensor) -> Tensor:
    """Return by how much the label's logit exceeds the largest other one, shape (N,)."""
    own = logits.gather(1, labels[:, None])
    others = logits.masked_fill(torch.nn.functional.one_hot(labels, logits.shape[1]).bool(), -torch.inf)
    return own[:, 0] - others.amax(1)
