"""The worth of images in a search: by which keys they rank, and along which gradient their loss rises."""

import copy
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from samat_mm.perturbations.device import row_indices, true_rows
from samat_mm.perturbations.inputs.finite import FiniteWatch
from samat_mm.perturbations.inputs.objectives import IGNORED_LABEL, Objective, Target, has_class_255, wrong_share
from samat_mm.perturbations.inputs.problem import Problem, Remaining, one_row_each, restricted

# From the losses, the output and the target to (N, keys), see Objective.rank.
Rank = Callable[[Tensor, Tensor, Target], Tensor]

GOALS = ('loss', 'error')


def errors_first(objective: Objective) -> Rank:
    """Return a rank by the share of wrong labels, then by the objective: a higher loss need not change a prediction."""

    def rank(loss: Tensor, output: Tensor, target: Target) -> Tensor:
        keys = objective.rank(loss, output, target)
        if objective.output != 'logits' or target is None:
            return keys
        wrong = wrong_share(output, target)
        return torch.cat([wrong[:, None], keys.to(wrong)], dim=1)

    return rank


class Scoring:
    """Asks the model about the images of a batch at every step. Images without a label are not ranked.

    With the goal 'error', an image of a classifier is asked about until the model errs on it, which ranks above any
    loss. Results have the size of the batch; for an image that is done the rank is NaN and the gradient 0. The host has
    to know which images are done, so every step waits for the device once. One label per image, or the most probable
    one, shows an error; where there is none the goal is without effect.

    Args:
        problem: the images and the model.
        objective: the loss.
        rank: compares images.
        goal: one of ``GOALS``.
    """

    def __init__(self, problem: Problem, objective: Objective, rank: Rank, goal: str = 'loss') -> None:
        target = problem.target
        one_label = target is not None and (target.ndim == 1 or target.is_floating_point())
        self.finds_errors = goal == 'error' and one_label and objective.output == 'logits'
        self.drops = self.finds_errors
        self.objective, self.rank = objective, errors_first(objective) if self.finds_errors else rank
        self.left, self.count = Remaining(problem), len(problem.images)
        self.watch = FiniteWatch()

    @property
    def done(self) -> bool:
        """Whether every image is done."""
        return not len(self.left)

    def without_end(self) -> 'Scoring':
        """Return the same for images that may lie outside the ball, on which an error does not count."""
        other = copy.copy(self)
        other.drops = False
        return other

    def is_early(self, step: int, steps: int) -> bool:
        """Tell whether this step asks another predict than the exact one; see :meth:`Problem.at`."""
        return self.left.problem.at(step, steps) is not self.left.problem

    def value(self, images: Tensor, step: int, steps: int) -> Tensor:
        """Return the ranks of images, shape (N, keys), or (1, keys) for the batch as one; NaN for none.

        The first key is 1, and 0 for an early step that asks another predict: its ranks count for less.

        Args:
            images: shape (N, C, H, W).
            step: index of the step, from 0.
            steps: the number of steps.
        """
        rows = self.left.rows
        rank = self._exact(self.left.problem, self.objective, self._asked(images), step, steps)
        self._drop(rank)
        return self._spread(rank, rows, torch.nan)

    def gradient(self, images: Tensor, step: int, steps: int) -> tuple[Tensor, Tensor]:
        """Return the same and the gradient of the loss, shape (N, C, H, W), 0 where it is not finite."""
        rows, images, problem = self.left.rows, self._asked(images), self.left.problem.at(step, steps)
        pixels, early = images.detach().requires_grad_(), problem is not self.left.problem
        loss, output = self._ask(problem, self.objective, pixels, step, steps)
        (grad,) = torch.autograd.grad(loss.sum(), pixels)
        self.watch.note(loss, grad)
        grad = grad.nan_to_num(0, 0, 0)  # or the model would be asked about NaN images until the check
        rank = self._ranks(problem, loss, output, exact=not early)
        if early and self.finds_errors:
            self._confirm(rank, images, step, steps)
        self._drop(rank)
        return self._spread(rank, rows, torch.nan), self._spread(grad, rows, 0.0)

    def _ask(
        self, problem: Problem, objective: Objective, images: Tensor, step: int, steps: int
    ) -> tuple[Tensor, Tensor]:
        """Return the losses and the output."""
        output = problem.output(images)
        if self.finds_errors:
            self.watch.note(output)
            one_row_each(output, images)
        return objective(output, problem.target, step, steps), output

    def _ranks(self, problem: Problem, loss: Tensor, output: Tensor, *, exact: bool) -> Tensor:
        output, target = output.detach(), problem.target
        rank = self.rank(loss.detach(), output, target)
        if target is not None and not target.is_floating_point() and not has_class_255(output):
            unlabelled = (target == IGNORED_LABEL).reshape(len(target), -1).all(1)
            rank = rank.masked_fill(unlabelled[:, None], torch.nan)
        return F.pad(rank, (1, 0), value=int(exact))

    def _exact(self, problem: Problem, objective: Objective, images: Tensor, step: int, steps: int) -> Tensor:
        with torch.no_grad():
            loss, output = self._ask(problem, objective, images, step, steps)
            self.watch.note(loss)
            return self._ranks(problem, loss, output, exact=True)

    def _confirm(self, rank: Tensor, images: Tensor, step: int, steps: int) -> None:
        """Put the exact ranks where an early predict shows an error: it counts once the exact one makes it too."""
        rows = true_rows(_is_done(rank))
        if rows:
            there, problem = row_indices(rows, rank), self.left.problem.subset(rows)
            rank[there] = self._exact(problem, restricted(self.objective, there), images[there], step, steps)

    def _drop(self, rank: Tensor) -> None:
        kept = self.left.drop(_is_done(rank)) if self.drops else None
        if kept is not None:
            self.objective = restricted(self.objective, kept)

    def _asked(self, images: Tensor) -> Tensor:
        return images if len(self.left) == self.count else images[self.left.rows]

    def _spread(self, values: Tensor, rows: Tensor, elsewhere: float) -> Tensor:
        if len(rows) == self.count:
            return values
        return values.new_full((self.count, *values.shape[1:]), elsewhere).index_copy_(0, rows, values)


def _is_done(rank: Tensor) -> Tensor:
    """Return which images have no label, or one that the model no longer gives them, shape (N,)."""
    return (rank[:, 1] != 0) | rank.isnan().any(1)
