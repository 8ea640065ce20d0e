"""AutoAttack: an ensemble of four attacks, each on the images that resisted those before."""

from collections.abc import Callable
from dataclasses import dataclass, field

from torch import Tensor

from samat_mm.errors import InputError
from samat_mm.perturbations.checks import whole_number
from samat_mm.perturbations.inputs.apgd import APGD
from samat_mm.perturbations.inputs.classification import ClassificationAttack, ranked_rivals
from samat_mm.perturbations.inputs.fab import FAB
from samat_mm.perturbations.inputs.objectives import Objective, objective_named
from samat_mm.perturbations.inputs.problem import Problem, Remaining
from samat_mm.perturbations.inputs.square import Square
from samat_mm.perturbations.units import Radius

TARGETS = 9  # of FAB
STAGES = ('apgd-ce', 'apgd-t', 'fab-t', 'square')
Find = Callable[[Problem], Tensor]  # from the images that are left to what is found for them


@dataclass(frozen=True, repr=False)
class AutoAttack(ClassificationAttack):
    """The standard version: APGD on cross-entropy, targeted APGD, targeted FAB and Square.

    As in the authors' package: one restart each, 100 steps, the 9 most probable other classes as targets (all of them
    where there are fewer), 5000 queries with the schedule of 10,000, and only images that resist go on. An image that
    resists all four is returned as it was.

    The targeted loss of APGD (DLR) needs four classes. With three its untargeted form takes its place, and with two
    that stage is left out; the authors refuse such models. In l2, Square treats channels as in the code of its own
    authors, see there.

    In l1, as in the authors' package: five restarts of APGD on cross-entropy, five targets of the targeted one, and the
    stages of l1-APGD (see there); FAB takes the shortest way in l1, Square moves length between windows.

    Source: Croce & Hein, Reliable evaluation of adversarial robustness with an ensemble of diverse parameter-free
    attacks, ICML 2020; github.com/fra31/auto-attack, version 'standard'.

    Args:
        norm: 'linf', 'l2' or 'l1'.
        eps: radius in [0, 1] pixel units; a number or a string such as '8/255'.
        steps: of APGD and FAB.
        queries: of Square.
        seed: of the random starts and squares.

    Raises:
        ValueError: if a parameter is out of its range.
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
        _run(result, left, _search(apgd.replace(restarts=self.ball.restarts)))
        _run_targeted(result, left, apgd, self.ball.targets)
        _run(result, left, fab.find)
        _run(result, left, square.find)
        return result


def _search(apgd: APGD, objective: Objective | None = None) -> Find:
    return lambda problem: apgd.search(problem, objective=objective).images


def _run(result: Tensor, left: Remaining, find: Find) -> Tensor | None:
    """Put what is found for the images that are left in the result where the model errs, and drop these.

    Returns which of them go on; None if all do.
    """
    if not len(left):
        return None
    found = find(left.problem)
    wrong = left.problem.logits(found).argmax(1) != left.problem.labels
    result[left.rows[wrong]] = found[wrong]
    return left.drop(wrong)


def _run_targeted(result: Tensor, left: Remaining, apgd: APGD, count: int) -> None:
    """Run APGD towards the most probable other classes, one after the other, if there are enough classes for it."""
    if not len(left):
        return
    rivals = ranked_rivals(left.problem, count)
    if rivals.shape[1] == 2:
        _run(result, left, _search(apgd, objective_named('dlr')))
    if rivals.shape[1] <= 2:
        return
    for rank in range(rivals.shape[1]):
        kept = _run(result, left, _search(apgd, TargetedDLR(rivals[:, rank])))
        rivals = rivals if kept is None else rivals[kept]


class TargetedDLR(Objective):
    """How far the label's logit lies below that of one other class, in units of the spread of the four largest.

    Source: Croce & Hein 2020, section 4.2.

    Args:
        aims: the other class of each image, shape (N,).
    """

    name = 'targeted-dlr'
    output = 'logits'

    def __init__(self, aims: Tensor) -> None:
        self.aims = aims

    def subset(self, rows: Tensor) -> 'TargetedDLR':
        """Return the same for some images of the batch (indices, shape (n,))."""
        return TargetedDLR(self.aims[rows])

    def __call__(self, output: Tensor, target: Tensor | None, step: int, steps: int) -> Tensor:
        """Return the ratio per image, shape (N,), for logits (N, K) of at least 4 classes and labels (N,)."""
        if target is None:
            raise InputError(f'{self.name} needs a target; got none.')
        largest = output.topk(4, dim=1).values
        lead = (output.gather(1, self.aims[:, None]) - output.gather(1, target[:, None])).squeeze(1)
        return lead / (largest[:, 0] - largest[:, 2:].mean(1) + 1e-12)
