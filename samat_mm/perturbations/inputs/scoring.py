"""What images are worth in a search: by what they rank, and along which gradient their loss rises."""

import copy
from collections.abc import Callable
from typing import Self

import torch
from torch import Tensor
from torch.nn import functional as F

from samat_mm.perturbations.inputs.finite import FiniteWatch
from samat_mm.perturbations.inputs.objectives import IGNORED_LABEL, Objective, has_class_255, wrong_share
from samat_mm.perturbations.inputs.problem import Problem, Remaining, one_row_each, restricted

# From the losses, the output and the target to (N, keys), see Objective.rank.
Rank = Callable[[Tensor, Tensor, Tensor | None], Tensor]


class Scoring:
    """Asks the model about all images of a batch at every step. Images without a label are not ranked.

    Args:
        problem: the images and the model.
        objective: the loss.
        rank: by what images are compared.
    """

    def __init__(self, problem: Problem, objective: Objective, rank: Rank) -> None:
        self.problem, self.objective, self.rank = problem, objective, rank
        self._watch = FiniteWatch()

    @property
    def done(self) -> bool:
        """Whether there is no image left to ask about."""
        return False

    def leave_out_wrong(self, images: Tensor) -> None:
        """Ask no more about original images that the model gets wrong, if this is the goal."""

    def without_end(self) -> 'Scoring':
        """Return the same for images that may lie outside the ball, on which an error does not count."""
        return self

    def is_early(self, step: int, steps: int) -> bool:
        """Whether this step asks a predict that is not the one that counts; see :meth:`Problem.at`."""
        return self.problem.at(step, steps) is not self.problem

    def check(self) -> None:
        """Refuse what has been found so far if a loss or a gradient on the way was not finite.

        Raises:
            FloatingPointError: if one was: no attack can be trusted on such a model.
        """
        self._watch.check()

    def value(self, images: Tensor, step: int, steps: int) -> Tensor:
        """Return by what each image ranks, shape (N, keys), or (1, keys) for the batch as one; NaN for none.

        The first key is 1, and 0 where the ranks of an early step come from another predict: they count for less.

        Args:
            images: shape (N, C, H, W).
            step: index of the step, from 0.
            steps: the number of steps.
        """
        with torch.no_grad():
            output = self._output(self.problem, images)
            loss = self.objective(output, self.problem.target, step, steps)
            self._watch.note(loss)
            return _led_by(1, self._judge(loss, output))

    def gradient(self, images: Tensor, step: int, steps: int) -> tuple[Tensor, Tensor]:
        """Return the same and the gradient of the loss, shape (N, C, H, W), 0 where it is not finite."""
        asked = self.problem.at(step, steps)
        images = images.detach().requires_grad_()
        output = self._output(asked, images)
        loss = self.objective(output, self.problem.target, step, steps)
        (grad,) = torch.autograd.grad(loss.sum(), images)
        self._watch.note(loss, grad)
        grad = grad.nan_to_num(0, 0, 0)  # or the model would be asked about NaN images until the check
        return _led_by(int(asked is self.problem), self._judge(loss.detach(), output.detach())), grad

    def _output(self, problem: Problem, images: Tensor) -> Tensor:
        return problem.output(images)

    def _judge(self, loss: Tensor, output: Tensor) -> Tensor:
        rank = self.rank(loss, output, self.problem.target)
        unlabelled = self._unlabelled(output)
        return rank if unlabelled is None else rank.masked_fill(unlabelled[:, None], torch.nan)

    def _unlabelled(self, output: Tensor) -> Tensor | None:
        """Return which images have no label, shape (N,)."""
        target = self.problem.target
        if target is None or target.is_floating_point() or has_class_255(output):
            return None
        return (target == IGNORED_LABEL).reshape(len(target), -1).all(1)


def _led_by(key: int, rank: Tensor) -> Tensor:
    return F.pad(rank, (1, 0), value=key)


class ErrorScoring(Scoring):
    """Asks about the images of a classifier until it errs on them, which ranks above any loss.

    What it returns is of the size of the batch; for images that are done the rank is NaN and the gradient 0. Which are
    done the host must know, so that every step waits for the device once.

    Args: as for :class:`Scoring`; the target is labels (N,) or class probabilities (N, K).
    """

    def __init__(self, problem: Problem, objective: Objective, rank: Rank) -> None:
        super().__init__(problem, objective, rank)
        self._left, self._count, self._ends = Remaining(problem), len(problem.images), True

    @property
    def done(self) -> bool:
        """Whether the model errs on every image."""
        return not len(self._left)

    def leave_out_wrong(self, images: Tensor) -> None:
        """Ask no more about original images that the model gets wrong."""
        self.value(images, 0, 1)

    def without_end(self) -> Self:
        """Return the same for images that may lie outside the ball; it asks about those that are not done now."""
        other = copy.copy(self)
        other._ends = False
        return other

    def value(self, images: Tensor, step: int, steps: int) -> Tensor:
        """Return by what each image ranks; see :meth:`Scoring.value`."""
        rows = self._left.rows
        rank = super().value(self._asked(images), step, steps)
        self._leave_out(rank)
        return self._spread(rank, rows, torch.nan)

    def gradient(self, images: Tensor, step: int, steps: int) -> tuple[Tensor, Tensor]:
        """Return the same and the gradient of the loss; see :meth:`Scoring.gradient`.

        An error of an early predict counts once the one that counts makes it, too.
        """
        rows, images = self._left.rows, self._asked(images)
        rank, grad = super().gradient(images, step, steps)
        if self.is_early(step, steps):
            self._confirm(rank, images, step, steps)
        self._leave_out(rank)
        return self._spread(rank, rows, torch.nan), self._spread(grad, rows, 0.0)

    def _output(self, problem: Problem, images: Tensor) -> Tensor:
        logits = problem.output(images)
        self._watch.note(logits)
        return one_row_each(logits, images)

    def _judge(self, loss: Tensor, output: Tensor) -> Tensor:
        assert self.problem.target is not None  # the goal needs one
        rank, wrong = super()._judge(loss, output), wrong_share(output, self.problem.target)
        return torch.cat([wrong[:, None], rank.to(wrong)], dim=1)

    def _confirm(self, rank: Tensor, images: Tensor, step: int, steps: int) -> None:
        """Put the exact ranks where the early ones show an error."""
        rows = _done(rank).nonzero().flatten()
        if len(rows):
            part = copy.copy(self)
            part.problem, part.objective = self.problem.subset(rows), restricted(self.objective, rows)
            rank[rows] = Scoring.value(part, images[rows], step, steps)

    def _leave_out(self, rank: Tensor) -> None:
        kept = self._left.drop(_done(rank)) if self._ends else None
        if kept is not None:
            self.problem, self.objective = self._left.problem, restricted(self.objective, kept)

    def _asked(self, images: Tensor) -> Tensor:
        return images if len(self._left) == self._count else images[self._left.rows]

    def _spread(self, values: Tensor, rows: Tensor, elsewhere: float) -> Tensor:
        if len(rows) == self._count:
            return values
        return values.new_full((self._count, *values.shape[1:]), elsewhere).index_copy_(0, rows, values)


def _done(rank: Tensor) -> Tensor:
    """Return which images have no label, or one that the model no longer gives them, shape (N,)."""
    return (rank[:, 1] != 0) | rank.isnan().any(1)


GOALS: dict[str, type[Scoring]] = {'loss': Scoring, 'error': ErrorScoring}


def scoring_type(goal: str, objective: Objective, target: Tensor | None) -> type[Scoring]:
    """Return what scores for this goal. One label per image, or the most probable one, shows an error of logits."""
    one_label = target is not None and (target.ndim == 1 or target.is_floating_point())
    return GOALS[goal] if one_label and objective.output == 'logits' else Scoring
