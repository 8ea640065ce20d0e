"""AutoAttack: an ensemble of four attacks, each on the images that resisted those before."""

from collections.abc import Sequence

import torch
from torch import Tensor

from samat_mm.errors import InputError
from samat_mm.perturbations.checks import whole_number
from samat_mm.perturbations.inputs.apgd import APGD
from samat_mm.perturbations.inputs.bounded import BoundedAttack
from samat_mm.perturbations.inputs.fab import FAB
from samat_mm.perturbations.inputs.objectives import Objective, objective_named
from samat_mm.perturbations.inputs.square import Square
from samat_mm.perturbations.inputs.views import View

TARGETS = 9
STAGES = ('apgd-ce', 'apgd-t', 'fab-t', 'square')


class AutoAttack(BoundedAttack):
    """The standard version: APGD on cross-entropy, targeted APGD, targeted FAB and Square.

    As in the authors' package: one restart each, 100 steps, the 9 most probable other classes as targets (all of them
    where there are fewer), 5000 queries with the schedule of 10,000, and only images that resist go on. An image that
    resists all four is returned as it was.

    The targeted loss of APGD (DLR) needs four classes. With three its untargeted form takes its place, and with two
    that stage is left out; the authors refuse such models. In l2, Square treats channels as in the code of its own
    authors, see there.

    Source: Croce & Hein, Reliable evaluation of adversarial robustness with an ensemble of diverse parameter-free
    attacks, ICML 2020; github.com/fra31/auto-attack, version 'standard'.

    Args:
        norm: 'linf' or 'l2'.
        eps: radius in [0, 1] pixel units; a number or a string such as '8/255'.
        steps: of APGD and FAB.
        queries: of Square.
        seed: of the random starts and squares.

    Raises:
        ValueError: if a parameter is out of its range.
    """

    def __init__(
        self, norm: str = 'linf', eps: float | str = '8/255', steps: int = 100, queries: int = 5000, seed: int = 0
    ) -> None:
        super().__init__(norm, eps)
        self.steps = whole_number(steps, 'steps')
        self.queries = whole_number(queries, 'queries')
        self.seed = seed

    def search(self, view: View, images: Tensor, labels: Tensor, indices: Sequence[int]) -> Tensor:
        """Return adversarial images where a stage finds one, and the images themselves elsewhere."""
        result, alive = images.clone(), torch.arange(len(images), device=images.device)
        for stage in STAGES:
            if not len(alive):
                break
            remaining, numbers = view.subset(alive), [indices[row] for row in alive.tolist()]
            found = self._run(stage, remaining, images[alive], labels[alive], numbers)
            wrong = remaining(found).argmax(1) != labels[alive]
            result[alive[wrong]] = found[wrong]
            alive = alive[~wrong]
        return result

    def _run(self, stage: str, view: View, images: Tensor, labels: Tensor, indices: Sequence[int]) -> Tensor:
        if stage == 'fab-t':
            fab = FAB(self.ball.name, self.eps, self.steps, targets='ranked', classes=TARGETS, seed=self.seed)
            return fab.search(view, images, labels, indices)
        if stage == 'square':
            square = Square(self.ball.name, self.eps, self.queries, schedule='fixed', seed=self.seed)
            return square.search(view, images, labels, indices)
        attack = APGD(self.ball.name, self.eps, self.steps, goal='error', seed=self.seed)
        return apgd(stage, attack, view, images, labels, indices)

    def describe(self) -> dict[str, str | float | int | bool]:
        """Return the parameters for reports, in plain types."""
        return {
            'type': type(self).__name__,
            'norm': self.ball.name,
            'eps': self.eps,
            'steps': self.steps,
            'queries': self.queries,
            'seed': self.seed,
            'stages': ', '.join(STAGES),
        }


def apgd(stage: str, attack: APGD, view: View, images: Tensor, labels: Tensor, indices: Sequence[int]) -> Tensor:
    """Return what APGD finds.

    Args:
        stage: 'apgd-ce' or 'apgd-t'.
        attack: with the norm, the radius, the steps and the seed.
        view: the model.
        images: pixels (N, C, H, W).
        labels: classes (N,).
        indices: the number of each image.
    """
    if stage == 'apgd-ce':
        return attack(view, images, labels, indices=indices)
    logits = view(images)
    if logits.shape[1] == 2:
        return images
    if logits.shape[1] == 3:
        attack.objective = objective_named('dlr')
        return attack(view, images, labels, indices=indices)
    order = logits.argsort(dim=1, descending=True, stable=True)
    aims = order[order != labels[:, None]].reshape(len(images), -1)[:, :TARGETS]
    result, alive = images.clone(), torch.arange(len(images), device=images.device)
    for rank in range(aims.shape[1]):
        if not len(alive):
            break
        attack.objective = TargetedDLR(aims[alive, rank])
        remaining, numbers = view.subset(alive), [indices[row] for row in alive.tolist()]
        found = attack(remaining, images[alive], labels[alive], indices=numbers)
        wrong = remaining(found).argmax(1) != labels[alive]
        result[alive[wrong]] = found[wrong]
        alive = alive[~wrong]
    return result


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
