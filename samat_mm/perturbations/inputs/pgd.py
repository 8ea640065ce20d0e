"""Steps of one length: PGD, and FGSM as its single step."""

from dataclasses import dataclass, field
from typing import Any, Self

from samat_mm.errors import InputError
from samat_mm.perturbations.inputs.ascent import ProjectedAscent
from samat_mm.perturbations.norms.base import StepRule
from samat_mm.perturbations.norms.region import Region
from samat_mm.perturbations.units import Radius, describe_radius, parse_radius


@dataclass(frozen=True, repr=False)
class PGD(ProjectedAscent):
    """Projected gradient ascent from a random start, ``x <- P(x + step_size * steepest(grad))``.

    ``P`` projects onto the ball around the image and then onto the pixel box. Of all iterates, the start among them,
    the one that ranks highest is returned, image by image: by the objective itself, or by the share of wrong pixels
    for the pixel-wise objectives, which change from step to step.

    Source: Madry et al., Towards Deep Learning Models Resistant to Adversarial Attacks, ICLR 2018; equation 3 of the
    duality paper.

    Args:
        norm: 'linf', 'l2' or 'l1'.
        eps: radius in [0, 1] pixel units; a number or a string such as '8/255'.
        step_size: in the same units; a quarter of ``eps`` by default, as in the paper's tables.
        steps: number of gradient steps.
        random_start: start anywhere in the ball rather than at the image.
        restarts: number of random starts; the best result counts.
        objective: 'cross-entropy', 'model-loss', 'dlr' for classifiers, or for segmentors 'segpgd', 'cospgd',
            'masked-cross-entropy', 'balanced-masked-cross-entropy' or 'jensen-shannon'.
        goal: 'loss', or 'error' to leave out images of a classifier once it errs on them, at first or at an iterate.
        seed: seed of the random starts.
    """

    norm: str = 'linf'
    eps: Radius = '8/255'
    step_size: Radius = None
    steps: int = 10
    random_start: bool = True
    restarts: int = 1
    objective: Any = 'cross-entropy'
    goal: str = 'loss'
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        step = self.usual_step() if self.step_size is None else parse_radius(self.step_size, 'step_size')
        self._settle(step_size=step)
        if self.eps > 0 and step == 0:
            raise InputError('step_size must be greater than 0; got 0, with which no step moves the image.')
        if step > 2 * self.eps > 0:
            raise InputError(
                f'step_size must not exceed the diameter of the ball, {2 * self.eps:g} for eps={self.eps:g}; '
                f'got {step:g}. {describe_radius(step)}'
            )

    def usual_step(self) -> float:
        """Return the default step size for ``eps``."""
        return self.eps / 4

    def at(self, radius: float) -> Self:
        """Return the attack at another radius, with a step size in proportion."""
        return self.replace(eps=radius, step_size=self.step_size / self.eps * radius if self.eps else None)

    def step_rule(self, region: Region, steps: int) -> StepRule:
        """Return steps of one length."""
        return lambda images, grad, _: region.step(images, grad, self.step_size)


@dataclass(frozen=True, repr=False)
class FGSM(PGD):
    """The fast gradient sign method: one step of the full radius from the image itself.

    With ``norm='l2'`` it is the fast gradient method. An image whose loss the step does not raise is left as it is.

    Source: Goodfellow et al., Explaining and Harnessing Adversarial Examples, ICLR 2015, section 4.

    Args:
        norm: 'linf', 'l2' or 'l1'.
        eps: radius in [0, 1] pixel units; a number or a string such as '8/255'.
        objective: 'cross-entropy' or 'model-loss'.
        goal: 'loss', or 'error' to leave out images of a classifier that are wrong already.
        seed: without effect, because nothing is random.
    """

    step_size: Radius = field(init=False)
    steps: int = field(init=False, default=1)
    random_start: bool = field(init=False, default=False)
    restarts: int = field(init=False, default=1)

    def __post_init__(self) -> None:
        self._settle(step_size=self.eps)
        super().__post_init__()

    def at(self, radius: float) -> Self:
        """Return the attack at another radius."""
        return self.replace(eps=radius)
