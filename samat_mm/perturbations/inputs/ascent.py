"""Projected ascent: the one loop behind every gradient attack, which differ in their objective and their steps."""

from abc import abstractmethod
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from samat_mm.perturbations.ball import norm_ball
from samat_mm.perturbations.checks import one_of, whole_number
from samat_mm.perturbations.inputs.base import Attack, Predict
from samat_mm.perturbations.inputs.best import BestIterate
from samat_mm.perturbations.inputs.objectives import Objective, objective_named
from samat_mm.perturbations.inputs.oracle import GOALS, Oracle, oracle_type
from samat_mm.perturbations.inputs.region import Region
from samat_mm.perturbations.units import parse_radius

# From the images, their gradient and the loss that step sizes follow to the next images.
StepRule = Callable[[Tensor, Tensor, Tensor], Tensor]


class ProjectedAscent(Attack):
    """Ascent along the steepest direction within a region, by steps that a subclass chooses.

    Of all iterates, the start among them, the one that the objective ranks highest is returned, image by image.

    Images without any label are returned as they are.

    Args:
        norm: 'linf' or 'l2'.
        eps: radius in [0, 1] pixel units; a number or a string such as '8/255'.
        steps: number of gradient steps.
        random_start: start anywhere in the ball rather than at the image.
        restarts: number of random starts; the best result counts.
        objective: the name of what is driven up, see ``OBJECTIVES``.
        goal: 'loss' for the highest loss. 'error' for a wrong prediction, as an evaluation of accuracy needs: an image
            of a classifier on which the model errs, before the attack or at an iterate, is returned so and not asked
            about again. Of class probabilities, the largest is the label. Without effect on label maps.
        seed: of the random starts.

    Raises:
        ValueError: if a parameter is out of its range.
    """

    def __init__(
        self,
        norm: str,
        eps: float | str,
        steps: int,
        random_start: bool = True,
        restarts: int = 1,
        objective: str | Objective = 'cross-entropy',
        goal: str = 'loss',
        seed: int = 0,
    ) -> None:
        self.ball = norm_ball(norm)
        self.eps = parse_radius(eps, 'eps')
        if norm == 'linf':
            self.ball.check_radius(self.eps, ())
        self.steps = whole_number(steps, 'steps')
        self.random_start = random_start
        self.restarts = whole_number(restarts, 'restarts')
        self.objective = objective_named(objective)
        self.goal = one_of(goal, list(GOALS), 'goal')
        self.seed = seed

    @abstractmethod
    def step_rule(self, region: Region, steps: int) -> StepRule:
        """Return what makes the steps of one run; it may remember what it has seen."""

    def rank(self, loss: Tensor, output: Tensor, target: Tensor | None) -> Tensor:
        """Return by what iterates are compared, shape (N, keys); see :meth:`Objective.rank`."""
        return self.objective.rank(loss, output, target)

    def __call__(
        self,
        predict: Predict,
        inputs: Tensor,
        target: Tensor | None,
        *,
        indices: Sequence[int] | None = None,
        sizes: Sequence[tuple[int, int]] | None = None,
    ) -> Tensor:
        """Return adversarial images; see :meth:`Attack.__call__`."""
        return self.search(predict, inputs, target, indices=indices, sizes=sizes).images

    def search(
        self,
        predict: Predict,
        inputs: Tensor,
        target: Tensor | None,
        *,
        indices: Sequence[int] | None = None,
        sizes: Sequence[tuple[int, int]] | None = None,
    ) -> BestIterate:
        """Return adversarial images with their ranks, none where ``eps`` is 0; see :meth:`Attack.__call__`."""
        inputs = inputs.detach()
        region = Region(inputs, self.ball, self.eps, sizes)
        self.ball.check_radius(self.eps, inputs.shape[1:])
        best = BestIterate(inputs.clone())
        if self.eps == 0 or not len(inputs):
            return best
        indices = range(len(inputs)) if indices is None else indices
        oracle = oracle_type(self.goal, self.objective, target)(self.objective, self.rank, predict, target, inputs)
        with torch.random.fork_rng(devices=[inputs.device] if inputs.is_cuda else []), torch.enable_grad():
            if self.random_start:  # otherwise the first iterates are the images themselves
                oracle.leave_out_wrong(inputs)
            for restart in range(self.restarts):
                self.run(oracle, region, indices, restart, best)
            oracle.check()
        return best

    def run(self, oracle: Oracle, region: Region, indices: Sequence[int], restart: int, best: BestIterate) -> None:
        """Make one run from one start, and offer its iterates."""
        self.climb(oracle, region, self.start(region, indices, restart), self.steps, best)

    def start(self, region: Region, indices: Sequence[int], restart: int) -> Tensor:
        """Return the first images."""
        return region.random_images(self.seed, indices, restart) if self.random_start else region.inputs.clone()

    def climb(self, oracle: Oracle, region: Region, start: Tensor, steps: int, best: BestIterate) -> None:
        """Take so many steps from feasible images, and offer every iterate, the last one too.

        Args:
            oracle: what the model is asked through.
            region: where the iterates stay.
            start: the first images.
            steps: number of gradient steps.
            best: what keeps the best iterates.
        """
        move, images = self.step_rule(region, steps), start
        for step in range(steps):
            if oracle.done:
                return
            if step and oracle.is_early(step - 1, steps) and not oracle.is_early(step, steps):
                best.offer(oracle.value(best.images, step, steps), best.images)  # what they are worth on the model
            rank, grad = oracle.gradient(images, step, steps)
            best.offer(rank, images)
            images = move(images, grad, rank[:, -1])
        if not oracle.done:
            best.offer(oracle.value(images, steps - 1, steps), images)

    def describe(self) -> dict[str, str | float | int | bool]:
        """Return the parameters for reports, in plain types."""
        return {
            'type': type(self).__name__,
            'norm': self.ball.name,
            'eps': self.eps,
            'steps': self.steps,
            'random_start': self.random_start,
            'restarts': self.restarts,
            'objective': self.objective.name,
            **({} if self.goal == 'loss' else {'goal': self.goal}),
            'seed': self.seed,
        }
