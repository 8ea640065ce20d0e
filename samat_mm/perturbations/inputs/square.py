"""Square attack: random search over square-shaped changes, without gradients."""

from bisect import bisect_left
from dataclasses import dataclass
from functools import partial

from torch import Tensor

from samat_mm.perturbations.checks import one_of, share, whole_number
from samat_mm.perturbations.inputs.classification import ClassificationAttack, margins_and_errors
from samat_mm.perturbations.inputs.problem import Problem, Remaining
from samat_mm.perturbations.randomness import RandomStreams, generator_for
from samat_mm.perturbations.units import Radius

HALVINGS = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)  # of 10,000 queries
SCHEDULES = ('rescaled', 'fixed')


@dataclass(frozen=True, repr=False)
class Square(ClassificationAttack):
    """Square attack: at each query a random square of the perturbation is replaced, and kept if the margin falls.

    The margin is the label's logit less the largest other one; an image is done when the model errs on it. Of an image
    that resists, the version with the smallest margin is returned, the image itself included. Every image has its own
    random numbers, so its squares do not depend on its batch (the authors' batches share them); for a single image the
    sequence is the authors'.

    In l2 each channel moves its own length from window to window, as in the authors' code. The copies of that code in
    torchattacks and in published versions of the AutoAttack package move the length of all channels together.

    Source: Andriushchenko et al., Square Attack: a query-efficient black-box adversarial attack via random search,
    ECCV 2020.

    Args:
        norm: 'linf', 'l2' or 'l1'.
        eps: radius in [0, 1] pixel units; a number or a string such as '8/255'.
        queries: queries of each restart, not counting the start.
        restarts: number of restarts, each for the images that still resist.
        p_init: share of the image that the first squares cover; 0.8 in AutoAttack.
        schedule: 'rescaled' shrinks the squares in proportion to ``queries``; 'fixed' as for 10,000 queries,
            whatever their number (AutoAttack's choice).
        seed: seed of the squares.
    """

    norm: str = 'linf'
    eps: Radius = '8/255'
    queries: int = 5000
    restarts: int = 1
    p_init: float = 0.8
    schedule: str = 'rescaled'
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        whole_number(self.queries, 'queries')
        whole_number(self.restarts, 'restarts')
        self._settle(p_init=share(self.p_init, 'p_init'))
        one_of(self.schedule, SCHEDULES, 'schedule')

    def find(self, problem: Problem) -> Tensor:
        """Return the images of the smallest margin that the queries found."""
        result, left = problem.images.clone(), Remaining(problem)
        smallest, _ = margins_and_errors(problem, result)
        for restart in range(self.restarts):
            if not len(left):
                break
            found, margin, wrong = self._run(left.problem, restart)
            better = wrong | (margin < smallest[left.rows])
            rows = left.rows[better]
            result[rows], smallest[rows] = found[better], margin[better]
            left.drop(wrong)
        return result

    def _run(self, problem: Problem, restart: int) -> tuple[Tensor, Tensor, Tensor]:
        """Return the best images, their margins and whether the model errs on them."""
        proposals, images = self.ball.squares(self.eps), problem.images
        streams = RandomStreams([generator_for(self.seed, number, restart) for number in problem.numbers], images)
        left = Remaining(problem)
        best = proposals.start(images, partial(streams.take, left.rows))
        margin, wrong = margins_and_errors(problem, best)
        left.drop(wrong)
        for query in range(self.queries):
            if not len(left):
                break
            draw = partial(streams.take, left.rows)
            candidate = proposals.propose(left.problem.images, best[left.rows], self._share(query), draw)
            new_margin, new_wrong = margins_and_errors(left.problem, candidate)
            kept = new_wrong | (new_margin < margin[left.rows])
            rows = left.rows[kept]
            best[rows], margin[rows], wrong[rows] = candidate[kept], new_margin[kept], new_wrong[kept]
            left.drop(new_wrong)
        return best, margin, wrong

    def _share(self, query: int) -> float:
        """Return the share of the image that a square covers at this query."""
        position = int(query / self.queries * 10000) if self.schedule == 'rescaled' else query
        return self.p_init / 2 ** bisect_left(HALVINGS, position)
