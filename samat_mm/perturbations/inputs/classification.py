"""Attacks on classifiers: which images they search, and the ball, which some of them need not have."""

from abc import abstractmethod
from dataclasses import replace

import torch
from torch import Tensor

from samat_mm.errors import InputError
from samat_mm.perturbations.device import row_indices
from samat_mm.perturbations.inputs.base import Attack
from samat_mm.perturbations.inputs.best import BestIterate
from samat_mm.perturbations.inputs.finite import check_finite
from samat_mm.perturbations.inputs.objectives import IGNORED_LABEL, CrossEntropy, check_shapes
from samat_mm.perturbations.inputs.problem import Problem
from samat_mm.perturbations.norms.region import PIXELS, check_pixels
from samat_mm.perturbations.randomness import isolated_randomness


class ClassificationAttack(Attack):
    """An attack whose aim is another class, so that an image is done once the model errs on it.

    Images that the model gets wrong already are returned as they are, and so are those without a label (255, where
    the model has no such class). Labels as class probabilities (N, K) count as their most probable class.

    A subclass gives :meth:`find`, which sees images of one size that the model classifies correctly. Its random numbers
    for image i have to come from (seed, i) alone.
    """

    objective = CrossEntropy()

    def __post_init__(self) -> None:
        self._settle_ball()

    def search(self, problem: Problem) -> BestIterate:
        """Return adversarial images, without ranks.

        Raises:
            ValueError: if the model is a segmentor, or inputs, target and logits do not fit.
            FloatingPointError: if a logit is not finite.
        """
        name, inputs = type(self).__name__, problem.images
        if problem.box != PIXELS:
            raise InputError(f'{name} attacks pixels in [0, 1]; got inputs with the box {problem.box}.')
        check_pixels(inputs)
        if self.eps is not None:
            self.ball.check_radius(self.eps, inputs.shape[1:])
        if problem.target is None:
            raise InputError(f'{name} needs a target, the labels (N,); got none.')
        result = inputs.clone()
        if self.moves_nothing() or not len(inputs):
            return BestIterate(result)
        whole = (inputs.shape[2], inputs.shape[3])
        sizes = [(int(height), int(width)) for height, width in problem.sizes or [whole] * len(inputs)]
        with isolated_randomness(inputs.device), torch.no_grad():
            labels, correct = self._clean(problem)
            problem, searched = replace(problem, target=labels), correct.tolist()
            for size in sorted(set(sizes)):
                rows = [row for row, own in enumerate(sizes) if own == size and searched[row]]
                if rows:
                    found = self.find(problem.subset(rows).cropped(size))
                    result[row_indices(rows, result), :, : size[0], : size[1]] = found.to(result.dtype)
        return BestIterate(result)

    def _clean(self, problem: Problem) -> tuple[Tensor, Tensor]:
        """Return the labels and which images the model gets right, both (N,)."""
        logits, target = problem.output(problem.images), problem.target
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
    def find(self, problem: Problem) -> Tensor:
        """Return adversarial images for images that the model classifies correctly; gradients are off around it.

        Args:
            problem: pixels of one size without padding, and their classes (N,).
        """

    @property
    def stops_at_errors(self) -> bool:
        """Whether an image is done once the model errs on it: always."""
        return True

    def moves_nothing(self) -> bool:
        """Return whether the parameters leave every image as it is."""
        return self.eps == 0


class OptionallyBoundedAttack(ClassificationAttack):
    """An attack that is published without a norm ball, and may be given one.

    With a radius, the images that it tries are projected onto the ball before they are scored. ``norm`` is 'linf' where
    only ``eps`` is given; without either, nothing is bounded.
    """

    def __post_init__(self) -> None:
        if self.norm is not None and self.eps is None:
            raise InputError(
                f'norm={self.norm!r} needs a radius; give eps too, or neither for an attack without a bound.'
            )
        if self.eps is not None:
            self._settle(norm=self.norm or 'linf')
            self._settle_ball()

    def within(self, candidates: Tensor, images: Tensor) -> Tensor:
        """Return the candidates projected onto the ball around their images, and as they are if there is none."""
        return candidates if self.eps is None else self.ball.feasible(candidates, images, self.eps, PIXELS)


def margins_and_errors(problem: Problem, images: Tensor) -> tuple[Tensor, Tensor]:
    """Return the margins of changed images and whether the model errs on them, both (N,)."""
    logits = problem.logits(images)
    return margins(logits, problem.target), logits.argmax(1) != problem.target


def margins(logits: Tensor, labels: Tensor) -> Tensor:
    """Return by how much the label's logit exceeds the largest other one, shape (N,)."""
    own = logits.gather(1, labels[:, None])
    others = logits.masked_fill(torch.nn.functional.one_hot(labels, logits.shape[1]).bool(), -torch.inf)
    return own[:, 0] - others.amax(1)


def ranked_rivals(problem: Problem) -> Tensor:
    """Return the other classes of each image, the most probable first, shape (N, K - 1)."""
    order = problem.logits(problem.images).argsort(dim=1, descending=True, stable=True)
    return order[order != problem.target[:, None]].reshape(len(order), -1)
