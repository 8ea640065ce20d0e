"""AutoAttack: an ensemble of four attacks, each on the images that resisted those before."""

from collections.abc import Callable
from dataclasses import dataclass, field

from torch import Tensor

from samat_mm.perturbations.checks import whole_number
from samat_mm.perturbations.inputs.apgd import APGD
from samat_mm.perturbations.inputs.classification import ClassificationAttack, ranked_rivals
from samat_mm.perturbations.inputs.fab import FAB
from samat_mm.perturbations.inputs.objectives import Objective, TargetedDLR, objective_named
from samat_mm.perturbations.inputs.problem import Problem, Remaining
from samat_mm.perturbations.inputs.square import Square
from samat_mm.perturbations.units import Radius

TARGETS = 9  # of FAB
STAGES = ('apgd-ce', 'apgd-t', 'fab-t', 'square')
Find = Callable[[Problem], Tensor]  # from the images that are left to adversarial ones


@dataclass(frozen=True, repr=False)
class AutoAttack(ClassificationAttack):
    """The standard version: APGD on cross-entropy, targeted APGD, targeted FAB and Square.

    As in the authors' package: one restart each, 100 steps, the 9 most probable other classes as targets (all of them
    where there are fewer), 5000 queries with the schedule of 10,000, and only images that resist reach the next attack.
    An image that resists all four is returned as it was.

    The targeted loss of APGD (DLR) needs four classes. With three its untargeted form takes its place, and with two
    that stage is left out; the authors refuse such models. In l2, Square treats channels as in the code of Square's
    authors; see there.

    In l1, as in the authors' package: five restarts of APGD on cross-entropy, five targets of the targeted one, and the
    stages of l1-APGD (see there); FAB takes the shortest way in l1, and Square moves length between windows.

    Source: Croce & Hein, Reliable evaluation of adversarial robustness with an ensemble of diverse parameter-free
    attacks, ICML 2020; github.com/fra31/auto-attack, version 'standard'.

    Args:
        norm: 'linf', 'l2' or 'l1'.
        eps: radius in [0, 1] pixel units; a number or a string such as '8/255'.
        steps: number of steps of APGD and FAB.
        queries: number of queries of Square.
        seed: seed of the random starts and squares.
    """

    norm: str = 'linf'
    eps: Radius = '8/255'
    steps: int = 100
    queries: int = 5000
    seed: int = 0
    stages: str = field(init=False, default=', '.join(STAGES))

    def __post_init__(self) -> None:
        super().__post_init__()
        whole_number(self.steps, 'steps')
        whole_number(self.queries, 'queries')

    def find(self, problem: Problem) -> Tensor:
        """Return adversarial images where a stage finds one, and the images themselves elsewhere."""
        ball = dict(norm=self.norm, eps=self.eps, seed=self.seed)
        apgd = APGD(**ball, steps=self.steps, goal='error')
        fab = FAB(**ball, steps=self.steps, targets='ranked', classes=TARGETS)
        square = Square(**ball, queries=self.queries, schedule='fixed')
        result, left = problem.images.clone(), Remaining(problem)
        rivals = ranked_rivals(problem)
        _run(result, left, _search(apgd.replace(restarts=self.ball.restarts)))
        if rivals.shape[1] == 2:
            _run(result, left, _search(apgd, objective_named('dlr')))
        if rivals.shape[1] > 2:
            for rival in rivals[:, : self.ball.targets].unbind(1):
                _run(result, left, _search(apgd, TargetedDLR(rival[left.rows])))
        _run(result, left, fab.find)
        _run(result, left, square.find)
        return result


def _search(apgd: APGD, objective: Objective | None = None) -> Find:
    return lambda problem: apgd.search(problem, objective=objective).images


def _run(result: Tensor, left: Remaining, find: Find) -> None:
    """Put adversarial images in the result where the model errs, and drop these."""
    if len(left):
        found = find(left.problem)
        wrong = left.problem.logits(found).argmax(1) != left.problem.target
        result[left.rows[wrong]] = found[wrong]
        left.drop(wrong)
