"""What an ascent asks about images: by what they rank, and along which gradient their loss rises."""

import copy
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from samat_mm.perturbations.inputs.finite import FiniteWatch
from samat_mm.perturbations.inputs.objectives import IGNORED_LABEL, Objective, has_class_255, wrong_share
from samat_mm.perturbations.inputs.views import Predict, View, at_step, restricted

# From the losses, the output and the target to (N, keys), see Objective.rank.
Rank = Callable[[Tensor, Tensor, Tensor | None], Tensor]


class Oracle:
    """Asks about all images of a batch at every step. Images without a label are not ranked: nothing is above them.

    Args:
        objective: the loss.
        rank: by what images are compared.
        predict: maps pixels to what the objective takes.
        target: the labels.
        inputs: the original images, shape (N, C, H, W).
    """

    def __init__(
        self, objective: Objective, rank: Rank, predict: Predict, target: Tensor | None, inputs: Tensor
    ) -> None:
        self.objective, self.rank, self.predict, self.target = objective, rank, predict, target
        self._watch = FiniteWatch()

    @property
    def done(self) -> bool:
        """Whether there is no image left to ask about."""
        return False

    def leave_out_wrong(self, inputs: Tensor) -> None:
        """Ask no more about original images that the model gets wrong, if this is the goal."""

    def is_early(self, step: int, steps: int) -> bool:
        """Whether this step asks a predict that is not the one that counts; see :func:`at_step`."""
        return at_step(self.predict, step, steps) is not self.predict

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
            output = self.predict(images)
            loss = self.objective(output, self.target, step, steps)
            self._watch.note(loss)
            return _led_by(1, self._judge(loss, output))

    def gradient(self, images: Tensor, step: int, steps: int) -> tuple[Tensor, Tensor]:
        """Return the same and the gradient of the loss, shape (N, C, H, W), 0 where it is not finite."""
        predict = at_step(self.predict, step, steps)
        images = images.detach().requires_grad_()
        output = predict(images)
        loss = self.objective(output, self.target, step, steps)
        (grad,) = torch.autograd.grad(loss.sum(), images)
        self._watch.note(loss, grad)
        grad = grad.nan_to_num(0, 0, 0)  # or the model would be asked about NaN images until the check
        return _led_by(int(predict is self.predict), self._judge(loss.detach(), output.detach())), grad

    def _judge(self, loss: Tensor, output: Tensor) -> Tensor:
        rank = self.rank(loss, output, self.target)
        unlabelled = self._unlabelled(output)
        return rank if unlabelled is None else rank.masked_fill(unlabelled[:, None], torch.nan)

    def _unlabelled(self, output: Tensor) -> Tensor | None:
        """Return which images have no label, shape (N,)."""
        if self.target is None or self.target.is_floating_point() or has_class_255(output):
            return None
        return (self.target == IGNORED_LABEL).reshape(len(self.target), -1).all(1)


def _led_by(key: int, rank: Tensor) -> Tensor:
    return F.pad(rank, (1, 0), value=key)


class ErrorOracle(Oracle):
    """Asks about the images of a classifier until it errs on them, which ranks above any loss.

    What it returns is of the size of the batch; for images that are done the rank is NaN and the gradient 0. Which are
    done the host must know, so that every step waits for the device once.

    Args: as for :class:`Oracle`; ``target`` are labels (N,) or class probabilities (N, K).
    """

    target: Tensor

    def __init__(
        self, objective: Objective, rank: Rank, predict: Predict, target: Tensor | None, inputs: Tensor
    ) -> None:
        super().__init__(objective, rank, predict, target, inputs)
        self.predict = View(predict, inputs, (inputs.shape[2], inputs.shape[3]), self._watch.note)
        self.rows, self.count = torch.arange(len(inputs), device=inputs.device), len(inputs)

    @property
    def done(self) -> bool:
        """Whether the model errs on every image."""
        return not len(self.rows)

    def leave_out_wrong(self, inputs: Tensor) -> None:
        """Ask no more about original images that the model gets wrong."""
        self.value(inputs, 0, 1)

    def value(self, images: Tensor, step: int, steps: int) -> Tensor:
        """Return by what each image ranks; see :meth:`Oracle.value`."""
        rows = self.rows
        rank = super().value(self._asked(images), step, steps)
        self._keep(_right(rank))
        return self._spread(rank, rows, torch.nan)

    def gradient(self, images: Tensor, step: int, steps: int) -> tuple[Tensor, Tensor]:
        """Return the same and the gradient of the loss; see :meth:`Oracle.gradient`.

        An error of an early predict counts once the one that counts makes it, too.
        """
        rows, images = self.rows, self._asked(images)
        rank, grad = super().gradient(images, step, steps)
        if self.is_early(step, steps):
            self._confirm(rank, images, step, steps)
        self._keep(_right(rank))
        return self._spread(rank, rows, torch.nan), self._spread(grad, rows, 0.0)

    def _judge(self, loss: Tensor, output: Tensor) -> Tensor:
        rank, wrong = super()._judge(loss, output), wrong_share(output, self.target)
        return torch.cat([wrong[:, None], rank.to(wrong)], dim=1)

    def _confirm(self, rank: Tensor, images: Tensor, step: int, steps: int) -> None:
        """Put the exact ranks where the early ones show an error."""
        rows = (~_right(rank)).nonzero().flatten()
        if len(rows):
            part = copy.copy(self)
            part._restrict(rows)
            rank[rows] = Oracle.value(part, images[rows], step, steps)

    def _keep(self, right: Tensor) -> None:
        kept = right.nonzero().flatten()
        if len(kept) < len(right):
            self._restrict(kept)

    def _restrict(self, kept: Tensor) -> None:
        self.rows, self.target = self.rows[kept], self.target[kept]
        self.predict, self.objective = restricted(self.predict, kept), restricted(self.objective, kept)

    def _asked(self, images: Tensor) -> Tensor:
        return images if len(self.rows) == self.count else images[self.rows]

    def _spread(self, values: Tensor, rows: Tensor, elsewhere: float) -> Tensor:
        if len(rows) == self.count:
            return values
        return values.new_full((self.count, *values.shape[1:]), elsewhere).index_copy_(0, rows, values)


def _right(rank: Tensor) -> Tensor:
    """Return which images have a label that the model still gives them, shape (N,)."""
    return (rank[:, 1] == 0) & ~rank.isnan().any(1)


GOALS: dict[str, type[Oracle]] = {'loss': Oracle, 'error': ErrorOracle}


def oracle_type(goal: str, objective: Objective, target: Tensor | None) -> type[Oracle]:
    """Return what asks for this goal. One label per image, or the most probable one, shows an error of logits."""
    one_label = target is not None and (target.ndim == 1 or target.is_floating_point())
    return GOALS[goal] if one_label and objective.output == 'logits' else Oracle
