"""Square attack: random search over square-shaped changes, without gradients."""

from bisect import bisect_left
from collections.abc import Sequence

import torch
from torch import Tensor

from samat_mm.errors import InputError
from samat_mm.perturbations.checks import whole_number
from samat_mm.perturbations.inputs.base import generator_for
from samat_mm.perturbations.inputs.bounded import BoundedAttack
from samat_mm.perturbations.inputs.classification import margins
from samat_mm.perturbations.inputs.square_proposals import PROPOSALS
from samat_mm.perturbations.inputs.uniforms import Uniforms
from samat_mm.perturbations.inputs.views import View

HALVINGS = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)  # of 10,000 queries
SCHEDULES = ('rescaled', 'fixed')


class Square(BoundedAttack):
    """Square attack: at each query a random square of the perturbation is replaced, and kept if the margin falls.

    The margin is the label's logit less the largest other one; an image is done when the model errs on it. Of an image
    that resists, what has the smallest margin is returned, or the image itself if nothing is below its own. Every
    image has its own random numbers, so its squares do not depend on its batch (the authors' batches share them);
    for a single image the sequence is that of the authors.

    In l2 the length that moves from window to window is that of each channel by itself, as in the authors' code. The
    copies of that code in torchattacks and in published versions of the AutoAttack package take it over all channels.

    Source: Andriushchenko et al., Square Attack: a query-efficient black-box adversarial attack via random search,
    ECCV 2020.

    Args:
        norm: 'linf' or 'l2'.
        eps: radius in [0, 1] pixel units; a number or a string such as '8/255'.
        queries: of each restart, the start not counted.
        restarts: only images that resist go on.
        p_init: share of the image that the first squares cover; 0.8 in AutoAttack.
        schedule: 'rescaled' shrinks the squares in proportion to ``queries``; 'fixed' as for 10,000 queries,
            whatever their number (AutoAttack's choice).
        seed: of the squares.

    Raises:
        ValueError: if a parameter is out of its range.
    """

    def __init__(
        self,
        norm: str = 'linf',
        eps: float | str = '8/255',
        queries: int = 5000,
        restarts: int = 1,
        p_init: float = 0.8,
        schedule: str = 'rescaled',
        seed: int = 0,
    ) -> None:
        super().__init__(norm, eps)
        self.queries = whole_number(queries, 'queries')
        self.restarts = whole_number(restarts, 'restarts')
        if not 0 < p_init <= 1:
            raise InputError(f'p_init must be a share of the image, greater than 0 and at most 1; got {p_init!r}.')
        self.p_init = float(p_init)
        if schedule not in SCHEDULES:
            raise InputError(f'schedule must be one of {", ".join(SCHEDULES)}; got {schedule!r}.')
        self.schedule = schedule
        self.seed = seed

    def search(self, view: View, images: Tensor, labels: Tensor, indices: Sequence[int]) -> Tensor:
        """Return the images of the smallest margin that the queries found."""
        result, smallest = images.clone(), margins(view(images), labels)
        alive = torch.arange(len(images), device=images.device)
        for restart in range(self.restarts):
            if not len(alive):
                break
            generators = [generator_for(self.seed, indices[row], restart) for row in alive.tolist()]
            found, margin, wrong = self._run(view.subset(alive), images[alive], labels[alive], generators)
            better = wrong | (margin < smallest[alive])
            result[alive[better]], smallest[alive[better]] = found[better], margin[better]
            alive = alive[~wrong]
        return result

    def _run(
        self, view: View, images: Tensor, labels: Tensor, generators: Sequence[torch.Generator]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the best images, their margins and whether the model errs on them."""
        proposals = PROPOSALS[self.ball.name](self.eps)
        uniforms = Uniforms(generators, images)
        best = proposals.start(images, uniforms)
        logits = view(best)
        margin, wrong = margins(logits, labels), logits.argmax(1) != labels
        alive = torch.arange(len(images), device=images.device)
        for query in range(self.queries):
            if bool(wrong[alive].any()) or query == 0:
                alive = alive[~wrong[alive]]
                remaining, x, y = view.subset(alive), images[alive], labels[alive]
            if not len(alive):
                break
            side = proposals.side(self._share(query), images)
            candidate = proposals.propose(x, best[alive], side, uniforms.take(alive, proposals.draws(x)))
            logits = remaining(candidate)
            new_margin, new_wrong = margins(logits, y), logits.argmax(1) != y
            kept = new_wrong | (new_margin < margin[alive])
            rows = alive[kept]
            best[rows], margin[rows], wrong[rows] = candidate[kept], new_margin[kept], new_wrong[kept]
        return best, margin, wrong

    def _share(self, query: int) -> float:
        """Return the share of the image that a square covers at this query."""
        position = int(query / self.queries * 10000) if self.schedule == 'rescaled' else query
        return self.p_init / 2 ** bisect_left(HALVINGS, position)

    def describe(self) -> dict[str, str | float | int | bool]:
        """Return the parameters for reports, in plain types."""
        return {
            'type': type(self).__name__,
            'norm': self.ball.name,
            'eps': self.eps,
            'queries': self.queries,
            'restarts': self.restarts,
            'p_init': self.p_init,
            'schedule': self.schedule,
            'seed': self.seed,
        }
