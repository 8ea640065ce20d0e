"""FAB: the nearest point on the other side of a decision boundary, by repeated linearisation."""

from collections.abc import Sequence

import torch
from torch import Tensor

from samat_mm.errors import InputError
from samat_mm.perturbations.checks import whole_number
from samat_mm.perturbations.device import moved
from samat_mm.perturbations.inputs.base import generator_for
from samat_mm.perturbations.inputs.bounded import BoundedAttack
from samat_mm.perturbations.inputs.finite import check_gradient
from samat_mm.perturbations.inputs.hyperplane import DUAL_NORMS, nearest_on_hyperplane
from samat_mm.perturbations.inputs.views import View

OVERSHOOT, BACKWARD, ALPHA_MAX = 1.05, 0.9, 0.1
TARGETS = ('nearest', 'ranked')


class FAB(BoundedAttack):
    """Fast adaptive boundary attack: a small perturbation that changes the class, kept if it lies in the ball.

    Each step linearises the differences of the logits, projects the iterate and the image onto the nearest boundary
    within the pixel box, and moves to a mixture of both that overshoots by 5 %; an iterate beyond the boundary goes
    back a tenth of the way to its image. Of the adversarial iterates the nearest is kept. An image without one in the
    ball is returned as it was.

    The first start is the image itself; only further restarts draw random numbers.

    Source: Croce & Hein, Minimally Distorted Adversarial Examples with a Fast Adaptive Boundary Attack, ICML 2020
    (algorithm 1, with its alpha_max 0.1, eta 1.05, beta 0.9).

    Args:
        norm: 'linf' or 'l2'.
        eps: radius in [0, 1] pixel units; a number or a string such as '8/255'.
        steps: of each run. The paper's table uses 10, AutoAttack 100.
        restarts: runs per image (and target); only images that resist go on.
        targets: 'nearest' linearises every boundary at every step (K backward passes); 'ranked' runs against the
            most probable other classes one after the other (one backward pass), as AutoAttack's FAB-T.
        classes: how many classes 'ranked' aims at; 9 as in AutoAttack, or all others if they are fewer.
        seed: of the starts after the first.

    Raises:
        ValueError: if a parameter is out of its range.
    """

    def __init__(
        self,
        norm: str = 'linf',
        eps: float | str = '8/255',
        steps: int = 10,
        restarts: int = 1,
        targets: str = 'nearest',
        classes: int = 9,
        seed: int = 0,
    ) -> None:
        super().__init__(norm, eps)
        self.steps = whole_number(steps, 'steps')
        self.restarts = whole_number(restarts, 'restarts')
        if targets not in TARGETS:
            raise InputError(f'targets must be one of {", ".join(TARGETS)}; got {targets!r}.')
        self.targets = targets
        self.classes = whole_number(classes, 'classes')
        self.seed = seed

    def search(self, view: View, images: Tensor, labels: Tensor, indices: Sequence[int]) -> Tensor:
        """Return the nearest adversarial image within the ball, or the image itself."""
        result, alive = images.clone(), torch.arange(len(images), device=images.device)
        ranked = None
        if self.targets == 'ranked':
            order = view(images).argsort(dim=1, descending=True, stable=True)
            others = order[order != labels[:, None]].reshape(len(images), -1)
            ranked = others[:, : self.classes]
        for rank in range(1 if ranked is None else ranked.shape[1]):
            for restart in range(self.restarts):
                if not len(alive):
                    return result
                aims = None if ranked is None else ranked[alive, rank]
                starts = self._starts(images[alive], [indices[row] for row in alive.tolist()], rank, restart)
                found, distance = self._run(view.subset(alive), images[alive], labels[alive], aims, starts)
                near = distance <= self.eps
                result[alive[near]] = found[near]
                alive = alive[~near]
        return result

    def _starts(self, images: Tensor, indices: Sequence[int], rank: int, restart: int) -> Tensor:
        if restart == 0:
            return images.clone()
        offsets = torch.zeros(images.shape)
        for offset, index in zip(offsets, indices, strict=True):
            generator = generator_for(self.seed, index, restart, rank)
            draw = torch.randn if self.ball.name == 'l2' else torch.rand
            noise = draw(offset.shape, generator=generator) - (0 if self.ball.name == 'l2' else 0.5)
            offset.copy_(noise / self.ball.norm(noise[None]) * self.eps / 2)
        return (images + moved(offsets, images)).clamp(0, 1)

    def _run(
        self, view: View, images: Tensor, labels: Tensor, aims: Tensor | None, iterate: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return the nearest adversarial iterates and their distances, infinite where there is none."""
        nearest, distance = images.clone(), torch.full_like(images[:, 0, 0, 0], torch.inf)
        for _ in range(self.steps):
            gap, normal = self._boundary(view, iterate, labels, aims)
            offset = (normal * (images - iterate)).flatten(1).sum(1)
            step = nearest_on_hyperplane(self.ball.name, iterate, normal, -gap)
            way = nearest_on_hyperplane(self.ball.name, images, normal, -gap - offset)
            lengths = [self.ball.norm(delta).clamp_min(1e-8) for delta in (step, way)]
            alpha = _columns((lengths[0] / (lengths[0] + lengths[1])).clamp_max(ALPHA_MAX))
            iterate = ((iterate + OVERSHOOT * step) * (1 - alpha) + (images + OVERSHOOT * way) * alpha).clamp(0, 1)
            adversarial = view(iterate).argmax(1) != labels
            length = self.ball.norm(iterate - images)
            better = adversarial & (length < distance)
            nearest = torch.where(_columns(better), iterate, nearest)
            distance = torch.where(better, length, distance)
            iterate = torch.where(_columns(adversarial), images + (iterate - images) * BACKWARD, iterate)
        return nearest, distance

    def _boundary(self, view: View, iterate: Tensor, labels: Tensor, aims: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return the other class's lead (N,) and its gradient (N, C, H, W), for the boundary that is nearest."""
        pixels = iterate.detach().requires_grad_()
        with torch.enable_grad():
            logits = view(pixels)
            own = logits.gather(1, labels[:, None])
            leads = (logits if aims is None else logits.gather(1, aims[:, None])) - own
        gap, normal = torch.zeros_like(iterate[:, 0, 0, 0]), torch.zeros_like(iterate)
        smallest, largest = torch.full_like(gap, torch.inf), []
        for column in range(leads.shape[1]):
            last = column == leads.shape[1] - 1
            only = torch.zeros_like(leads)
            only[:, column] = 1
            (grad,) = torch.autograd.grad(leads, pixels, only, retain_graph=not last)
            largest.append(grad.abs().amax())
            lead = leads[:, column].detach().to(gap)
            away = lead.abs() / (DUAL_NORMS[self.ball.name](grad) + 1e-12)
            if aims is None:
                away = away.masked_fill(labels == column, torch.inf)
            closer = away < smallest
            smallest, gap = torch.where(closer, away, smallest), torch.where(closer, lead, gap)
            normal = torch.where(_columns(closer), grad, normal)
        check_gradient(torch.stack(largest))
        return gap, normal

    def describe(self) -> dict[str, str | float | int | bool]:
        """Return the parameters for reports, in plain types."""
        described: dict[str, str | float | int | bool] = {
            'type': type(self).__name__,
            'norm': self.ball.name,
            'eps': self.eps,
            'steps': self.steps,
            'restarts': self.restarts,
            'targets': self.targets,
        }
        return described | ({'classes': self.classes} if self.targets == 'ranked' else {}) | {'seed': self.seed}


def _columns(values: Tensor) -> Tensor:
    return values.reshape(-1, 1, 1, 1)
