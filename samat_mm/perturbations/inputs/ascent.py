"""Projected ascent: the one loop behind every gradient attack, which differ in their objective and their steps."""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from samat_mm.perturbations.checks import one_of, whole_number
from samat_mm.perturbations.inputs.base import Attack
from samat_mm.perturbations.inputs.best import BestIterate
from samat_mm.perturbations.inputs.objectives import Objective, objective_named
from samat_mm.perturbations.inputs.problem import Problem
from samat_mm.perturbations.inputs.scoring import GOALS, Rank, Scoring
from samat_mm.perturbations.norms.base import StepRule
from samat_mm.perturbations.norms.region import Region

Plan = Sequence[tuple[float, int]]  # the radius of each stage, in units of eps, and its share of the steps in tenths
Start = Callable[[Region, Sequence[int], int], Tensor]  # from the region, the numbers of the images and the restart


class ProjectedAscent(Attack):
    """Ascent along the steepest direction within a region, by steps that a subclass chooses.

    Of all iterates, the start among them, the one that the objective ranks highest is returned, image by image.
    Images without any label are returned as they are. A subclass is a dataclass with the fields below, see ``PGD``.
    """

    norm: str
    steps: int
    random_start: bool
    restarts: int
    goal: str

    def __post_init__(self) -> None:
        self._settle_ball()
        whole_number(self.steps, 'steps')
        whole_number(self.restarts, 'restarts')
        self._settle(objective=objective_named(self.objective))
        one_of(self.goal, GOALS, 'goal')

    @abstractmethod
    def step_rule(self, region: Region, steps: int) -> StepRule:
        """Return the steps of one run, which may remember earlier ones."""

    def rank_of(self, objective: Objective) -> Rank:
        """Return the comparison of iterates while this objective is driven up."""
        return objective.rank

    @property
    def plan(self) -> Plan:
        """The stages of a run."""
        return ((1.0, 10),)

    def search(
        self, problem: Problem, *, objective: Objective | None = None, start: Start | None = None
    ) -> BestIterate:
        """Return adversarial images with their ranks, none where ``eps`` is 0.

        Args:
            problem: the model and the images.
            objective: objective of this run, by default the attack's.
            start: first images of this run, by default :meth:`start`.

        Raises:
            ValueError: if images lie outside the box or do not fit the target.
        """
        objective = objective or self.objective
        region = Region(problem.images, self.ball, self.eps, problem.sizes, problem.box)
        if problem.box is not None:
            self.ball.check_radius(self.eps, problem.images.shape[1:])
        best = BestIterate(problem.images.clone())
        if self.eps == 0 or not len(problem.images):
            return best
        scoring = Scoring(problem, objective, self.rank_of(objective), self.goal)
        with (
            torch.random.fork_rng(devices=[problem.images.device] if problem.images.is_cuda else []),
            torch.enable_grad(),
        ):
            if self.random_start and scoring.drops:  # otherwise the first iterates are the images themselves
                scoring.value(problem.images, 0, 1)
            widest = region.scaled(max(factor for factor, _ in self.plan))
            for restart in range(self.restarts):
                self.run(scoring, region, (start or self.start)(widest, problem.numbers, restart), best)
            scoring.watch.check()
        return best

    def start(self, region: Region, numbers: Sequence[int], restart: int) -> Tensor:
        """Return the first images."""
        return region.random_images(self.seed, numbers, restart) if self.random_start else region.inputs.clone()

    def run(self, scoring: Scoring, region: Region, start: Tensor, best: BestIterate) -> None:
        """Make one run from one start, and offer its iterates: those within the radius.

        Each stage starts from the projection of the best image of the stage before.
        """
        *wider, (last, steps) = stages(self.plan, self.steps)
        for factor, count in wider:
            stage, found = region.scaled(factor), BestIterate(start)
            self.ascend(scoring.without_end(), stage, stage.project(start), count, found)
            start = found.images
        region = region.scaled(last)
        found = BestIterate(start)
        self.ascend(scoring, region, region.project(start) if wider else start, steps, found if wider else best)
        best.take(found)

    def ascend(self, scoring: Scoring, region: Region, start: Tensor, steps: int, best: BestIterate) -> None:
        """Take this number of steps from feasible images, and offer every iterate, the last one too."""
        move, images = self.step_rule(region, steps), start
        for step in range(steps):
            if step and not scoring.done and scoring.is_early(step - 1, steps) and not scoring.is_early(step, steps):
                best.offer(scoring.value(best.images, step, steps), best.images)  # their ranks on the exact model
            if scoring.done:
                return
            rank, grad = scoring.gradient(images, step, steps)
            best.offer(rank, images)
            images = move(images, grad, rank[:, -1])
        if not scoring.done:
            best.offer(scoring.value(images, steps - 1, steps), images)

    def describe(self) -> dict[str, Any]:
        """Return the type and the parameters for reports; the goal where it is not the usual one."""
        return {key: value for key, value in super().describe().items() if (key, value) != ('goal', 'loss')}


def stages(plan: Plan, steps: int) -> list[tuple[float, int]]:
    """Return the radius, in units of eps, and the steps of each stage; a stage without steps is left out."""
    counts = [steps * tenths // 10 for _, tenths in plan[:-1]]
    counts.append(steps - sum(counts))
    return [(factor, count) for (factor, _), count in zip(plan, counts, strict=True) if count]
